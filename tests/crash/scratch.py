"""A cortend in a scratch directory that may be killed at any moment, and what can be said about it afterwards.

Shared by the crash suites. Nothing outside the directory is used but cgroups named after the stage's own namespace.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("CORTEN_BUILD", os.path.join(TOP, "build/dev"))
PEERS = os.path.join(os.environ.get("CORTEN_PEERS", os.path.expanduser("~/.cache/corten/peers")), "bin")
IMAGE = "corten.test/busybox:1"
NEW_FILE = 32768  # bytes of a database that was just made, as src/bolt/db_test.cc holds it
failures = 0


def check(good, name, why=""):
    global failures
    if good:
        print(f"ok {name}", flush=True)
    else:
        failures += 1
        print(f"not ok {name}: {why}", flush=True)
    return good


def test_images(shape="small"):
    made = subprocess.run([f"{TOP}/tests/images/make.sh", shape], capture_output=True, text=True, check=True)
    return made.stdout.strip()


class Scratch:
    """One root, state and socket. `environment` is given to the daemon and thus to its shims."""

    def __init__(self, name, environment=None, root=None):
        self.dir = tempfile.mkdtemp(prefix=f"corten-{name}-", dir="/tmp")
        self.root = root or f"{self.dir}/root"
        self.ns = f"{name}{os.getpid()}"
        self.environment = {**os.environ, **(environment or {})}
        self.daemon = None
        self.life = 0
        self.notes = f"{self.dir}/notes"
        self.environment["CORTEN_NOTES"] = self.notes
        self.started_at = 0.0
        with open(f"{self.dir}/config.toml", "w", encoding="utf-8") as f:
            f.write(f"version = 4\n[plugins.'io.containerd.shim.v1.manager']\n  socket_dir = '{self.dir}/s'\n")

    def start(self, seconds=60):
        """Starts the daemon; True once it answers."""
        self.life += 1
        with open(self.notes, "a", encoding="utf-8") as f:
            f.write(f"life {self.life}\n")
        with open(f"{self.dir}/log", "ab") as log:
            self.daemon = subprocess.Popen(
                [f"{BUILD}/src/daemon/cortend", "--config", f"{self.dir}/config.toml", "--root", self.root, "--state", f"{self.dir}/state",
                 "--address", f"{self.dir}/c.sock"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.daemon.poll() is not None:
                return False
            if self.corten("version").returncode == 0:
                return True
            time.sleep(0.05)
        return False

    def kill(self):
        """SIGKILL, unless it is dead already."""
        if self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def stop(self):
        """SIGTERM; the exit code."""
        if self.daemon.poll() is None:
            self.daemon.terminate()
        try:
            return self.daemon.wait(90)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            return -1

    def alive(self):
        return self.daemon is not None and self.daemon.poll() is None

    def command(self, *args):
        return [f"{BUILD}/src/cli/corten", "--address", f"{self.dir}/c.sock", "--namespace", self.ns, "--connect-timeout", "5s", *args]

    def corten(self, *args, timeout=60, stdin=subprocess.DEVNULL):
        command = self.command(*args)
        try:
            return subprocess.run(command, stdin=stdin, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", "timed out")

    def ps(self):
        """Containers by name; None if the daemon does not answer."""
        done = self.corten("ps", "--all", "-o", "json")
        return {c["name"]: c for c in json.loads(done.stdout)} if done.returncode == 0 else None

    def remove_containers(self, keep=()):
        for _ in range(3):
            names = [name for name in (self.ps() or {}) if name not in keep]
            if not names:
                return
            self.corten("rm", "--force", *names, timeout=120)

    def sweep(self):
        """Collects garbage now: what nothing refers to is gone when this returns."""
        self.corten("leases", "create", "--id", "sweep")
        return self.corten("leases", "rm", "--sync", "sweep").returncode == 0

    def drop_leases(self):
        """Leases that outlived their clients, then a collection."""
        ids = self.corten("leases", "ls", "-q").stdout.split()
        if ids:
            self.corten("leases", "rm", "--sync", *ids)
        return self.sweep()

    def bbolt_problems(self):
        """What the real bbolt says of every database. The daemon must be down."""
        problems = []
        for directory, _, names in os.walk(self.root):
            if "/snapshots/" in directory + "/" or "/blobs/" in directory + "/":
                continue
            for name in names:
                path = os.path.join(directory, name)
                if not name.endswith((".db", ".db.intents")):
                    continue
                with open(path, "rb") as f:
                    # Cut short before its meta pages were written (src/bolt/open.cc): the daemon makes such a file anew.
                    if os.path.getsize(path) <= NEW_FILE and not f.read(8192).strip(b"\0"):
                        continue
                done = subprocess.run([f"{PEERS}/bbolt", "check", path], capture_output=True, text=True, timeout=60, check=False)
                if done.returncode != 0:
                    problems.append(f"{name}: {(done.stdout + done.stderr).strip()[-300:]}")
        return problems

    def shims(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if b"containerd-shim" in words[0] and self.ns.encode() in words:
                found.append(int(pid))
        return found

    def left_over(self):
        """What still refers to this stage: mounts, shims, cgroups, bundles, shim sockets."""
        found = [f"shim {pid}" for pid in self.shims()]
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            found += [f"mount {line.split()[4]}" for line in f if self.dir in line and line.split()[4] != self.root]
        for base, dirs, _ in os.walk("/sys/fs/cgroup"):
            if os.path.basename(base) == self.ns:
                found += [f"cgroup {base}/{d}" for d in dirs]
                dirs.clear()
        for kind in ("state", "root"):
            bundles = f"{self.root if kind == 'root' else self.dir + '/state'}/io.containerd.runtime.v2.task/{self.ns}"
            if os.path.isdir(bundles):
                found += [f"bundle {kind} {b}" for b in os.listdir(bundles)]
        if os.path.isdir(f"{self.dir}/s"):
            found += [f"socket {name}" for name in os.listdir(f"{self.dir}/s")]
        return found

    def left_over_soon(self, seconds=10):
        """As left_over, after things that end by themselves have had their time."""
        end = time.monotonic() + seconds
        found = self.left_over()
        while found and time.monotonic() < end:
            time.sleep(0.1)
            found = self.left_over()
        return found

    def close(self):
        """Removes everything, however the suite ended."""
        if self.alive():
            self.remove_containers()
            self.stop()
        if failures and os.path.exists(f"{self.dir}/log"):
            subprocess.run(["tail", "-40", f"{self.dir}/log"], stdout=sys.stdout, check=False)
        for pid in self.shims():  # a failed run must not leave its containers on the machine
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.dir, ignore_errors=True)


# --- what the daemon has told ---


def _fields(data):
    """The fields of a protobuf message: number -> last value (int or bytes)."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            out[key >> 3] = varint()
        else:
            size = varint()
            out[key >> 3] = data[at:at + size]
            at += size
    return out


class Told:
    """The events of the notes: every delivery to subscribers as the daemon itself saw it, with the life it was in.

    starts, exits: (container, exec or container, pid) -> list of (life, status, acknowledged to the shim in that life).
    """

    def __init__(self, notes):
        self.starts, self.exits = {}, {}
        life, last = 0, {}
        with open(notes, encoding="utf-8", errors="replace") as f:
            for line in f:
                words = line.split()
                if words[:1] == ["life"]:
                    life, last = int(words[1]), {}
                elif words[:1] == ["events.delivered"] and len(words) >= 3:
                    entry = self._deliver(words[1], bytes.fromhex(words[3]) if len(words) > 3 else b"", life)
                    last[" ".join(words[1:])] = entry
                elif words[:1] == ["events.acknowledged"]:
                    entry = last.get(" ".join(words[1:]))
                    if entry is not None:
                        entry[2] = True

    def _deliver(self, topic, payload, life):
        text = lambda value: value.decode()  # noqa: E731
        if topic not in ("/tasks/start", "/tasks/exec-started", "/tasks/exit"):
            return None
        fields = _fields(payload)
        container = text(fields.get(1, b""))
        if topic == "/tasks/start":
            key, table, status = (container, container, fields.get(2, 0)), self.starts, None
        elif topic == "/tasks/exec-started":
            key, table, status = (container, text(fields.get(2, b"")), fields.get(3, 0)), self.starts, None
        else:
            key, table, status = (container, text(fields.get(2, b"")), fields.get(3, 0)), self.exits, fields.get(4, 0)
        entry = [life, status, False]
        table.setdefault(key, []).append(entry)
        return entry

    def wrong_exits(self, alive=()):
        """Exits that were not told exactly once. A shim whose daemon died before acknowledging tells the next daemon again: such a
        repetition, with the same status, is right. `alive`: keys of processes that still run."""
        wrong = []
        for key in self.starts:
            if key not in self.exits and key not in alive:
                wrong.append(f"{key}: started, exit never told")
        for key, told in self.exits.items():
            lives = [life for life, _, _ in told]
            if len(lives) != len(set(lives)):
                wrong.append(f"{key}: told twice by one daemon: {told}")
            elif any(acknowledged for _, _, acknowledged in told[:-1]):
                wrong.append(f"{key}: told again although acknowledged: {told}")
            elif len({status for _, status, _ in told}) != 1:
                wrong.append(f"{key}: told with different statuses: {told}")
        return wrong

    def repeated(self):
        return sum(len(told) - 1 for told in self.exits.values())
