#!/bin/bash
# Runs fuzzers, each for a time, one after the other. Usage: tests/fuzz/run.sh BUILD_DIR SECONDS [NAME...]
# A target counts as one test; it passes if libFuzzer ended after its time without a crash, a hang, a leak or more than 2 GiB.
# Inputs found are kept in BUILD_DIR/corpus/NAME, those that broke something in BUILD_DIR/broken/NAME-*.
# Writes "PASSED FAILED" to build/counts/fuzz and a line per target (name, seconds, executions) to BUILD_DIR/fuzz-results.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
build=$(cd "$1" && pwd) && seconds=$2 || exit 1
shift 2
[ $# -gt 0 ] || mapfile -t all <"$build/tests/fuzz/fuzzers"
[ $# -gt 0 ] || set -- "${all[@]}"
mkdir -p build/counts "$build/broken"
passed=0 failed=0

for name in "$@"; do
  own=$build/corpus/$name
  log=$build/$name.log
  mkdir -p "$own"
  "$build/tests/fuzz/$name" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 \
    -artifact_prefix="$build/broken/$name-" "$own" "tests/fuzz/corpus/$name" >"$log" 2>&1
  code=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  # Done is what libFuzzer says at the end of its time; a program that only exits has not run.
  if [ $code = 0 ] && grep -q '^Done [0-9]* runs in' "$log"; then
    echo "ok $name: $runs executions in ${seconds} s"
    echo "$name $seconds $runs" >>"$build/fuzz-results"
    passed=$((passed + 1))
  else
    echo "FAILED $name ($code), see $log"
    tail -n 40 "$log"
    failed=$((failed + 1))
  fi
done

echo "fuzz: $passed passed, $failed failed"
echo "$passed $failed" >build/counts/fuzz
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
