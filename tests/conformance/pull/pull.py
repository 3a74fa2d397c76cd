#!/usr/bin/env python3
"""Pulls from good and bad registries with the real ctr, against cortend and against containerd. Usage: pull.py [--keep DIR]

Each step runs against both daemons: exit code, images, labels of the content and committed snapshots must be the same; what a
step says about itself (requests made, text of the error) must hold for cortend.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "peers"))
import stage  # noqa: E402
from tricky_registry import Tricky  # noqa: E402

USER = "--user user:secret"
# name, arguments of `ctr images pull`, whether it must work, a pattern for the error
STEPS = [
    ("a plain image", "plain/busybox:1", True, ""),
    ("the same image again", "plain/busybox:1", True, ""),
    ("ten layers", "plain/many-gzip:1", True, ""),
    ("zstd layers", "plain/many-zstd:1", True, ""),
    ("odd layers", "plain/odd:1", True, ""),
    ("one platform of an index", "plain/multi:1", True, ""),
    ("all platforms", "--all-platforms plain/multi:1", True, ""),
    ("by digest", "plain/busybox@DIGEST", True, ""),
    ("a token for a user", USER + " token/busybox:1", True, ""),
    ("a token for anybody", "anon/busybox:1", True, ""),
    ("basic credentials", USER + " basic/busybox:1", True, ""),
    ("basic credentials that nobody has", "basic/busybox:1", False, "no basic auth credentials"),
    ("wrong credentials", "--user user:guess token/busybox:1", False, "authorization failed"),
    ("a refusal", "denied/busybox:1", False, "403 Forbidden"),
    ("blobs on another server", "moved/busybox:1", True, ""),
    ("credentials stay with their server", USER + " guarded/many-gzip:1", True, ""),
    ("a connection that breaks", "cut/many-gzip:1", True, ""),
    ("a connection that breaks, without ranges", "norange/many-gzip:1", True, ""),
    ("a server that is busy", "busy/busybox:1", True, ""),
    ("a server that says later", "slow503/busybox:1", True, ""),
    ("a layer with wrong bytes", "wrong/busybox:1", False, "unexpected commit digest|corrupt|checksum|wrong|gzip"),
    ("a layer that ends early", "short/busybox:1", False, "unexpected EOF|size validation"),
    ("no such tag", "plain/busybox:2", False, "not found"),
    ("no such repository", "plain/nothing:1", False, "not found"),
]


def ctr(*arguments, timeout=120):
    return subprocess.run(["ctr", *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def rows(*arguments):
    lines = ctr(*arguments).stdout.splitlines()[1:]
    return sorted(re.sub(r"\s+", " ", line) for line in lines)


def content(ns):
    out = []
    for line in ctr("-n", ns, "content", "ls").stdout.splitlines()[1:]:
        fields = line.split("\t")
        out.append(f"{fields[0]} {fields[-1] or fields[-2]}")
    return sorted(out)


def play(program, work):
    """The inner half: one daemon, every step in a namespace of its own."""
    # Isolated: what one step has stored is not there for the next.
    stage.CONFIG += '[plugins."io.containerd.metadata.v1.bolt"]\n  content_sharing_policy = "isolated"\n'
    stage.prepare(work)
    os.environ.update(stage.client_environment())
    layouts = {name: f"{stage.IMAGES}/layout/{name}" for name in ("busybox", "many-gzip", "many-zstd", "odd", "multi")}
    with open(f"{layouts['busybox']}/index.json", encoding="utf-8") as f:
        digest = json.load(f)["manifests"][0]["digest"]
    records = []
    daemon = stage.Daemon(program, os.path.join(work, "daemon.log"))
    try:
        for i, (name, words, _, _) in enumerate(STEPS):
            # Another registry for each step: what is tried again must not meet an earlier step's memory.
            registry = Tricky(layouts)
            ns = f"n{0 if name == 'the same image again' else i}"
            *flags, reference = words.replace("DIGEST", digest).split()
            done = ctr("-n", ns, "images", "pull", "--plain-http", *flags, f"{registry.address}/{reference}")
            plain = lambda text: re.sub(r"127\.0\.0\.1:\d+", "REG", text)  # noqa: E731
            records.append({
                "code": done.returncode, "error": plain(done.stderr[-600:]), "log": list(registry.log),
                "state": [plain(line) for line in rows("-n", ns, "images", "ls") + (content(ns) if done.returncode == 0 else []) +
                          rows("-n", ns, "snapshots", "ls")],
                "active": rows("-n", ns, "content", "active") if done.returncode == 0 else [],
            })
            registry.main.shutdown()
            registry.second.shutdown()
    finally:
        code = daemon.stop()
    records.append({"code": code})
    with open(os.path.join(work, "records.json"), "w", encoding="utf-8") as f:
        json.dump(records, f)


def check(step, ours, theirs):
    """What is wrong with a step; empty: nothing."""
    _, words, works, pattern = step
    wrong = []
    if (ours["code"] == 0) != works:
        wrong.append(f"exit code {ours['code']}: {ours['error']}")
    if ours["code"] != theirs["code"]:
        wrong.append(f"containerd's exit code is {theirs['code']}: {theirs['error']}")
    if not works and not re.search(pattern, ours["error"]):
        wrong.append(f"error does not say {pattern!r}: {ours['error']}")
    if ours["state"] != theirs["state"]:
        only = [f"  ours   {line}" for line in ours["state"] if line not in theirs["state"]]
        only += [f"  theirs {line}" for line in theirs["state"] if line not in ours["state"]]
        wrong.append("state differs:\n" + "\n".join(only[:12]))
    if ours["active"]:
        wrong.append(f"unfinished ingests: {ours['active']}")
    gets = [line for line in ours["log"] if line.startswith("GET") and "/blobs/" in line]
    if words.startswith("plain/") and works and len(gets) != len(set(gets)):
        wrong.append(f"a blob was asked for twice: {gets}")
    return wrong


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--inner":
        return play(*sys.argv[2:])
    keep = sys.argv[2] if sys.argv[1:2] == ["--keep"] else None
    records = []
    for program in (stage.cortend(), stage.containerd()):
        work = tempfile.mkdtemp(prefix="corten-pull-", dir=keep)
        try:
            code = stage.isolated([sys.executable, os.path.abspath(__file__), "--inner", program, work])
            if code != 0:
                print(f"not ok {program}: ended with {code}")
                with open(os.path.join(work, "daemon.log"), encoding="utf-8", errors="replace") as log:
                    print(log.read()[-3000:])
                print("done")
                return 1
            with open(os.path.join(work, "records.json"), encoding="utf-8") as f:
                records.append(json.load(f))
        finally:
            if not keep:
                shutil.rmtree(work, ignore_errors=True)
    failed = 0
    for step, ours, theirs in zip(STEPS, *records):
        wrong = check(step, ours, theirs)
        failed += bool(wrong)
        print(f"not ok {step[0]}:\n    " + "\n    ".join(wrong) if wrong else f"ok {step[0]}")
    if records[0][-1]["code"] != 0:
        print(f"not ok SIGTERM ends the daemon: exit code {records[0][-1]['code']}")
        failed += 1
    print("done")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
