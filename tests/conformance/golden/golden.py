#!/usr/bin/env python3
"""Plays lists of ctr commands twice and compares what a user sees. See README.md.

Usage: golden.py [--self | --client] [--keep DIR] [--only 2.3|1.6] [SCENARIO...]     default: every *.scenario beside this file
            compares the real ctr against containerd and against cortend
  --self    compares containerd with a second containerd: whatever differs then is missing from normalise.txt
  --client  compares the real ctr 2.3 with corten called as ctr, both against cortend
"""
import argparse
import difflib
import glob
import json
import os
import re
import shutil
import sys
import tempfile

import scenario

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "peers"))
import stage  # noqa: E402

CLIENTS = {"2.3": "ctr", "1.6": "ctr-1.6"}


def load_rules(path):
    """[(pattern, replacement)]. The file is what a reader must believe, so it is kept to 30 lines."""
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines()
    if len(lines) > 30:
        raise SystemExit(f"{path}: {len(lines)} lines, more than 30")
    pairs = [line.split("  =>  ") for line in lines if line and not line.startswith("#")]
    return [(re.compile(pattern, re.M), replacement) for pattern, replacement in pairs]


def normalise(rules, text):
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def play(daemon, client, version, keep, steps_file):
    """Plays the scenario with this client in namespaces of its own; returns the records."""
    work = tempfile.mkdtemp(prefix="corten-golden-", dir=keep)
    result = os.path.join(work, "records.json")
    command = [sys.executable, os.path.join(HERE, "inside.py"), work, daemon, client, version, result, steps_file]
    try:
        code = stage.isolated(command)
        if code != 0 or not os.path.exists(result):
            log = os.path.join(work, "daemon.log")
            tail = open(log, encoding="utf-8", errors="replace").read()[-3000:] if os.path.exists(log) else ""
            raise RuntimeError(f"playing against {daemon} ended with {code}\n{tail}")
        with open(result, encoding="utf-8") as f:
            return json.load(f)
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)


def show(rules, record):
    text = [f"exit code {record['code']}"]
    for key in ("out", "err"):
        text += [f"{key}| {line}" for line in normalise(rules, record[key]).split("\n")]
    return text


def differences(rules, expected, actual):
    """For each step its name and the lines that differ; None where the two look the same."""
    found = []
    for left, right in zip(expected, actual):
        a, b = show(rules, left), show(rules, right)
        waits = left["name"].split()[1] == "?"
        same = a == b and left["code"] != "late" and not (waits and left["code"])
        found.append((left["name"], None if same else list(difflib.unified_diff(a, b, lineterm="", n=1))[2:40]))
    return found


def compare(rules, label, play_both):
    """Prints a line for each step; returns the number that differ.

    The reference's clients lose a piece of output now and then (a fifo that ends before it was read), so steps that differ are
    played once more, all of them again, and only what differs both times counts."""
    found = differences(rules, *play_both())
    if any(lines is not None for _, lines in found):
        again = dict(differences(rules, *play_both()))
        for name, lines in found:
            if lines is not None and again.get(name, lines) is None:
                print(f"# {label} {name}: differed once, not when it was played again: {lines}")
        found = [(name, lines if again.get(name, lines) is not None else None) for name, lines in found]
    for name, lines in found:
        if lines is None:
            print(f"ok {label} {name}")
            continue
        print(f"not ok {label} {name}: differs")
        for line in lines:
            print("    " + line)
    return sum(lines is not None for _, lines in found)


def sides(chosen, version):
    """The two (daemon, client) that are compared; the first is the reference."""
    client = os.path.join(stage.PEERS, CLIENTS[version])
    if chosen.client:
        return [(stage.cortend(), client), (stage.cortend(), stage.corten())]
    return [(stage.containerd(), client), (stage.containerd() if chosen.self else stage.cortend(), client)]


def main():
    options = argparse.ArgumentParser()
    which = options.add_mutually_exclusive_group()
    which.add_argument("--self", action="store_true")
    which.add_argument("--client", action="store_true")
    options.add_argument("--keep")
    options.add_argument("scenarios", nargs="*", default=sorted(glob.glob(os.path.join(HERE, "*.scenario"))))
    options.add_argument("--only", choices=sorted(CLIENTS))
    chosen = options.parse_args()
    rules = load_rules(os.path.join(HERE, "normalise.txt"))
    versions = ["2.3"] if chosen.client else [chosen.only] if chosen.only else CLIENTS
    wrong = 0
    for path in chosen.scenarios:
        steps = scenario.parse(path)
        for version in versions:
            if not any(step.only in (None, version) for step in steps if step.kind != "=="):
                continue
            label = f"{os.path.basename(path).split('.')[0]} {'corten-as-ctr' if chosen.client else 'ctr-' + version}"
            pairs = sides(chosen, version)
            try:
                wrong += compare(rules, label, lambda v=version, f=path, p=pairs: [
                    play(daemon, client, v, chosen.keep, os.path.abspath(f)) for daemon, client in p])
            except RuntimeError as error:
                print(f"not ok {label}: {error}")
                wrong += 1
    print("done")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
