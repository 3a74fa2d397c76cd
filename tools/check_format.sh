#!/bin/bash
# Asks clang-format-19 about the C++ files that changed. Usage: tools/check_format.sh [--strict] [BASE]   (BASE: default main)
# Without --strict differences are only reported.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
strict=0
if [ "${1:-}" = --strict ]; then strict=1; shift; fi
base=$(git merge-base "${1:-main}" HEAD 2>/dev/null || git rev-list --max-parents=0 HEAD)
files=$(git diff --name-only --diff-filter=AM "$base" -- '*.cc' '*.h')
[ -n "$files" ] || exit 0
wrong=0
for file in $files; do
  if ! clang-format-19 --dry-run --Werror "$file" 2>/dev/null; then
    echo "format: $file differs from clang-format-19"
    wrong=1
  fi
done
[ $strict = 0 ] || exit $wrong
