#!/bin/bash
# Starts a private cortend, asks it for every rpc, and writes docs/API.md (`write.sh BUILD_DIR`), or compares with it
# (`write.sh BUILD_DIR --check`).
set -eu -o pipefail
cd "$(dirname "$0")/../.."
build=$1
mode=${2:-write}
dir=$(mktemp -d /tmp/corten-api-XXXXXX)
pid=
trap '[ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; }; rm -rf "$dir"' EXIT
printf "version = 4\n[plugins.'io.containerd.shim.v1.manager']\n  socket_dir = '%s/s'\n" "$dir" >"$dir/config.toml"
"$build/src/daemon/cortend" --config "$dir/config.toml" --root "$dir/root" --state "$dir/state" --address "$dir/c.sock" >"$dir/log" 2>&1 &
pid=$!
for _ in $(seq 200); do [ -S "$dir/c.sock" ] && break; sleep 0.05; done
"$build/tests/api/api_probe" "$dir/c.sock" tests/wire/facts tests/api/later.txt >"$dir/API.md" || { grep "no plan is written" "$dir/API.md" >&2; exit 1; }
if [ "$mode" = --check ]; then
  diff -u docs/API.md "$dir/API.md" || { echo "docs/API.md is not true any more: run tests/api/write.sh $build" >&2; exit 1; }
else
  cp "$dir/API.md" docs/API.md
fi
