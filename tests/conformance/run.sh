#!/bin/bash
# Builds the real peers and the test images, then runs every conformance suite. Usage: tests/conformance/run.sh BUILD_DIR [SUITE...]
# A suite is a program listed in suites.txt. It prints `ok NAME` or `not ok NAME: why` for each step and ends with `done`.
# Writes "PASSED FAILED" to build/counts/conformance.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
build=$(cd "$1" && pwd) || exit 1
shift
mkdir -p build/counts build/logs
passed=0 failed=0

finish() {
  echo "conformance: $passed passed, $failed failed"
  echo "$passed $failed" >build/counts/conformance
  [ "$failed" = 0 ]
  exit
}

# A peer that cannot be built or an image that cannot be made is a failed test, never a skip.
for step in tests/peers/build.sh tests/images/make.sh; do
  if "$step" >build/logs/"$(basename "$(dirname "$step")")".log 2>&1; then
    echo "ok $step"
    passed=$((passed + 1))
  else
    echo "not ok $step:"
    tail -5 build/logs/"$(basename "$(dirname "$step")")".log
    failed=$((failed + 1))
  fi
done
[ "$failed" = 0 ] || finish

export CORTEN_BUILD=$build PYTHONDONTWRITEBYTECODE=1
while read -r name limit command <&3; do
  case $name in
    '' | '#'*) continue ;;
    long:*)
      [ -n "${LONG:-}" ] || [ $# -gt 0 ] || continue
      name=${name#long:}
      ;;
  esac
  if [ $# -gt 0 ] && ! [[ " $* " == *" $name "* ]]; then continue; fi
  echo "== $name: $command"
  log=build/logs/$name.log
  # shellcheck disable=SC2086 # the command is a list of words
  timeout -k 30 "$limit" $command >"$log" 2>&1 </dev/null 3<&-
  code=$?
  good=$(grep -c '^ok ' "$log") bad=$(grep -c '^not ok ' "$log")
  if ! grep -qx 'done' "$log" || { [ $code != 0 ] && [ "$bad" = 0 ]; }; then
    echo "not ok $name: ended with $code before it was done"
    tail -20 "$log"
    bad=$((bad + 1))
  fi
  grep -A 12 '^not ok ' "$log" | head -200
  echo "   $good passed, $bad failed (whole log: $log)"
  passed=$((passed + good)) failed=$((failed + bad))
done 3<tests/conformance/suites.txt
finish
