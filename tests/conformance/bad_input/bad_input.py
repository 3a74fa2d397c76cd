#!/usr/bin/env python3
"""What a daemon does with input that is broken or hostile: a clear error, nothing lost, nothing outside touched.

Usage: bad_input.py [--self]     on a stage of its own; --self asks containerd, as far as the same is asked of it
"""
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "peers"))
import stage  # noqa: E402

BUSYBOX = "corten.test/busybox:1"
# Made outside the daemon's root before hostile layers are unpacked; every one must be as it was afterwards.
VICTIMS = ["/corten-victim", "/corten-victim-dir/inside"]
ESCAPED = ["/corten-escape", "/corten-escape-dir", "/tmp/corten-escape", "/dev/corten-escape", "/run/stage/corten-escape",
           "/run/stage/root/corten-escape"]


class Judge:
    def __init__(self, environment, reference):
        self.environment, self.reference, self.failed = environment, reference, 0

    def say(self, good, name, why=""):
        print(f"ok {name}" if good else f"not ok {name}: {str(why).strip()[:1500]}", flush=True)
        self.failed += not good
        return good

    def ctr(self, *arguments, limit=60):
        try:
            done = subprocess.run(["ctr", *arguments], capture_output=True, text=True, timeout=limit, check=False,
                                  stdin=subprocess.DEVNULL, env=self.environment, cwd=f"{stage.BASE}/client")
        except subprocess.TimeoutExpired:
            return "late", "", "not done in time"
        return done.returncode, done.stdout, done.stderr

    def refuses(self, name, *arguments, words=()):
        """Exit code 1 and an error of one readable line that contains one of the words."""
        code, _, error = self.ctr(*arguments)
        last = error.strip().splitlines()[-1] if error.strip() else ""
        good = code == 1 and last.startswith("ctr: ") and (not words or any(word in last for word in words))
        return self.say(good, name, f"exit code {code}: {error}")

    def lives(self, name):
        """After all that the daemon stores and serves, and what it has is whole."""
        code, out, error = self.ctr("-n", "good", "images", "check", "-q")
        self.say(code == 0 and BUSYBOX in out.split(), f"{name}: the sound image is still complete", error)
        self.say(not damaged_blobs(), f"{name}: every stored blob is what its name says", damaged_blobs())


def damaged_blobs():
    wrong = []
    for top, _, files in os.walk(f"{stage.BASE}/root/io.containerd.content.v1.content/blobs/sha256"):
        for name in files:
            with open(os.path.join(top, name), "rb") as f:
                if hashlib.sha256(f.read()).hexdigest() != name:
                    wrong.append(name)
    return wrong


def fingerprint():
    """What must not change outside: a few system files, the victims, and the names at the top of the file system."""
    found = {}
    for path in ["/etc/passwd", "/etc/shadow", "/etc/hostname", *VICTIMS]:
        with open(path, "rb") as f:
            info = os.fstat(f.fileno())
            found[path] = (hashlib.sha256(f.read()).hexdigest(), info.st_mode, info.st_uid, info.st_nlink, info.st_ino,
                           tuple(os.listxattr(path)))
    found["/"] = sorted(os.listdir("/"))
    found["/etc"] = sorted(os.listdir("/etc"))
    return found


def broken_images(judge, facts):
    for path in VICTIMS:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write("untouched")
    before = fingerprint()
    for name, fact in sorted(facts.items()):
        archive = f"{stage.IMAGES}/broken/{name}.tar"
        for way in ("--local", "transfer"):
            namespace = f"bad-{name}-{way.strip('-')}"
            arguments = ["-n", namespace, "images", "import", *([way] if way == "--local" else []), archive]
            code, _, error = judge.ctr(*arguments)
            label = f"{name} ({way}: {fact['why']})"
            if fact["escapes"] or name in ("gzip-bomb", "wrong-size"):
                judge.say(code in (0, 1), f"{label} is refused or contained", f"{code}: {error}")
            else:
                # containerd's transfer imports an image that lacks a blob without a word; Corten need not.
                tolerated = judge.reference and way == "transfer"
                clear = code == 1 and error.strip().splitlines()[-1].startswith("ctr: ")
                judge.say(clear or (tolerated and code == 0), f"{label} is refused with a clear error", f"{code}: {error}")
            escaped = [p for p in ESCAPED if os.path.lexists(p)]
            judge.say(not escaped, f"{label} leaves nothing outside", escaped)
    after = fingerprint()
    judge.say(before == after, "nothing outside was touched",
              [(k, before[k], after[k]) for k in before if before[k] != after[k]])
    for path in VICTIMS:
        os.unlink(path)
    os.rmdir("/corten-victim-dir")


def bad_requests(judge):
    judge.refuses("a name with `..` is no namespace", "-n", "../../etc", "containers", "create", BUSYBOX, "x")
    judge.refuses("an id with a slash is no container", "-n", "good", "containers", "create", BUSYBOX, "../x")
    judge.refuses("an ingest with a wrong digest is refused", "-n", "good", "content", "ingest", "--expected-digest",
                  "sha256:" + "0" * 64, "../../ref with ../ in it", words=["unexpected commit digest"])
    judge.refuses("a missing runtime is named", "-n", "good", "run", "--rm", "--runtime", "io.containerd.nosuch.v9", BUSYBOX, "r1",
                  "true", words=["containerd-shim-nosuch-v9"])
    judge.refuses("a missing runc is named", "-n", "good", "run", "--rm", "--runc-binary", "/no/such/runc", BUSYBOX, "r2", "true",
                  words=["/no/such/runc"])
    judge.refuses("a program that is not there is named", "-n", "good", "run", "--rm", BUSYBOX, "r3", "no-such-program",
                  words=["no-such-program"])
    label = "key=" + "x" * 5000
    judge.refuses("a label over the limit is refused", "-n", "good", "images", "label", BUSYBOX, label, words=["4096"])
    mounts, shims = stage.left_over()
    judge.say(not [m for m in mounts if "runtime.v2.task" in m] and not shims, "failed runs leave no mount and no shim", (mounts, shims))


def idle_connections(judge):
    """1000 clients that say nothing, and some that say nonsense, keep nobody else out."""
    sockets = []
    for _ in range(1000):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.connect(stage.ADDRESS)
        sockets.append(s)
    for s in sockets[:50]:
        s.send(b"GET / HTTP/1.1\r\n\r\n" + b"\0\xff" * 512)
    code, _, error = judge.ctr("version")
    judge.say(code == 0, "1000 idle connections keep nobody out", error)
    for s in sockets:
        s.close()
    code, _, error = judge.ctr("version")
    judge.say(code == 0, "and may all go away at once", error)


def full_disk(judge, program, work):
    """The root on a small file system that a gzip bomb fills."""
    disk = os.path.join(work, "disk.img")
    with open(disk, "wb") as f:
        f.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    root = f"{stage.BASE}/small-root"
    os.makedirs(root)
    subprocess.run(["mount", "-o", "loop", disk, root], check=True)
    daemon = stage.Daemon(program, os.path.join(work, "daemon.log"), root=root)
    try:
        code, _, error = judge.ctr("-n", "good", "images", "import", "--local", f"{stage.IMAGES}/busybox.tar")
        judge.say(code == 0, "a small disk holds a small image", error)
        judge.refuses("a full disk is an error that says so", "-n", "full", "images", "import", "--local",
                      f"{stage.IMAGES}/broken/gzip-bomb.tar", words=["no space left on device"])
        code, _, error = judge.ctr("-n", "full", "snapshots", "ls")
        judge.say(code == 0, "the daemon goes on", error)
        judge.ctr("-n", "full", "leases", "create", "--id", "x")
        judge.ctr("-n", "full", "leases", "rm", "--sync", "x")
        code, out, error = judge.ctr("-n", "good", "run", "--rm", BUSYBOX, "after", "echo", "again")
        judge.say((code, out) == (0, "again\n"), "and runs containers when the space is free again", f"{code} {out} {error}")
        judge.say(daemon.stop() == 0, "and stops")
    finally:
        daemon.kill()
        subprocess.run(["umount", "-l", root], check=False)


def damaged_start(judge, program, work):
    """A daemon that cannot start says why and changes nothing."""
    def start(name, config, words, root=None):
        path = os.path.join(work, "config-" + name.replace(" ", "-") + ".toml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(config)
        try:
            done = subprocess.run([program, "--config", path, "--root", root or os.path.join(work, "r"), "--state",
                                   os.path.join(work, "s"), "--address", f"{stage.BASE}/x.sock"], capture_output=True, text=True,
                                  timeout=20, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return judge.say(False, name, "it started or hung")
        text = done.stderr + done.stdout
        return judge.say(done.returncode == 1 and all(w in text for w in words), name, f"exit code {done.returncode}: {text[-800:]}")

    start("a config that is no TOML", "version = = 3\n", ["TOML", "1"])
    start("a config from the future", "version = 99\n", ["99"])
    start("an import that is missing", 'version = 3\nimports = ["/no/such/file.toml"]\n', ["/no/such/file.toml"])
    start("a required plugin that is not there", 'version = 3\nrequired_plugins = ["io.containerd.nosuch.v1.x"]\n',
          ["io.containerd.nosuch.v1.x"])
    damaged = os.path.join(work, "damaged-root")
    shutil.copytree(f"{stage.BASE}/root", damaged, symlinks=True, ignore=shutil.ignore_patterns("blobs", "snapshots"))
    database = f"{damaged}/io.containerd.metadata.v1.bolt/meta.db"
    with open(database, "r+b") as f:
        f.write(b"\0" * 8192 * 2)
    with open(database, "rb") as f:
        before = hashlib.sha256(f.read()).hexdigest()
    if judge.reference:
        return  # containerd ends with a Go panic here, which is nothing to hold anyone to
    start("a damaged database is named", "version = 3\n", ["meta.db"], root=damaged)
    with open(database, "rb") as f:
        judge.say(hashlib.sha256(f.read()).hexdigest() == before, "and left as it is")


def inside(program, work):
    stage.prepare(work)
    judge = Judge(stage.client_environment(), program == stage.containerd())
    with open(f"{stage.IMAGES}/images.json", encoding="utf-8") as f:
        facts = json.load(f)["broken"]
    daemon = stage.Daemon(program, os.path.join(work, "daemon.log"))
    try:
        code, _, error = judge.ctr("-n", "good", "images", "import", "--local", f"{stage.IMAGES}/busybox.tar")
        judge.say(code == 0, "a sound image is imported", error)
        broken_images(judge, facts)
        judge.lives("after broken images")
        bad_requests(judge)
        idle_connections(judge)
        judge.lives("after bad requests")
        judge.say(daemon.process.poll() is None, "the daemon is the one that was started")
        judge.say(daemon.stop() == 0, "it stops")
    finally:
        daemon.kill()
    damaged_start(judge, program, work)
    full_disk(judge, program, work)
    print("done")
    sys.exit(1 if judge.failed else 0)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--inside":
        inside(sys.argv[2], os.environ["CORTEN_STAGE_WORK"])
    program = stage.containerd() if sys.argv[1:] == ["--self"] else stage.cortend()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="corten-bad-input-", ignore_cleanup_errors=True) as work:
        code = stage.isolated([sys.executable, os.path.abspath(__file__), "--inside", program],
                              env={**os.environ, "CORTEN_STAGE_WORK": work})
        if code and os.path.exists(f"{work}/daemon.log"):
            with open(f"{work}/daemon.log", encoding="utf-8", errors="replace") as f:
                print("".join(line for line in f if "level=debug" not in line)[-4000:])
    print(f"# {time.monotonic() - started:.0f} s")
    sys.exit(code)


if __name__ == "__main__":
    main()
