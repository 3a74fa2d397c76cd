#!/usr/bin/env python3
"""Plays what a newcomer types into `corten` on the real daemon, runc and registry, and compares what is seen with what is stored.

Usage: verbs.py [--record] [--keep DIR] [SCENARIO...]      default: every *.scenario beside this file
  --record   writes NAME.expected anew instead of comparing; read its diff before it is committed
The format of scenarios is that of the golden runs (../golden/README.md). Expected files hold, for each step, its line, exit code
and output, after the replacements below.
"""
import argparse
import difflib
import glob
import json
import os
import re
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "golden"), os.path.join(HERE, "..", "..", "peers")]
import scenario  # noqa: E402
import stage  # noqa: E402

# What differs from run to run or from machine to machine.
RULES = [(re.compile(pattern, re.M), replacement) for pattern, replacement in [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\b([0-9]+ (second|minute)s?|Less than a second|About a minute) ago", "SOON ago"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9a-f]{40,64}\b", "HEX"),
    (r"\b\d+\.\d [KM]?i?B\b", "SIZE"),
    (r"\bexec-[0-9a-f]{12}\b", "exec-SHORT"),
    (r"\b[0-9a-f]{12}( +SIZE)", r"SHORT\1"),
    (r'"size": \d+', '"size": N'),
    (r"snapshots/\d+/", "snapshots/N/"),
    (r'("pid": |pid=|^pid +)\d+', r"\1PID"),
    (r"\bexec-SHORT \d+", "exec-SHORT PID"),
    (r"(running with pid )\d+", r"\1PID"),
    (r"^(\S+ +\S+ +(?:running|paused|created)) +\d+ ", r"\1  PID "),
    (r"(corten|cortend|daemon) v?\d+\.\d+\.\d+\S*", r"\1 VERSION"),
    (r'("version": ")[^"]+"', r'\1VERSION"'),
    (r"^version +\S+", "version  VERSION"),
    (r"  +", "  "),
    (r"\r\n", "\n"),
]]


def normalise(text):
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    return text


def show(record):
    lines = [f"### {record['name'].split(' ', 1)[1]}", f"exit code {record['code']}"]
    for key in ("out", "err"):
        lines += [f"{key}| {line}" for line in normalise(record[key]).splitlines()]
    return lines


def inside(work, steps_file):
    stage.prepare(work)
    registry = stage.start_registry("busybox", "multi", "many-gzip")
    environment = stage.client_environment()
    os.symlink(stage.corten(), f"{stage.BASE}/bin/corten")
    environment.update({"CONTAINERD_NAMESPACE": "verbs", "REG": registry})
    player = scenario.Player(f"{stage.BASE}/client", environment)
    daemon = stage.Daemon(stage.cortend(), os.path.join(work, "daemon.log"))
    try:
        player.play(scenario.parse(steps_file), "corten")
        mounts, shims = stage.left_over()
        player.records.append({"name": "0 nothing is left over", "out": f"mounts {mounts} shims {shims}", "err": "", "code": 0})
        player.records.append({"name": "0 SIGTERM ends the daemon", "out": "", "err": "", "code": daemon.stop()})
    finally:
        player.close()
        daemon.kill()
    with open(os.path.join(work, "records.json"), "w", encoding="utf-8") as f:
        json.dump(player.records, f)


def play(steps_file, keep):
    """Plays the scenario in namespaces of its own; returns each step as lines."""
    work = tempfile.mkdtemp(prefix="corten-verbs-", dir=keep)
    result = os.path.join(work, "records.json")
    try:
        code = stage.isolated([sys.executable, os.path.abspath(__file__), "--inside", work, os.path.abspath(steps_file)])
        if code != 0 or not os.path.exists(result):
            log = os.path.join(work, "daemon.log")
            tail = open(log, encoding="utf-8", errors="replace").read()[-3000:] if os.path.exists(log) else ""
            raise RuntimeError(f"playing ended with {code}\n{tail}")
        with open(result, encoding="utf-8") as f:
            return [show(record) for record in json.load(f)]
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)


def load(path):
    steps = []
    with open(path, encoding="utf-8") as f:
        for line in f.read().splitlines():
            if line.startswith("### "):
                steps.append([])
            steps[-1].append(line)
    return steps


def compare(label, expected, seen):
    """Prints a line for each step; returns the number that differ."""
    wrong = 0
    for want, have in zip(expected, seen):
        name = have[0][4:]
        if want == have and "exit code late" not in have:
            print(f"ok {label} {name}")
            continue
        wrong += 1
        print(f"not ok {label} {name}: differs")
        for line in list(difflib.unified_diff(want, have, lineterm="", n=1))[2:40]:
            print("    " + line)
    if len(expected) != len(seen):
        print(f"not ok {label}: {len(seen)} steps were played, {len(expected)} are stored; see --record")
        wrong += 1
    return wrong


def main():
    if sys.argv[1:2] == ["--inside"]:
        inside(*sys.argv[2:])
        return
    options = argparse.ArgumentParser()
    options.add_argument("--record", action="store_true")
    options.add_argument("--keep")
    options.add_argument("scenarios", nargs="*", default=sorted(glob.glob(os.path.join(HERE, "*.scenario"))))
    chosen = options.parse_args()
    wrong = 0
    for path in chosen.scenarios:
        label = os.path.basename(path).split(".")[0]
        stored = path.removesuffix(".scenario") + ".expected"
        try:
            seen = play(path, chosen.keep)
        except RuntimeError as error:
            print(f"not ok {label}: {error}")
            wrong += 1
            continue
        if chosen.record:
            with open(stored, "w", encoding="utf-8") as f:
                f.write("".join(line.rstrip() + "\n" for step in seen for line in step))
            print(f"{stored}: {len(seen)} steps")
            continue
        wrong += compare(label, load(stored), [[line.rstrip() for line in step] for step in seen])
    print("done")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
