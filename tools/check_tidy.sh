#!/bin/bash
# clang-tidy-19 over the rooms that are held to it (tools/tidy_rooms.txt), or over the files named. Each file counts as one test.
# Usage: tools/check_tidy.sh BUILD_DIR [FILE...]     BUILD_DIR: a configured tree of preset fuzz (clang's flags)
# Writes "PASSED FAILED" to build/counts/tidy.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
build=$1
shift
if [ $# = 0 ]; then
  mapfile -t rooms < <(grep -v '^#' tools/tidy_rooms.txt)
  mapfile -t files < <(git ls-files "${rooms[@]/%//*.cc}" | grep -v -e '_test\.cc$' -e '_bench\.cc$')
  set -- "${files[@]}"
fi
mkdir -p build/counts
log=$build/tidy.log
printf '%s\n' "$@" | xargs -P "${JOBS:-$(nproc)}" -I {} sh -c \
  'out=$(clang-tidy-19 -p "$0" --config-file=.clang-tidy --quiet --warnings-as-errors="*" "$1" 2>/dev/null) && echo "ok $1" || printf "FAILED %s\n%s\n" "$1" "$out"' \
  "$build" {} | tee "$log"
passed=$(grep -c '^ok ' "$log") failed=$(grep -c '^FAILED ' "$log")
echo "tidy: $passed passed, $failed failed"
echo "$passed $failed" >build/counts/tidy
[ "$failed" = 0 ] && [ "$passed" = $# ]
