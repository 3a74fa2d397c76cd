#!/usr/bin/env python3
"""Kills cortend with SIGKILL at random moments under parallel container lifecycles, starts it again, and looks for what was lost or left.

Usage: rounds.py [--rounds N] [--workers N] [--seed N]      needs root; CORTEN_BUILD names the build directory.
Each round: the daemon is killed once while workers run `corten run --rm` in a loop, then started again.
After every round the long-lived containers must still run (same process), and the daemon must answer.
In the end everything is removed, and no mount, shim, cgroup, lease, snapshot, container or bundle may be left.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.environ.get("CORTEN_BUILD", os.path.join(TOP, "build/dev"))
IMAGE = "corten.test/busybox:1"
KEEPERS = 3
failures = 0


def check(good, name, why=""):
    global failures
    if good:
        print(f"ok {name}", flush=True)
    else:
        failures += 1
        print(f"not ok {name}: {why}", flush=True)


class Stage:
    def __init__(self, seed):
        self.dir = tempfile.mkdtemp(prefix="corten-kill-", dir="/tmp")
        self.ns = f"kill{os.getpid()}"
        self.random = random.Random(seed)
        self.daemon = None
        with open(f"{self.dir}/config.toml", "w") as f:
            f.write(f"version = 4\n[plugins.'io.containerd.shim.v1.manager']\n  socket_dir = '{self.dir}/s'\n")

    def start(self):
        log = open(f"{self.dir}/log", "ab")
        self.daemon = subprocess.Popen(
            [f"{BUILD}/src/daemon/cortend", "--config", f"{self.dir}/config.toml", "--root", f"{self.dir}/root", "--state", f"{self.dir}/state",
             "--address", f"{self.dir}/c.sock"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(600):
            if self.corten("version").returncode == 0:
                return True
            if self.daemon.poll() is not None:
                return False
            time.sleep(0.05)
        return False

    def corten(self, *args, timeout=60):
        command = [f"{BUILD}/src/cli/corten", "--address", f"{self.dir}/c.sock", "--namespace", self.ns, "--connect-timeout", "5s", *args]
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", "timed out")

    def ps(self):
        done = self.corten("ps", "--all", "-o", "json")
        return {c["name"]: c for c in json.loads(done.stdout)} if done.returncode == 0 else None

    def kill(self):
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()


def worker(stage, number, stop, counts):
    turn = 0
    while not stop.is_set():
        turn += 1
        done = stage.corten("run", "--rm", "--name", f"w{number}-{turn}", IMAGE, "sh", "-c", "exit 5", timeout=30)
        counts[number] += done.returncode == 5


def left_over(stage):
    """What still refers to this stage: mounts, shims, cgroups, bundles."""
    found = []
    with open("/proc/self/mountinfo") as f:
        found += [line.split()[4] for line in f if stage.dir in line]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if any(b"containerd-shim" in w for w in words[:1]) and stage.ns.encode() in words:
            found.append(f"shim {pid}")
    for base, dirs, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(base) == stage.ns:
            found += [f"{base}/{d}" for d in dirs]
            dirs.clear()
    bundles = f"{stage.dir}/state/io.containerd.runtime.v2.task/{stage.ns}"
    if os.path.isdir(bundles):
        found += [f"bundle {b}" for b in os.listdir(bundles)]
    return found


def remove_all(stage):
    for _ in range(3):
        containers = stage.ps() or {}
        if not containers:
            return
        stage.corten("rm", "--force", *containers, timeout=120)


def play(stage, rounds, workers):
    check(stage.start(), "the daemon starts")
    archive = subprocess.run([f"{TOP}/tests/images/make.sh", "small"], capture_output=True, text=True).stdout.strip() + "/busybox.tar"
    check(stage.corten("import", archive).returncode == 0, "an image is imported")
    keepers = {}
    for i in range(KEEPERS):
        done = stage.corten("run", "-d", "--name", f"keeper{i}", "--log-dir", f"{stage.dir}/logs", IMAGE, "sleep", "100000")
        check(done.returncode == 0, f"keeper {i} runs", done.stderr)
    keepers = {name: c["pid"] for name, c in stage.ps().items() if name.startswith("keeper")}
    counts = [0] * workers
    for turn in range(rounds):
        stop = threading.Event()
        threads = [threading.Thread(target=worker, args=(stage, n, stop, counts)) for n in range(workers)]
        for thread in threads:
            thread.start()
        delay = stage.random.uniform(0.05, 1.5)
        time.sleep(delay)
        stage.kill()
        started = stage.start()
        stop.set()
        for thread in threads:
            thread.join()
        containers = stage.ps() or {}
        alive = {name: containers.get(name, {}).get("pid") for name in keepers}
        check(started and alive == keepers, f"round {turn + 1}: killed after {delay:.3f} s, keepers live", f"{alive} instead of {keepers}")
        remove = [name for name in containers if not name.startswith("keeper")]
        if remove:
            stage.corten("rm", "--force", *remove, timeout=120)
    check(sum(counts) > 0, f"{sum(counts)} lifecycles ended as they should", "none did")
    # A client that lost its daemon may have removed the row of a task that lives on; the next start ends such tasks.
    stage.kill()
    check(stage.start(), "the daemon starts once more, without load")
    done = stage.corten("exec", "keeper0", "echo", "still", "here")
    check(done.stdout == "still here\n", "a container from before the first kill can be entered", done.stderr)
    remove_all(stage)
    check(stage.ps() == {}, "every container can be removed", str(stage.ps()))
    check(stage.corten("rmi", IMAGE).returncode == 0, "the image can be removed")
    stage.corten("leases", "create", "--id", "sweep")
    stage.corten("leases", "rm", "--sync", "sweep")
    # A client whose daemon was killed cannot give its lease back: such leases carry a date and hold nothing any more.
    leases = [line for line in stage.corten("leases", "ls").stdout.splitlines()[1:] if "containerd.io/gc.expire=" not in line]
    check(leases == [], "no lease is left without an end", "\n".join(leases))
    stage.corten("leases", "rm", "--sync", *stage.corten("leases", "ls", "-q").stdout.split())
    for what in (["snapshots", "tree"], ["content", "ls", "-q"]):
        out = stage.corten(*what).stdout
        check(out == "", f"nothing is left in {what[0]}", out)
    stage.daemon.terminate()
    check(stage.daemon.wait() == 0, "SIGTERM ends the daemon")
    stage.daemon = None
    for _ in range(50):
        found = left_over(stage)
        if not found:
            break
        time.sleep(0.1)
    check(not found, "no mount, shim, cgroup or bundle is left", ", ".join(found[:10]))
    bbolt = os.path.join(os.environ.get("CORTEN_PEERS", os.path.expanduser("~/.cache/corten/peers")), "bin/bbolt")
    for database in (f"{stage.dir}/root/io.containerd.metadata.v1.bolt/meta.db", f"{stage.dir}/root/io.containerd.snapshotter.v1.overlayfs/metadata.db"):
        done = subprocess.run([bbolt, "check", database], capture_output=True, text=True)
        check(done.returncode == 0, f"bbolt finds {os.path.basename(database)} sound", done.stdout + done.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200 if os.environ.get("LONG") else 20)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.rounds} rounds, {chosen.workers} workers", flush=True)
    stage = Stage(chosen.seed)
    try:
        play(stage, chosen.rounds, chosen.workers)
    finally:
        if stage.daemon is not None and stage.daemon.poll() is None:
            remove_all(stage)
            stage.daemon.terminate()
            stage.daemon.wait()
        if failures:
            subprocess.run(["tail", "-40", f"{stage.dir}/log"], stdout=sys.stdout)
        shutil.rmtree(stage.dir, ignore_errors=True)
    print("done", flush=True)
    sys.exit(failures != 0)


main()
