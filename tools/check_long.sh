#!/bin/bash
# The long part of `make check LONG=1`, in order: unit and integration tests under AddressSanitizer+UBSan and under
# ThreadSanitizer; every fuzzer for FUZZ_SECONDS (600); clang-tidy. Its counts are added to build/counts/check.
# Usage: tools/check_long.sh [asan] [tsan] [fuzz] [tidy]   (none: all)
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
jobs=${JOBS:-$(nproc)}
[ $# -gt 0 ] || set -- asan tsan fuzz tidy
failed=0

# Adds build/counts/$1 to build/counts/check; a part that failed without counting a failure counts as one.
count() {
  local part=$1 code=$2 p f passed fails
  read -r p f 2>/dev/null <"build/counts/$part" || { p=0 f=0; }
  [ "$code" = 0 ] || [ "$f" != 0 ] || f=1
  read -r passed fails 2>/dev/null <build/counts/check || { passed=0 fails=0; }
  echo "$((passed + p)) $((fails + f))" >build/counts/check
  echo "== $part: $p passed, $f failed"
  [ "$code" = 0 ] || failed=1
}

mkdir -p build/counts
for part in "$@"; do
  echo "== $part"
  rm -f "build/counts/$part"
  case $part in
    asan | tsan)
      cmake --preset "$part" && cmake --build "build/$part" -j "$jobs" &&
        COUNTS=$part tools/run_tests.sh "build/$part" --timeout 1200
      ;;
    fuzz)
      cmake --preset fuzz && cmake --build build/fuzz -j "$jobs" --target corten_fuzzers &&
        tests/fuzz/run.sh build/fuzz "${FUZZ_SECONDS:-600}"
      ;;
    tidy)
      cmake --preset fuzz && cmake --build build/fuzz -j "$jobs" --target corten_fuzzers && tools/check_tidy.sh build/fuzz
      ;;
    *) echo "usage: $0 [asan] [tsan] [fuzz] [tidy]" >&2; exit 2 ;;
  esac
  count "$part" $?
done
exit $failed
