#!/usr/bin/env python3
"""containerd makes a state, another daemon takes it over as it lies, and containerd takes it back. See README.md.

Usage: switch.py MIDDLE_DAEMON      (switch.sh calls it on a stage of its own)
Prints `ok NAME` or `not ok NAME: why` for each thing seen, then `done`.
"""
import contextlib
import os
import pty
import subprocess
import sys
import tempfile
import time

import rows

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import stage  # noqa: E402

LIMIT = 20  # seconds for anything that is waited for
HOLD = 35   # seconds the expiring lease lives: longer than making the state takes
BUSYBOX = "corten.test/busybox:1"
# A process that lives until it is told to end, by a signal whose exit code shows that the program itself saw it.
LOOP = ["sh", "-c", 'sleep 1000 >/dev/null 2>&1 & trap "kill $!; exit 12" USR1; wait']


class Judge:
    """Runs ctr and says what is so. Every `ok` line is one test."""

    def __init__(self, environment):
        self.environment = environment
        self.failed = 0
        self.reference = False  # the middle daemon is containerd itself
        self.phase = ""

    def say(self, good, name, why=""):
        print(f"ok {self.phase}: {name}" if good else f"not ok {self.phase}: {name}: {why.strip()[:2000]}", flush=True)
        self.failed += not good
        return good

    def ctr(self, *arguments, typed="", terminal=False):
        """(exit code, stdout, stderr) of one ctr command. stdin is a file, because resuming an ingest seeks; or a terminal."""
        with contextlib.ExitStack() as open_files:
            if terminal:
                master, stdin = pty.openpty()
                open_files.callback(os.close, master)
                open_files.callback(os.close, stdin)
            else:
                stdin = open_files.enter_context(tempfile.TemporaryFile())
                stdin.write(typed.encode())
                stdin.seek(0)
            try:
                done = subprocess.run(["ctr", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False,
                                      env=self.environment, cwd=f"{stage.BASE}/client", stdin=stdin)
            except subprocess.TimeoutExpired:
                return "late", "", "not done in time"
        return done.returncode, done.stdout, done.stderr

    def does(self, *arguments, code=0, out=None, **stdin):
        """This command ends with this exit code and, if given, this output."""
        got, text, error = self.ctr(*arguments, **stdin)
        good = got == code and (out is None or out == text)
        return self.say(good, "ctr " + " ".join(arguments)[:120], f"exit code {got}, not {code}: {text!r} {error}")

    def until(self, name, condition):
        end = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > end:
                return self.say(False, name, f"not so after {LIMIT} s")
            time.sleep(0.05)
        return self.say(True, name)

    def status(self, namespace, task):
        for line in self.ctr("-n", namespace, "tasks", "ls")[1].splitlines():
            words = line.split()
            if words and words[0] == task:
                return words[2]
        return "none"


def make_state(judge):
    """Phase 1: everything a node may hold when its daemon is exchanged."""
    does = judge.does
    does("namespaces", "create", "alpha", "purpose=tasks")
    does("namespaces", "create", "beta")
    does("namespaces", "create", "empty", "kept=yes")
    for name in ("busybox", "odd"):
        does("-n", "alpha", "images", "import", "--local", f"{stage.IMAGES}/{name}.tar")
    does("-n", "alpha", "images", "import", "--all-platforms", "--no-unpack", f"{stage.IMAGES}/multi.tar")
    does("-n", "beta", "images", "import", f"{stage.IMAGES}/busybox.docker.tar")
    does("-n", "alpha", "images", "label", BUSYBOX, "com.docker.official=yes", "empty=")
    does("-n", "alpha", "leases", "create", "--id", "soon", "--expires", f"{HOLD}s")
    does("-n", "alpha", "leases", "create", "--id", "later", "moby/lease=kept")
    does("-n", "beta", "leases", "create", "--id", "endless", "--expires", "0")
    judge.say(judge.ctr("-n", "alpha", "content", "ingest", "--expected-size", "12", "half", typed="hello ")[0] == 1,
              "a half-written ingest is left")
    does("-n", "alpha", "snapshots", "prepare", "work-in-progress")
    does("-n", "alpha", "snapshots", "--snapshotter", "native", "prepare", "native-work")
    run = ["-n", "alpha", "run", "-d"]
    does(*run, "--label", "com.docker/engine.bundle.path=/var/run/docker/containerd/running", BUSYBOX, "running", *LOOP)
    does(*run, BUSYBOX, "paused", *LOOP)
    does(*run, "-t", BUSYBOX, "tty", *LOOP, terminal=True)
    does(*run, BUSYBOX, "ends-meanwhile", "sh", "-c", "sleep 1000")
    does(*run, BUSYBOX, "stopped", "sh", "-c", "exit 7")
    does("-n", "beta", "containers", "create", "corten.test/busybox:docker", "idle", "sleep", "5")
    does("-n", "alpha", "tasks", "exec", "-d", "--exec-id", "helper", "running", *LOOP)
    does("-n", "alpha", "tasks", "pause", "paused")
    judge.until("the short task has stopped", lambda: judge.status("alpha", "stopped") == "STOPPED")


READ_ONLY = [
    ["namespaces", "ls"], ["containers", "ls"], ["images", "ls"], ["images", "check"], ["content", "ls", "-q"],
    ["snapshots", "ls"], ["snapshots", "--snapshotter", "native", "ls"], ["leases", "ls"], ["tasks", "ls"]]


def view(judge):
    """What every list command shows in every namespace, rows sorted. Ages are left out, pids are in."""
    seen = {}
    for namespace in ("alpha", "beta", "empty", "default"):
        for command in READ_ONLY:
            code, out, error = judge.ctr("-n", namespace, *command)
            seen[f"{namespace} {' '.join(command)}"] = f"{code} {error}\n" + "\n".join(sorted(out.splitlines()))
    for task in ("running", "paused", "tty"):
        seen[f"ps {task}"] = "\n".join(sorted(judge.ctr("-n", "alpha", "tasks", "ps", task)[1].splitlines()))
        seen[f"info {task}"] = judge.ctr("-n", "alpha", "containers", "info", task)[1]
    seen["info idle"] = judge.ctr("-n", "beta", "containers", "info", "idle")[1]
    return seen


def compare_views(judge, before, after, except_for=()):
    for name, text in before.items():
        if name in except_for:
            continue
        judge.say(text == after[name], f"the same: {name}", f"before\n{text}\nafter\n{after[name]}")


def take_over(judge):
    """Phase 2: the middle daemon works with what it found."""
    does = judge.does
    does("-n", "alpha", "tasks", "exec", "--exec-id", "x1", "running", "echo", "inside", out="inside\n")
    does("-n", "alpha", "tasks", "exec", "--exec-id", "x2", "tty", "sh", "-c", "exit 3", code=3)
    does("-n", "alpha", "tasks", "exec", "--exec-id", "x3", "ends-meanwhile", "cat", typed="through stdin\n", out="through stdin\n")
    judge.say(judge.status("alpha", "paused") == "PAUSED", "the paused task is paused")
    does("-n", "alpha", "tasks", "resume", "paused")
    judge.say(judge.status("alpha", "paused") == "RUNNING", "and runs when resumed")
    does("-n", "alpha", "tasks", "pause", "paused")
    does("-n", "alpha", "tasks", "kill", "-s", "SIGUSR1", "--exec-id", "helper", "running")
    judge.until("the exec from before ends", lambda: "helper" not in judge.ctr("-n", "alpha", "tasks", "ps", "running")[1])
    does("-n", "alpha", "tasks", "delete", "--exec-id", "helper", "running", code=12)
    does("-n", "alpha", "tasks", "kill", "-s", "SIGKILL", "ends-meanwhile")
    judge.until("an exit is seen", lambda: judge.status("alpha", "ends-meanwhile") == "STOPPED")
    code, _, error = judge.ctr("-n", "alpha", "tasks", "rm", "ends-meanwhile")
    judge.say(code == 0 and "exit code 137" in error, "with its code", error)
    does("-n", "alpha", "containers", "rm", "ends-meanwhile")
    code, _, error = judge.ctr("-n", "alpha", "tasks", "rm", "stopped")
    if not judge.reference:  # containerd forgets a stopped task when it starts; Corten keeps it until somebody has asked
        judge.say(code == 0 and "exit code 7" in error, "an exit from before the switch keeps its code", error)
    does("-n", "alpha", "containers", "rm", "stopped")
    # More of everything.
    does("namespaces", "create", "gamma", "made=later")
    does("-n", "gamma", "images", "import", "--local", f"{stage.IMAGES}/many-gzip.tar")
    does("-n", "alpha", "run", "-d", BUSYBOX, "newcomer", *LOOP)
    does("-n", "alpha", "tasks", "exec", "-d", "--exec-id", "young", "newcomer", *LOOP)
    does("-n", "alpha", "run", "-d", "-t", BUSYBOX, "new-tty", *LOOP, terminal=True)
    does("-n", "alpha", "run", "-d", BUSYBOX, "new-paused", *LOOP)
    does("-n", "alpha", "tasks", "pause", "new-paused")
    does("-n", "gamma", "leases", "create", "--id", "from-the-middle", "a=b")
    does("-n", "alpha", "snapshots", "prepare", "made-in-the-middle")
    does("-n", "alpha", "content", "ingest", "--expected-size", "12", "half", typed="hello world\n")
    judge.say("half" not in judge.ctr("-n", "alpha", "content", "active")[1], "the half-written ingest was finished")


def hand_back(judge):
    """Phase 3: containerd again, with what it left and what was made meanwhile."""
    does = judge.does
    for task in ("running", "tty", "newcomer", "new-tty"):
        does("-n", "alpha", "tasks", "exec", "--exec-id", "back", task, "cat", "/etc/hostname", out="corten\n")
    for task in ("paused", "new-paused"):
        judge.say(judge.status("alpha", task) == "PAUSED", f"{task} is paused")
        does("-n", "alpha", "tasks", "resume", task)
    does("-n", "alpha", "tasks", "kill", "-s", "SIGUSR1", "--exec-id", "young", "newcomer")
    judge.until("the younger exec ends", lambda: "young" not in judge.ctr("-n", "alpha", "tasks", "ps", "newcomer")[1])
    does("-n", "alpha", "tasks", "delete", "--exec-id", "young", "newcomer", code=12)
    for task in ("running", "paused", "tty", "newcomer", "new-tty", "new-paused"):
        does("-n", "alpha", "tasks", "kill", "-s", "SIGUSR1", task)
        judge.until(f"{task} ends", lambda task=task: judge.status("alpha", task) == "STOPPED")
        code, _, error = judge.ctr("-n", "alpha", "tasks", "rm", task)
        judge.say(code == 0 and "exit code 12" in error, f"{task} ended as it was told", error)
        does("-n", "alpha", "containers", "rm", task)
    does("-n", "gamma", "run", "--rm", "corten.test/many-gzip:1", "last", "ls", "/usr/share/part9/d0", code=0)
    does("-n", "beta", "tasks", "start", "-d", "idle")
    does("-n", "beta", "tasks", "kill", "-s", "SIGKILL", "idle")
    judge.until("idle ends", lambda: judge.status("beta", "idle") == "STOPPED")
    does("-n", "beta", "containers", "rm", "idle")
    mounts, shims = stage.left_over()
    judge.say(not mounts and not shims, "no mount and no shim is left", f"{mounts} {shims}")


# What the test itself changes in phase 2. Every other row of phase 1 must still be there, byte for byte.
TOUCHED = ['"soon"', '"ends-meanwhile"', '"stopped"', '"half"']


def main():
    work = tempfile.mkdtemp(prefix="corten-switch-", dir=os.environ.get("CORTEN_KEEP"))
    stage.prepare(work)
    judge = Judge(stage.client_environment())
    judge.reference = sys.argv[1] == stage.containerd()
    log = os.path.join(work, "daemon.log")
    daemon = None
    try:
        judge.phase, daemon = "containerd makes a state", stage.Daemon(stage.containerd(), log)
        made = time.monotonic()
        make_state(judge)
        before = view(judge)
        judge.say(daemon.stop() == 0, "it stops")
        first = rows.snapshot(judge)

        judge.phase, daemon = "taken over", stage.Daemon(sys.argv[1], log)
        judge.say(time.monotonic() - made < HOLD, "in time to see the lease that will expire")
        compare_views(judge, before, view(judge), ["alpha tasks ls"] if judge.reference else [])
        take_over(judge)
        if judge.reference:  # containerd expires a lease when something else makes it collect
            judge.does("-n", "alpha", "leases", "rm", "--sync", "soon")
        else:
            time.sleep(max(0.0, made + HOLD - time.monotonic()))
            judge.until("a lease expires while nobody asks",
                        lambda: "soon" not in judge.ctr("-n", "alpha", "leases", "ls", "-q")[1].split())
        between = view(judge)
        judge.say(daemon.stop() == 0, "it stops")
        rows.compare(judge, first, rows.snapshot(judge), TOUCHED)

        judge.phase, daemon = "handed back", stage.Daemon(stage.containerd(), log)
        compare_views(judge, between, view(judge))
        hand_back(judge)
        judge.say(daemon.stop() == 0, "it stops")
        rows.snapshot(judge)
    finally:
        if daemon:
            daemon.kill()
        if judge.failed:
            with open(log, encoding="utf-8", errors="replace") as f:
                print("".join(line for line in f.readlines()[-4000:] if "level=debug" not in line)[-6000:])
    print("done")
    sys.exit(1 if judge.failed else 0)


if __name__ == "__main__":
    main()
