#!/usr/bin/env python3
"""Kills cortend with SIGKILL at random moments under parallel work, starts it again, and looks for what was lost, left or told wrongly.

Usage: rounds.py [--rounds N] [--workers N] [--seed N]      needs root; CORTEN_BUILD names the build directory.

Load: WORKERS clients in loops: lifecycles (`run --rm`), execs into the keepers, pull and rmi, import and rmi. In each round the
daemon is killed once at a seeded moment; while it is down a container of that round and an exec in a keeper are killed too.
After each round: the keepers run with the same process; the containers that ended before and meanwhile have exited.
In the end: no container, mount, shim, cgroup, network namespace, bundle, socket, lease, ingest, blob or snapshot is left, in rows
or on the disk; bbolt finds every database sound. And exits: the daemon notes each event that it hands to its subscribers, and each
acknowledgement that it gives a shim. Every process whose start was told has its exit told; no exit is told twice by one daemon;
by a later daemon it is told again only if the earlier one was killed before it acknowledged, and then with the same status; what
ended while the daemon was down is told, once, by the next. A client that subscribes anew after each start sees no others.
"""
import argparse
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import scratch  # noqa: E402
from scratch import IMAGE, PEERS, TOP, check  # noqa: E402

KEEPERS = 3


class Watcher(threading.Thread):
    """The real `ctr events`, started again whenever it loses its daemon. Keeps the exits that it saw."""

    def __init__(self, stage):
        super().__init__()
        self.stage, self.ended, self.exits, self.client = stage, threading.Event(), [], None

    def run(self):
        while not self.ended.is_set():
            command = [f"{PEERS}/ctr", "--address", f"{self.stage.dir}/c.sock", "--namespace", self.stage.ns, "events"]
            self.client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for line in self.client.stdout:
                found = re.search(r" /tasks/exit (\{.*\})", line)
                if found:
                    fields = dict(re.findall(r'"(\w+)":"?([^",}]*)', found.group(1)))
                    self.exits.append((fields.get("container_id"), fields.get("id"), int(fields.get("pid", 0))))
            self.client.wait()
            self.ended.wait(0.05)

    def end(self):
        self.ended.set()
        if self.client is not None and self.client.poll() is None:
            self.client.kill()
        self.join()


class Load:
    """What the workers do; each method is one turn and answers whether it went as it does when nobody is killed."""

    def __init__(self, stage, registry, archive):
        self.stage, self.registry, self.archive = stage, registry, archive

    def lifecycle(self, worker, turn):
        return self.stage.corten("run", "--rm", "--name", f"w{worker}-{turn}", IMAGE, "sh", "-c", "exit 5", timeout=45).returncode == 5

    def execution(self, worker, _turn):
        done = self.stage.corten("exec", f"keeper{worker % KEEPERS}", "sh", "-c", "echo in; exit 7", timeout=45)
        return done.returncode == 7 and done.stdout == "in\n"

    def pull(self, _worker, _turn):
        name = f"{self.registry}/many-gzip:1"
        pulled = self.stage.corten("pull", "--plain-http", name, timeout=60).returncode == 0
        return self.stage.corten("rmi", name, timeout=60).returncode == 0 and pulled

    def import_(self, _worker, _turn):
        done = self.stage.corten("import", self.archive, timeout=60)
        names = [line for line in self.stage.corten("images", "-q").stdout.split() if line != IMAGE and self.registry not in line]
        return done.returncode == 0 and all(self.stage.corten("rmi", name, timeout=60).returncode == 0 for name in names)

    def kinds(self, workers):
        """Of each four workers one execs; one pulls; one imports; the others live and die."""
        kinds = [self.execution if n % 5 == 1 else self.lifecycle for n in range(workers)]
        if workers > 2:
            kinds[0], kinds[2] = self.pull, self.import_
        return kinds


def work(act, number, stop, counts):
    turn = 0
    while not stop.is_set():
        turn += 1
        key = act.__name__.strip("_")
        good = act(number, f"{int(time.monotonic() * 1000)}-{turn}")
        with counts["lock"]:
            counts[key] = counts.get(key, 0) + bool(good)


def net_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def nets_in_use(ns):
    """Those of processes in the stage's cgroups, and those that a mount keeps. Numbers are given out again soon, so not all processes."""
    held = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
                if f"/{ns}/" in f.read():
                    held.add(net_of(pid))
        except OSError:
            continue
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        held |= {line.split()[3] for line in f if " nsfs " in line}
    return held


def end_while_down(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Play:
    def __init__(self, stage, load, workers):
        self.stage, self.load, self.workers = stage, load, workers
        self.keepers, self.nets, self.mortals, self.alive = {}, set(), [], set()
        self.counts = {"lock": threading.Lock()}

    def start_keepers(self):
        for i in range(KEEPERS):
            done = self.stage.corten("run", "-d", "--name", f"keeper{i}", "--log-dir", f"{self.stage.dir}/logs", IMAGE, "sleep", "100000")
            check(done.returncode == 0, f"keeper {i} runs", done.stderr)
        self.keepers = {name: c["pid"] for name, c in (self.stage.ps() or {}).items()}
        self.nets = {net_of(pid) for pid in self.keepers.values()} - {net_of(os.getpid()), None}

    def start_mortals(self, turn):
        """A container and an exec that will end while no daemon runs: (container, exec or container, pid)."""
        name = f"mortal{turn}"
        ran = self.stage.corten("run", "-d", "--name", name, "--log-dir", f"{self.stage.dir}/logs", IMAGE, "sleep", "100000")
        pid = ((self.stage.ps() or {}).get(name) or {}).get("pid", 0)
        entered = self.stage.corten("exec", "-d", "keeper0", "sleep", "100000").stdout.split()
        if ran.returncode != 0 or pid == 0 or len(entered) != 2:
            check(False, f"round {turn}: something to end while the daemon is down", ran.stderr)
            return []
        self.nets |= {net_of(pid)} - {net_of(os.getpid()), None}
        return [(name, name, pid), ("keeper0", entered[0], int(entered[1]))]

    def round(self, turn):
        mortals = self.start_mortals(turn)
        # Ends before the kill and is removed after it: its exit was told, and is not to be told again.
        self.stage.corten("run", "-d", "--name", f"early{turn}", IMAGE, "sh", "-c", "exit 3")
        stop = threading.Event()
        threads = [threading.Thread(target=work, args=(act, n, stop, self.counts)) for n, act in enumerate(self.load.kinds(self.workers))]
        for thread in threads:
            thread.start()
        delay = self.stage.random.uniform(0.05, 2.5)
        time.sleep(delay)
        self.stage.kill()
        end_while_down(pid for _, _, pid in mortals)
        began = time.monotonic()
        started = self.stage.start()
        took = time.monotonic() - began
        self.mortals += [(key, self.stage.life) for key in mortals]
        stop.set()
        for thread in threads:
            thread.join()
        containers = self.stage.ps() or {}
        alive = {name: containers.get(name, {}).get("pid") for name in self.keepers}
        ended = [containers.get(name, {}).get("status") for name in [*(name for name, _, _ in mortals[:1]), f"early{turn}"]]
        self.nets |= {net_of(c["pid"]) for c in containers.values() if c["pid"]} - {net_of(os.getpid()), None}
        right = started and alive == self.keepers and set(ended) == {"exited"}
        check(right, f"round {turn}: killed after {delay:.3f} s, back after {took:.2f} s, keepers live, the others have exited",
              f"started {started}, {alive} instead of {self.keepers}, ended {ended}")
        self.stage.remove_containers(keep=self.keepers)

    def check_exits(self, watcher):
        told = scratch.Told(self.stage.notes)
        wrong = told.wrong_exits()
        check(not wrong and told.exits, f"{len(told.exits)} exits are told once ({told.repeated()} again by the next daemon, for want of "
              "an acknowledgement)", "\n".join(wrong[:10]))
        wrong = [f"{key}: {told.exits.get(key)}" for key, life in self.mortals
                 if [(entry[0], entry[1]) for entry in told.exits.get(key, [])] != [(life, 137)]]
        check(not wrong, f"{len(self.mortals)} processes that ended while no daemon ran: told once each, by the next, with 137", "\n".join(wrong[:10]))
        unknown = [key for key in watcher.exits if key not in told.exits]
        often = [key for key in set(watcher.exits) if watcher.exits.count(key) > len(told.exits.get(key, []))]
        check(not unknown and not often and watcher.exits, f"a client that subscribes anew saw {len(watcher.exits)} of them, none once too often",
              f"unknown {unknown[:5]}, too often {often[:5]}")

    def check_empty(self):
        stage = self.stage
        stage.remove_containers()
        check(stage.ps() == {}, "every container can be removed", str(stage.ps()))
        for name in stage.corten("images", "-q").stdout.split():
            check(stage.corten("rmi", name).returncode == 0, f"{name} can be removed")
        stage.sweep()
        # A client whose daemon was killed cannot give its lease back: such leases carry a date.
        leases = [line for line in stage.corten("leases", "ls").stdout.splitlines()[1:] if "containerd.io/gc.expire=" not in line]
        check(leases == [], "no lease is left without an end", "\n".join(leases))
        stage.drop_leases()
        active = stage.corten("content", "active").stdout.splitlines()[1:]
        for what in (["snapshots", "tree"], ["content", "ls", "-q"]):
            out = stage.corten(*what).stdout
            check(out == "", f"nothing is left in {what[0]}", out)
        check(active == [], "no ingest is left", "\n".join(active))
        files = []
        for place in ("io.containerd.content.v1.content/blobs/sha256", "io.containerd.content.v1.content/ingest",
                      "io.containerd.snapshotter.v1.overlayfs/snapshots"):
            path = f"{stage.root}/{place}"
            files += [f"{place}/{name}" for name in (os.listdir(path) if os.path.isdir(path) else [])]
        check(files == [], "no blob, ingest or snapshot is left on the disk", "\n".join(files[:10]))

    def all(self, rounds):
        stage = self.stage
        watcher = Watcher(stage)
        watcher.start()
        try:
            self.start_keepers()
            for turn in range(1, rounds + 1):
                self.round(turn)
            counts = {key: value for key, value in self.counts.items() if key != "lock"}
            check(counts.get("lifecycle", 0) > 0 and len(counts) == 4, f"ended as they should: {counts}", "some kind never did")
            # A client that lost its daemon may have removed the row of a task that lives on; the next start ends such tasks.
            stage.kill()
            check(stage.start(), "the daemon starts once more, without load")
            done = stage.corten("exec", "keeper0", "echo", "still", "here")
            check(done.stdout == "still here\n", "a container from before the first kill can be entered", done.stderr)
            self.check_empty()
            check(stage.stop() == 0, "SIGTERM ends the daemon")
        finally:
            watcher.end()
        found = stage.left_over_soon()
        check(not found, "no mount, shim, cgroup, bundle or socket is left", ", ".join(found[:10]))
        held = self.nets & nets_in_use(stage.ns)
        check(not held, f"none of {len(self.nets)} network namespaces is left", str(held))
        problems = stage.bbolt_problems()
        check(not problems, "bbolt finds every database sound", "\n".join(problems))
        self.check_exits(watcher)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200 if os.environ.get("LONG") else 20)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    began = time.monotonic()
    print(f"seed {chosen.seed}, {chosen.rounds} rounds, {chosen.workers} workers", flush=True)
    stage = scratch.Scratch("kill")
    stage.random = random.Random(chosen.seed)
    registry = [f"{TOP}/tests/peers/registry.sh"]
    images = scratch.test_images()
    try:
        address = subprocess.run([*registry, "start", f"{stage.dir}/registry", f"{images}/layout/many-gzip"], capture_output=True, text=True,
                                 check=True).stdout.strip()
        if check(stage.start(), "the daemon starts") and check(stage.corten("import", f"{images}/busybox.tar").returncode == 0, "an image is imported"):
            Play(stage, Load(stage, address, f"{images}/odd.tar"), chosen.workers).all(chosen.rounds)
    finally:
        subprocess.run([*registry, "stop", f"{stage.dir}/registry"], check=False)
        stage.close()
    print(f"took {time.monotonic() - began:.0f} s", flush=True)
    print("done", flush=True)
    sys.exit(scratch.failures != 0)


main()
