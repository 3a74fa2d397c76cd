#!/usr/bin/env python3
"""Takes one step after the other out of the product and expects a suite to notice.

Usage: mutations.py [NAME...]      needs root and a build with failpoints; CORTEN_BUILD names the build directory.
Each line of mutations.txt names a step and a suite. The suite must pass as it is, and fail with CORTEN_SKIP=NAME.
Every name that src/ can leave out must be listed.
"""
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("CORTEN_BUILD", os.path.join(TOP, "build/dev"))
LIMIT = 900  # seconds for a suite


def steps():
    with open(os.path.join(HERE, "mutations.txt"), encoding="utf-8") as f:
        lines = [line.split() for line in f if line.strip() and not line.startswith("#")]
    return [(line[0], line[1:]) for line in lines]


def unlisted(listed):
    """Steps that src/ can leave out and nobody tries, and the other way round."""
    there = set()
    for directory, _, names in os.walk(os.path.join(TOP, "src")):
        for name in names:
            if name.endswith((".cc", ".h")) and name != "failpoint.h":
                with open(os.path.join(directory, name), encoding="utf-8") as f:
                    there |= set(re.findall(r'FAILPOINT_SKIPS\("([a-z_.]+)"\)', f.read()))
    return there ^ listed


def run(suite, skip):
    """Exit code and the end of the output; a suite that hangs has noticed nothing."""
    program = [f"{TOP}/{suite[0]}" if suite[0].endswith(".py") else f"{BUILD}/{suite[0]}", *suite[1:]]
    environment = {name: value for name, value in os.environ.items() if name not in ("CORTEN_SKIP", "LONG")}
    if skip:
        environment["CORTEN_SKIP"] = skip
    try:
        done = subprocess.run(program, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return None, "it hung"
    return done.returncode, (done.stdout + done.stderr)[-600:]


def main():
    chosen = [step for step in steps() if len(sys.argv) == 1 or step[0] in sys.argv[1:]]
    failed, whole = 0, {}
    odd = unlisted({name for name, _ in steps()})
    failed += bool(odd)
    print("ok mutations.txt lists every step that can be left out" if not odd else f"not ok mutations.txt and src/ differ: {odd}", flush=True)
    for name, suite in chosen:
        began, words = time.monotonic(), " ".join(suite)
        if words not in whole:
            whole[words] = run(suite, None)
            failed += whole[words][0] != 0
            print(f"ok {words} passes as it is" if whole[words][0] == 0 else f"not ok {words} passes as it is: {whole[words][1]}", flush=True)
        if whole[words][0] != 0:
            continue
        code, _ = run(suite, name)
        noticed = code is not None and code != 0
        failed += not noticed
        took = f"{time.monotonic() - began:.0f} s"
        print(f"ok without {name} {words} fails ({took})" if noticed else f"not ok without {name} {words} fails: exit {code}", flush=True)
    print(f"{len(chosen)} steps taken out", flush=True)
    print("done", flush=True)
    sys.exit(failed != 0)


main()
