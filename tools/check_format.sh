#!/bin/bash
# Holds every tracked C++ file to clang-format-19 (.clang-format). Usage: tools/check_format.sh [--fix]
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
mode=(--dry-run --Werror)
if [ "${1:-}" = --fix ]; then mode=(-i); fi
git ls-files -z '*.cc' '*.h' | xargs -0 -r -P "$(nproc)" -n 40 clang-format-19 "${mode[@]}" && exit 0
echo "format: run tools/check_format.sh --fix" >&2
exit 1
