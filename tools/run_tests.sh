#!/bin/bash
# Runs ctest over a build directory and counts test cases. Usage: tools/run_tests.sh BUILD_DIR [ctest arguments...]
# Writes "PASSED FAILED" to build/counts/check, or to build/counts/$COUNTS. A skipped case that tests/skips.txt does not list
# counts as failed. Sanitizers end a program at their first finding, with suppressions from tests/*.supp (library frames only).
# They write what they find to test-results/sanitizer.PROGRAM.PID: a finding in a shim or a daemon that a test started counts too.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) || exit 1
shift
mkdir -p build/counts
results=$build/test-results
rm -rf "$results"
mkdir -p "$results"
supp=$PWD/tests
log=log_path=$results/sanitizer:log_exe_name=1
export TSAN_OPTIONS=$log:suppressions=$supp/tsan.supp:halt_on_error=1:second_deadlock_stack=1:history_size=7
export ASAN_OPTIONS=$log:detect_stack_use_after_return=1:strict_string_checks=1:detect_leaks=1
export UBSAN_OPTIONS=$log:print_stacktrace=1:halt_on_error=1
GTEST_OUTPUT=json:$results/ ctest --test-dir "$build" -j "$(nproc)" --output-on-failure --no-tests=error \
  --output-junit "$results/ctest.xml" "$@"
code=$?
for report in "$results"/sanitizer.*; do
  [ -e "$report" ] || continue  # none: the pattern itself
  # LeakSanitizer says so of a program that is killed while it looks for leaks; it is no finding.
  grep -qv '==Unable to get registers from thread [0-9]*\.$' "$report" || continue
  echo "== $report"
  cat "$report"
  code=1
done
python3 tools/count_tests.py "$results" tests/skips.txt "build/counts/${COUNTS:-check}" || code=1
exit $code
