#!/usr/bin/env python3
"""The inner half of golden.py: started in mount, net and pid namespaces of its own, it starts a daemon and plays the scenario.

Usage: inside.py WORK DAEMON CTR VERSION IMAGES RESULT SCENARIO

/run is a fresh tmpfs, so every fixed path of containerd (/run/containerd, its shim sockets, fifos and runc's state) is private,
and loopback carries nothing but this run. Both daemons see the same paths, so no path needs normalising.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time

import scenario

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.normpath(os.path.join(HERE, "..", "..", "peers"))
BASE = "/run/golden"
ADDRESS = "/run/containerd/containerd.sock"
CONFIG = f"""version = 3
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.nri.v1.nri"]
[plugins."io.containerd.internal.v1.opt"]
  path = "{BASE}/opt"
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{BASE}/verifiers"
"""


def prepare(work):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name in ("root", "client"):
        os.makedirs(os.path.join(work, name))
        os.makedirs(f"{BASE}/{name}")
        subprocess.run(["mount", "--bind", os.path.join(work, name), f"{BASE}/{name}"], check=True)
    with open(f"{BASE}/config.toml", "w", encoding="utf-8") as f:
        f.write(CONFIG)


def start_daemon(daemon, work):
    with open(os.path.join(work, "daemon.log"), "wb") as log:
        # The daemon's own directory first: its shim lies beside it.
        environment = {**os.environ, "PATH": f"{os.path.dirname(daemon)}:{os.path.dirname(daemon)}/../shim:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        return subprocess.Popen([daemon, "--config", f"{BASE}/config.toml", "--root", f"{BASE}/root", "--state", "/run/containerd",
                                 "--address", ADDRESS, "--log-level", "debug"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                env=environment, start_new_session=True)


def wait_ready(daemon, ctr):
    end = time.monotonic() + 30
    while time.monotonic() < end and daemon.poll() is None:
        if subprocess.run([ctr, "--address", ADDRESS, "version"], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.05)
    raise SystemExit(f"the daemon did not answer (exit code {daemon.poll()})")


def left_over():
    """Mounts of containers and shims that are still there; both lists are empty after a clean run."""
    mounts = [line.split()[4] for line in open("/proc/self/mountinfo", encoding="utf-8")]
    mounts = [m for m in mounts if m.startswith(("/run/containerd/", f"{BASE}/root/"))]
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


def main():
    work, daemon_path, ctr, version, images, result, steps_file = sys.argv[1:]
    prepare(work)
    registry = subprocess.run([f"{PEERS}/registry.sh", "start", f"{BASE}/registry"] +
                              [f"{images}/layout/{name}" for name in ("busybox", "multi", "many-gzip", "odd")],
                              capture_output=True, text=True, check=True, env={**os.environ, "REGISTRY_PORT": "5000"}).stdout.strip()
    os.makedirs(f"{BASE}/bin")
    os.symlink(ctr, f"{BASE}/bin/ctr")
    environment = {"PATH": f"{BASE}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": f"{BASE}/client", "TERM": "dumb", "LANG": "C.UTF-8",
                   "CONTAINERD_ADDRESS": ADDRESS, "CONTAINERD_NAMESPACE": "golden", "I": images, "REG": registry,
                   "CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS": "1"}
    steps = scenario.parse(steps_file)
    daemon = start_daemon(daemon_path, work)
    player = scenario.Player(f"{BASE}/client", environment)
    try:
        wait_ready(daemon, ctr)
        player.play(steps, version)
        mounts, shims = left_over()
        player.records.append({"name": "nothing is left over", "out": f"mounts {mounts} shims {shims}", "err": "", "code": 0})
        daemon.send_signal(signal.SIGTERM)
        player.records.append({"name": "SIGTERM ends the daemon", "out": "", "err": "", "code": daemon.wait(20)})
    finally:
        player.close()
        daemon.kill()
        subprocess.run([f"{PEERS}/registry.sh", "stop", f"{BASE}/registry"], check=False)
    with open(result, "w", encoding="utf-8") as f:
        json.dump(player.records, f)


if __name__ == "__main__":
    main()
