#!/bin/bash
# The long part of `make check LONG=1`: unit and integration tests under AddressSanitizer+UBSan and ThreadSanitizer.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
failed=0
for preset in asan tsan; do
  echo "== $preset"
  cmake --preset $preset && cmake --build build/$preset -j "$(nproc)" &&
    tools/run_tests.sh build/$preset --timeout 1200 || failed=1
done
exit $failed
