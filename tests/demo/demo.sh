#!/bin/bash
# What `make demo` shows after the build. Usage: tests/demo/demo.sh BUILD_DIR
set -eu -o pipefail
cd "$(dirname "$0")/../.."
build=$(cd "$1" && pwd)
have=""
for program in daemon/cortend cli/corten shim/containerd-shim-runc-v2; do
  if [ -x "$build/src/$program" ]; then have="$have $(basename "$program")"; fi
done
echo "built:${have:- the libraries (no program yet)}"
if ! [ -x "$build/src/daemon/cortend" ]; then
  echo "demo: cortend is not in this tree yet, so there is nothing to run" >&2
  exit 1
fi
