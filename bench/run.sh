#!/bin/bash
# Measures Corten against the real containerd 2.3 in one run: starts both in scratch directories, gives both the same image,
# lets corten-bench alternate between them, and adds what only the outside sees (cold start, idle memory, shim memory).
# Usage: bench/run.sh BUILD_DIR [corten-bench arguments...]     needs root and the peers (tests/peers/build.sh)
set -eu -o pipefail
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
shift
peers=${CORTEN_PEERS:-$HOME/.cache/corten/peers}/bin
image=$(tests/images/make.sh small)/busybox.tar
dir=$(mktemp -d /tmp/corten-bench-XXXXXX)
pids=()
clean_up() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap clean_up EXIT

start() { # NAME PROGRAM
  mkdir -p "$dir/$1"
  printf "version = 3\ndisabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.nri.v1.nri']\n[plugins.'io.containerd.shim.v1.manager']\n  socket_dir = '%s/s'\n" "$dir/$1" >"$dir/$1/config.toml"
  "$2" --config "$dir/$1/config.toml" --root "$dir/$1/root" --state "$dir/$1/state" --address "$dir/$1/c.sock" >"$dir/$1/log" 2>&1 &
  pids+=($!)
  for _ in $(seq 400); do
    "$peers/ctr" -a "$dir/$1/c.sock" version >/dev/null 2>&1 && break
    sleep 0.02
  done
  "$peers/ctr" -a "$dir/$1/c.sock" -n corten-bench images import --local "$image" >/dev/null 2>&1
}

memory() { # PID: RSS and private dirty in KiB
  awk '/^Rss:/{r=$2} /^Private_Dirty:/{d=$2} END{print r, d}' "/proc/$1/smaps_rollup"
}

start corten "$build/src/daemon/cortend"
start containerd "$peers/containerd"
sleep 2
read -r rss_a dirty_a < <(memory "${pids[0]}")
read -r rss_b dirty_b < <(memory "${pids[1]}")
echo "row 3 \"idle daemon, KiB\" corten rss=$rss_a private_dirty=$dirty_a containerd rss=$rss_b private_dirty=$dirty_b ratio rss=$(awk "BEGIN{printf \"%.2f\", $rss_a/$rss_b}") private=$(awk "BEGIN{printf \"%.2f\", $dirty_a/$dirty_b}")"
for name in corten containerd; do
  "$peers/ctr" -a "$dir/$name/c.sock" -n corten-bench run -d corten.test/busybox:1 "shim-$name" sleep 1000 2>/dev/null
done
sleep 5
shim_memory() { # NAME
  for pid in $(pgrep -f "containerd-shim-runc-v2.*-id shim-$1"); do memory "$pid" && break; done
}
read -r rss_a dirty_a < <(shim_memory corten)
read -r rss_b dirty_b < <(shim_memory containerd)
echo "row 5 \"shim, KiB\" corten rss=$rss_a private_dirty=$dirty_a containerd rss=$rss_b private_dirty=$dirty_b ratio rss=$(awk "BEGIN{printf \"%.2f\", $rss_a/$rss_b}") private=$(awk "BEGIN{printf \"%.3f\", $dirty_a/$dirty_b}")"
for name in corten containerd; do
  "$peers/ctr" -a "$dir/$name/c.sock" -n corten-bench tasks rm -f "shim-$name" >/dev/null 2>&1
  "$peers/ctr" -a "$dir/$name/c.sock" -n corten-bench containers rm "shim-$name" >/dev/null 2>&1
done
"$build/bench/corten-bench" --image corten.test/busybox:1 "$@" "corten=$dir/corten/c.sock" "containerd=$dir/containerd/c.sock"
