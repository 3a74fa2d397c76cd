#!/usr/bin/env python3
"""Counts test cases of a ctest run. Usage: count_tests.py RESULTS_DIR SKIPS_FILE COUNTS_FILE

RESULTS_DIR holds ctest.xml and, for each GoogleTest program, NAME.json. A program that ctest calls failed counts at least
one failure even if it died before it wrote its cases. A case that skips itself must be listed in SKIPS_FILE, else it fails.
"""
import json
import os
import sys
import xml.etree.ElementTree as xml


def gtest_cases(path):
    """Yields (full name, "passed" | "failed" | "skipped" | "disabled")."""
    with open(path, encoding="utf-8") as f:
        document = json.load(f)
    for suite in document["testsuites"]:
        for case in suite["testsuite"]:
            name = f"{suite['name']}.{case['name']}"
            if case.get("failures"):
                yield name, "failed"
            elif case["status"] != "RUN":
                yield name, "disabled"
            else:
                yield name, "skipped" if case["result"] == "SKIPPED" else "passed"


def main():
    results, skips_file, counts_file = sys.argv[1:]
    with open(skips_file, encoding="utf-8") as f:
        allowed = {line.split()[0] for line in f if line.strip() and not line.startswith("#")}
    tally = {"passed": 0, "failed": 0, "skipped": 0, "disabled": 0}
    trouble = []
    for test in xml.parse(os.path.join(results, "ctest.xml")).getroot().iter("testcase"):
        name, status = test.get("name"), test.get("status")
        cases = os.path.join(results, name + ".json")
        failures_before = tally["failed"]
        if os.path.exists(cases):
            for case, outcome in gtest_cases(cases):
                if outcome == "skipped" and case not in allowed:
                    trouble.append(f"{case} skipped itself and is not listed in {skips_file}")
                    outcome = "failed"
                elif outcome == "failed":
                    trouble.append(f"{name}: {case}")
                tally[outcome] += 1
        elif status == "run":
            tally["passed"] += 1
        if status != "run" and tally["failed"] == failures_before:
            tally["failed"] += 1
            trouble.append(f"{name}: {status}")
    for line in trouble:
        print("failed: " + line)
    print(f"check: {tally['passed']} passed, {tally['failed']} failed, {tally['skipped']} skipped, "
          f"{tally['disabled']} disabled")
    with open(counts_file, "w", encoding="utf-8") as f:
        f.write(f"{tally['passed']} {tally['failed']}\n")
    sys.exit(1 if tally["failed"] else 0)


if __name__ == "__main__":
    main()
