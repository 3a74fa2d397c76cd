#!/usr/bin/env python3
"""Every row of the bench runs against both daemons, with tiny counts. Asserts that rows are there, never what they say."""
import json
import os
import subprocess
import sys
import tempfile

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
# Rows of docs/BENCHMARKS.md that the bench measures.
ROWS = [1, 2, 3, 4, 5, 6, 7, 9, 10, *range(12, 25), *range(26, 37), "ops"]
LIMIT = 500  # seconds; it takes 30 to 60 on a busy machine


def main():
    build = os.environ.get("CORTEN_BUILD", os.path.join(TOP, "build", "dev"))
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
        bench = subprocess.Popen([os.path.join(TOP, "bench", "run.sh"), build, "--quick", "--json", out.name],
                                 stdin=subprocess.DEVNULL)
        try:
            code = bench.wait(LIMIT)
        except subprocess.TimeoutExpired:
            bench.terminate()  # takes everything it started with it
            bench.wait()
            code = f"none within {LIMIT} s"
        lines = [json.loads(line) for line in out.read().decode().splitlines()]
    print("ok the bench ends well" if code == 0 else f"not ok the bench ends well: exit code {code}")
    seen = {}
    for line in lines:
        if line["kind"] == "figure" and line["n"] > 0 and line["max"] > 0:
            seen.setdefault(line["row"], set()).add(line["daemon"])
    failed = code != 0
    for row in map(str, ROWS):
        good = seen.get(row, set()) >= {"corten", "containerd"}
        failed |= not good
        print(f"ok row {row}" if good else f"not ok row {row}: figures of {sorted(seen.get(row, []))} only")
    print("done")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
