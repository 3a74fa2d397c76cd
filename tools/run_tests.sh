#!/bin/bash
# Runs ctest over a build directory and counts test cases. Usage: tools/run_tests.sh BUILD_DIR [ctest arguments...]
# Writes "PASSED FAILED" to build/counts/check. A skipped case that tests/skips.txt does not list counts as failed.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) || exit 1
shift
mkdir -p build/counts
results=$build/test-results
rm -rf "$results"
mkdir -p "$results"
GTEST_OUTPUT=json:$results/ ctest --test-dir "$build" -j "$(nproc)" --output-on-failure --no-tests=error \
  --output-junit "$results/ctest.xml" "$@"
code=$?
python3 tools/count_tests.py "$results" tests/skips.txt build/counts/check || code=1
exit $code
