"""A stage on which a daemon plays with containerd's own default places and nothing outside is touched.

`enter()` re-runs the calling program in mount, net and pid namespaces of its own; `prepare(work)` gives it a fresh /run, a
loopback interface, and /run/stage/{root,client} on the real disk. Whatever still runs when the program ends is killed with the
pid namespace. Cgroup names are the machine's, so `enter` also takes a machine-wide lock.
"""
import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

BASE = "/run/stage"
STATE = "/run/containerd"
ADDRESS = STATE + "/containerd.sock"
PEERS = os.environ.get("CORTEN_PEERS", os.path.expanduser("~/.cache/corten/peers")) + "/bin"
IMAGES = os.environ.get("CORTEN_IMAGES", os.path.expanduser("~/.cache/corten/images")) + "/small"
TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# CRI and NRI are not part of these journeys, and fixed places outside the stage are moved into it.
CONFIG = f"""version = 3
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.nri.v1.nri"]
[plugins."io.containerd.internal.v1.opt"]
  path = "{BASE}/opt"
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{BASE}/verifiers"
"""


def containerd():
    return os.path.join(PEERS, "containerd")


def cortend():
    return os.path.join(os.environ.get("CORTEN_BUILD", TOP + "/build/dev"), "src/daemon/cortend")


def corten():
    return os.path.join(os.environ.get("CORTEN_BUILD", TOP + "/build/dev"), "src/cli/corten")


def isolated(command, **more):
    """Runs a command in namespaces of its own; one at a time on this machine. Returns its exit code."""
    with open(os.path.join(tempfile.gettempdir(), "corten-stage.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
                               "--propagation", "private", *command], stdin=subprocess.DEVNULL, check=False, **more).returncode


def prepare(work):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name in ("root", "client"):
        os.makedirs(os.path.join(work, name))
        os.makedirs(f"{BASE}/{name}")
        subprocess.run(["mount", "--bind", os.path.join(work, name), f"{BASE}/{name}"], check=True)
    with open(f"{BASE}/config.toml", "w", encoding="utf-8") as f:
        f.write(CONFIG)


def client_environment(ctr="ctr"):
    """Environment in which `ctr` is the given peer (or a program's path) and speaks to the stage's daemon."""
    os.makedirs(f"{BASE}/bin", exist_ok=True)
    os.symlink(os.path.join(PEERS, ctr), f"{BASE}/bin/ctr")
    return {"PATH": f"{BASE}/bin:{SYSTEM_PATH}", "HOME": f"{BASE}/client", "TERM": "dumb", "LANG": "C.UTF-8",
            "CONTAINERD_ADDRESS": ADDRESS, "CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS": "1", "I": IMAGES}


def start_registry(*images):
    """A registry on the stage's own loopback, always at the same port. Returns its address."""
    script = os.path.join(TOP, "tests", "peers", "registry.sh")
    return subprocess.run([script, "start", f"{BASE}/registry", *(f"{IMAGES}/layout/{name}" for name in images)],
                          capture_output=True, text=True, check=True, env={**os.environ, "REGISTRY_PORT": "5000"}).stdout.strip()


class Daemon:
    """One daemon process on the stage. `log` is appended to, so several may follow each other."""

    def __init__(self, program, log, root=f"{BASE}/root"):
        own = os.path.dirname(program)
        # A shim beside the daemon is found first; in a build tree that is in the room next door.
        path = f"{own}:{os.path.normpath(own + '/../shim')}:{PEERS}:{SYSTEM_PATH}"
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                [program, "--config", f"{BASE}/config.toml", "--root", root, "--state", STATE, "--address", ADDRESS,
                 "--log-level", "debug"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, "PATH": path, "LANG": "C.UTF-8"})
        end = time.monotonic() + 30
        while subprocess.run([os.path.join(PEERS, "ctr"), "--address", ADDRESS, "version"], capture_output=True,
                             check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise SystemExit(f"{program} did not answer (exit code {self.process.poll()}), see {log}")
            time.sleep(0.05)

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self):
        self.process.kill()
        self.process.wait()


def left_over():
    """Mounts of containers and shims that are still there; both lists are empty after a clean run."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        mounts = [line.split()[4] for line in f]
    mounts = [m for m in mounts if m.startswith((STATE + "/", f"{BASE}/root/"))]
    shims = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                name, state = re.match(r"\d+ \((.*)\) (\S)", f.read()).groups()
        except OSError:
            continue
        if "shim" in name and state != "Z":
            shims.append(name)
    return mounts, shims


if __name__ == "__main__":
    sys.exit("a module, not a program")
