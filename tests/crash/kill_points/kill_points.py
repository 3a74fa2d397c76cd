#!/usr/bin/env python3
"""Kills the real cortend at its named steps under real clients, starts it again, and looks at what is left.

Usage: kill_points.py [--seed N] [--cases N] [--only OPERATION [--point POINT]]      needs root; CORTEN_BUILD names the build directory.

For each operation (create, start, exec, delete, pull, commit, gc) a run without a kill lists the failpoints that it passes in the
daemon and in its shim; fewer than ten different ones are a failure. Then, for one point after the other, the point is armed (the
daemon gets SIGKILL when it, or the shim that it waits for, passes it the n-th time), the operation is performed, and the daemon is
started again. Afterwards:
  I1-I3  bbolt finds the databases sound as the kill left them; every blob's bytes match its name; rows and files pair up
  I4     after a collection no snapshot, blob, ingest, mount, shim, cgroup, bundle or socket is there that nothing refers to
  I6     exits are told once (see rounds.py); a finished answer is never taken back
  and the operation can be done again and undone.
Every point is killed at its first passage; with LONG=1 at its last one too. Without LONG=1 --cases points of each operation are
drawn by the seed.
"""
import argparse
import hashlib
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import scratch  # noqa: E402
from scratch import IMAGE, TOP, check  # noqa: E402

LEAST_POINTS = 10
NAME = "subject"
SUBJECT_IMAGE = "corten.test/many-gzip:1"


class Stage(scratch.Scratch):
    def __init__(self):
        super().__init__("points")
        self.armed, self.trace = f"{self.dir}/armed", f"{self.dir}/trace"
        self.environment.update(CORTEN_KILL_FILE=self.armed, CORTEN_FAILPOINT_LOG=self.trace)
        self.images = scratch.test_images()
        self.registry = ""
        self.told_wrong = []

    def arm(self, point, passage):
        for path in (self.armed + ".fired", self.armed):
            if os.path.exists(path):
                os.unlink(path)
        with open(self.armed + ".new", "w", encoding="utf-8") as f:
            f.write(f"{point}@{passage} {self.daemon.pid}\n")
        os.rename(self.armed + ".new", self.armed)

    def disarm(self):
        """True if the point was passed."""
        with open(self.armed, "w", encoding="utf-8"):
            pass
        return os.path.exists(self.armed + ".fired")

    def traced(self, act):
        """The failpoints that `act` passes, in order."""
        with open(self.trace, "w", encoding="utf-8"):
            pass
        act()
        with open(self.trace, encoding="utf-8") as f:
            return f.read().split()

    def run(self, name=NAME):
        return self.corten("run", "-d", "--name", name, "--log-dir", f"{self.dir}/logs", IMAGE, "sleep", "100000")

    def subject(self):
        return (self.ps() or {}).get(NAME)

    def places(self):
        content = f"{self.root}/io.containerd.content.v1.content"
        listed = lambda path: os.listdir(path) if os.path.isdir(path) else []  # noqa: E731
        return (set(listed(f"{content}/blobs/sha256")), set(listed(f"{content}/ingest")),
                set(listed(f"{self.root}/io.containerd.snapshotter.v1.overlayfs/snapshots")))

    def wrong_bytes(self):
        directory = f"{self.root}/io.containerd.content.v1.content/blobs/sha256"
        wrong = []
        for name in os.listdir(directory):
            with open(f"{directory}/{name}", "rb") as f:
                if hashlib.sha256(f.read()).hexdigest() != name:
                    wrong.append(name)
        return wrong


# --- operations: prepare, perform, look, and back to where it began ---


class Operation:
    def prepare(self, stage):
        pass

    def perform(self, stage):
        raise NotImplementedError

    def window(self, trace):
        """The part of a trace that is the operation, and what came before it."""
        return trace, []

    def look(self, stage, done):
        """What is wrong right after the restart; `done`: how the client's call ended."""
        return []

    def again(self, stage):
        """Repeats the operation; what is wrong."""
        done = self.perform(stage)
        return [] if done.returncode == 0 else [f"cannot be repeated: {done.stderr[-300:]}"]

    def undo(self, stage):
        stage.remove_containers()


class Create(Operation):
    """`corten run -d` up to the call that starts the process."""

    def perform(self, stage):
        return stage.run()

    def window(self, trace):
        return trace[:trace.index("runtime.start.asked")], []

    def look(self, stage, done):
        found = stage.subject()
        if done.returncode == 0 and (found is None or not found["pid"]):
            return [f"the client was told that it runs: {found}"]
        if found and found["pid"] and not os.path.exists(f"/proc/{found['pid']}"):
            return [f"a process is listed that does not exist: {found}"]
        return []

    def again(self, stage):
        stage.remove_containers()
        done = stage.run()
        entered = stage.corten("exec", NAME, "echo", "in")
        if done.returncode != 0 or entered.stdout != "in\n":
            return [f"cannot be made anew: {done.stderr[-300:]} {entered.stderr[-300:]}"]
        return []


class Start(Create):
    """`corten run -d` from the call that starts the process to its end."""

    def window(self, trace):
        begin = trace.index("runtime.start.asked")
        return trace[begin:], trace[:begin]


class Exec(Operation):
    def prepare(self, stage):
        stage.run()
        self.before = stage.subject()

    def perform(self, stage):
        done = stage.corten("exec", NAME, "sh", "-c", "echo in; exit 7")
        done.wrong = done.returncode == 7 and done.stdout != "in\n"  # ended well without its output
        if done.returncode == 7:
            done.returncode = 0
        return done

    def look(self, stage, done):
        found = stage.subject()
        wrong = [] if found == self.before else [f"the container is {found} instead of {self.before}"]
        return wrong + (["output is lost"] if done.wrong else [])


class Delete(Operation):
    def prepare(self, stage):
        stage.run()

    def perform(self, stage):
        return stage.corten("rm", "--force", NAME)

    def look(self, stage, done):
        return ["the client was told that it is gone"] if done.returncode == 0 and stage.subject() else []

    def again(self, stage):
        if stage.subject() is None:
            return []
        return super().again(stage)


class Pull(Operation):
    def perform(self, stage):
        return stage.corten("pull", "--plain-http", f"{stage.registry}/many-gzip:1")

    def name(self, stage):
        return f"{stage.registry}/many-gzip:1"

    def look(self, stage, done):
        names = stage.corten("images", "-q").stdout.split()
        if done.returncode == 0 and self.name(stage) not in names:
            return ["the client was told that the image is there"]
        if self.name(stage) in names and stage.corten("run", "--rm", self.name(stage), "true").returncode != 0:
            return ["the image is named and cannot be run"]
        return []

    def again(self, stage):
        wrong = super().again(stage)
        ran = stage.corten("run", "--rm", self.name(stage), "true")
        return wrong + ([] if ran.returncode == 0 else [f"does not run: {ran.stderr[-300:]}"])

    def undo(self, stage):
        stage.remove_containers()
        stage.corten("rmi", self.name(stage))


class Commit(Pull):
    """`corten import`: blobs and unpacked layers are committed."""

    def perform(self, stage):
        return stage.corten("import", f"{stage.images}/many-gzip.tar")

    def name(self, stage):
        return SUBJECT_IMAGE


class Gc(Operation):
    """The image's name goes, and the collection takes what only it needed."""

    def prepare(self, stage):
        stage.corten("import", f"{stage.images}/many-gzip.tar")

    def perform(self, stage):
        return stage.corten("rmi", SUBJECT_IMAGE)

    def look(self, stage, done):
        there = SUBJECT_IMAGE in stage.corten("images", "-q").stdout.split()
        if done.returncode == 0 and there:
            return ["the client was told that it is gone"]
        if there and stage.corten("run", "--rm", SUBJECT_IMAGE, "true").returncode != 0:
            return ["the image is named and cannot be run"]
        return []

    def again(self, stage):
        if SUBJECT_IMAGE not in stage.corten("images", "-q").stdout.split():
            return []
        return super().again(stage)


OPERATIONS = {"create": Create, "start": Start, "exec": Exec, "delete": Delete, "pull": Pull, "commit": Commit, "gc": Gc}


# --- one case ---


def empty_again(stage, home):
    """After everything was undone: what is there that was not there before."""
    stage.drop_leases()
    wrong = [f"left: {what}" for what in stage.left_over_soon()]
    for what, now, then in zip(("blobs", "ingests", "snapshots"), stage.places(), home):
        if len(now) != len(then) or (what == "blobs" and now != then):
            wrong.append(f"{what}: {sorted(now)[:5]} instead of {sorted(then)[:5]}")
    return wrong


def play(stage, operation, point, passage, home):
    """What is wrong after a kill at the passage of a point; None: it was not passed."""
    operation.prepare(stage)
    stage.arm(point, passage)
    done = operation.perform(stage)
    if not stage.disarm():
        operation.undo(stage)
        stage.drop_leases()
        return None
    stage.kill()  # it is on its way; a shim may have sent it
    wrong = [f"bbolt: {problem}" for problem in stage.bbolt_problems()]
    if not stage.start():
        return wrong + ["the daemon does not start again"]
    wrong += operation.look(stage, done)
    wrong += operation.again(stage)
    wrong += [f"wrong bytes under the name {name}" for name in stage.wrong_bytes()]
    operation.undo(stage)
    return wrong + empty_again(stage, home)


def cases_of(points, count, chooser, only):
    """(point, passage) to kill at. `points`: in the order of passing, with repetitions."""
    last = {point: points.count(point) for point in points}
    if only:
        return [(only, 1)] * (only in last)
    if os.environ.get("LONG"):
        return [(point, passage) for point in last for passage in sorted({1, last[point]})]
    drawn = chooser.sample(sorted(last), min(count, len(last)))
    return [(point, chooser.choice([1, last[point]])) for point in drawn]


def suite(stage, name, chosen, chooser, home):
    operation = OPERATIONS[name]()
    operation.prepare(stage)
    trace = stage.traced(lambda: operation.perform(stage))
    operation.undo(stage)
    stage.drop_leases()
    points, before = operation.window(trace)
    check(len(set(points)) >= LEAST_POINTS, f"{name} passes {len(set(points))} points: {' '.join(dict.fromkeys(points))}",
          f"fewer than {LEAST_POINTS}")
    fired = 0
    cases = cases_of(points, chosen.cases, chooser, chosen.point)
    for point, passage in cases:
        at = passage + before.count(point)
        wrong = play(stage, operation, point, at, home)
        if wrong is None and at > 1:
            wrong = play(stage, operation, point, at - 1, home)  # how often a flush is shared is not the same each time
        if wrong is None:
            print(f"   {name}: {point} was not passed {at} times", flush=True)
            continue
        fired += 1
        check(not wrong, f"{name} killed at {point}@{at}", "; ".join(wrong[:6]))
        if not stage.alive() and not stage.start():
            break
    return fired, len(cases)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--only", choices=OPERATIONS)
    parser.add_argument("--point")
    chosen = parser.parse_args()
    began = time.monotonic()
    long = bool(os.environ.get("LONG"))
    print(f"seed {chosen.seed}, {'every point' if long else f'{chosen.cases} points of each operation'}", flush=True)
    stage = Stage()
    chooser = random.Random(chosen.seed)
    registry = [f"{TOP}/tests/peers/registry.sh"]
    try:
        stage.registry = subprocess.run([*registry, "start", f"{stage.dir}/registry", f"{stage.images}/layout/many-gzip"],
                                        capture_output=True, text=True, check=True).stdout.strip()
        if check(stage.start(), "the daemon starts") and check(stage.corten("import", f"{stage.images}/busybox.tar").returncode == 0, "an image is imported"):
            stage.corten("run", "--rm", IMAGE, "true")  # unpacks it
            stage.drop_leases()
            home = stage.places()
            for name in [chosen.only] if chosen.only else OPERATIONS:
                fired, cases = suite(stage, name, chosen, chooser, home)
                least = LEAST_POINTS if long and not chosen.point else max(1, (cases + 1) // 2)
                check(fired >= least, f"{name}: killed at {fired} of {cases} points", f"fewer than {least}")
            check(stage.stop() == 0, "SIGTERM ends the daemon")
            told = scratch.Told(stage.notes)
            wrong = told.wrong_exits()
            check(not wrong and told.exits, f"{len(told.exits)} exits are told once ({told.repeated()} again by the next daemon, for want of "
                  "an acknowledgement)", "\n".join(wrong[:10]))
    finally:
        subprocess.run([*registry, "stop", f"{stage.dir}/registry"], check=False)
        stage.close()
    print(f"took {time.monotonic() - began:.0f} s", flush=True)
    print("done", flush=True)
    sys.exit(scratch.failures != 0)


main()
