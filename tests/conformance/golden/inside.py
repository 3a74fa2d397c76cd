#!/usr/bin/env python3
"""The inner half of golden.py: on a stage of its own it starts a daemon and plays the scenario.

Usage: inside.py WORK DAEMON CTR VERSION RESULT SCENARIO      (DAEMON and CTR: programs)
"""
import json
import os
import sys

import scenario

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "peers"))
import stage  # noqa: E402


def main():
    work, program, ctr, version, result, steps_file = sys.argv[1:]
    stage.prepare(work)
    registry = stage.start_registry("busybox", "multi", "many-gzip", "odd")
    # For set-up: what a list does not judge is done by the same program on both sides.
    reference = os.path.join(stage.PEERS, "ctr")
    environment = {**stage.client_environment(ctr), "CONTAINERD_NAMESPACE": "golden", "REG": registry, "REFERENCE": reference,
                   "L": "--local" if version == "2.3" else ""}
    player = scenario.Player(f"{stage.BASE}/client", environment)
    daemon = stage.Daemon(program, os.path.join(work, "daemon.log"))
    try:
        player.play(scenario.parse(steps_file), version)
        mounts, shims = stage.left_over()
        player.records.append({"name": "nothing is left over", "out": f"mounts {mounts} shims {shims}", "err": "", "code": 0})
        player.records.append({"name": "SIGTERM ends the daemon", "out": "", "err": "", "code": daemon.stop()})
    finally:
        player.close()
        daemon.kill()
    with open(result, "w", encoding="utf-8") as f:
        json.dump(player.records, f)


if __name__ == "__main__":
    main()
