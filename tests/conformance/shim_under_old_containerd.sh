#!/bin/bash
# Our shim under Debian's containerd 1.6: the oldest form of `start` (options or nothing on stdin, a plain address as the
# answer), task service v2, adoption by the `address` file.
# Needs root, runc, the peers and the test images. Prints `ok STEP` or `not ok STEP: why`, `N passed, N failed`, `done`.
set -u -o pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/conformance/steps.sh
. "$top/tests/conformance/steps.sh"
bin=$("$top/tests/peers/build.sh" --print-bin)
images=$("$top/tests/images/make.sh" small) || exit 1
shim=${CORTEN_BUILD:-$top/build/dev}/src/shim/containerd-shim-runc-v2
old=$(dirname "$(readlink -f "$bin/ctr-1.6")")
work=$(mktemp -d /tmp/corten-shim16-XXXXXX)
ns=os$$
mkdir "$work/path"
mkfifo "$work/never"
cp "$shim" "$work/path/"
cat >"$work/config.toml" <<TOML
version = 2
root = "$work/root"
state = "$work/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$work/c.sock"
[ttrpc]
  address = "$work/c.sock.ttrpc"
[debug]
  address = "$work/debug.sock"
TOML
ctr() { timeout -k 5 60 "$old/ctr" -a "$work/c.sock" -n "$ns" "$@"; }
start_daemon() {
  PATH=$work/path:$PATH "$old/containerd" --config "$work/config.toml" >>"$work/daemon.log" 2>&1 </dev/null &
  daemon=$!
  for ((i = 0; i < 200; i++)); do
    ctr version >/dev/null 2>&1 && return 0
    read -r -t 0.05 <>"$work/never" || true
  done
  echo "not ok daemon: did not start"; tail -5 "$work/daemon.log"; echo done; exit 1
}
# shellcheck disable=SC2317 # called by the trap
cleanup() {
  local pid
  for pid in $(pgrep -f "$work/path/containerd-shim-runc-v2"); do kill -9 "$pid"; done
  kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null
  awk -v w="$work/" 'index($5, w) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m"; done
  rm -rf "$work"
  rmdir /sys/fs/cgroup/"$ns" /sys/fs/cgroup/*/"$ns" 2>/dev/null
}
trap cleanup EXIT
start_daemon
ctr images import "$images/busybox.tar" >/dev/null || bad import "ctr images import failed"
image=$(ctr images ls -q | head -1)

is "run prints stdout" "hello" "$(ctr run --rm "$image" "$ns-a" echo hello)"
ctr run --rm "$image" "$ns-a" sh -c 'exit 42'; is "run passes the exit code" 42 $?
ctr run -d "$image" "$ns-d" sleep 1000
is "run -d leaves it running" RUNNING "$(task_status "$ns-d")"
is "the shim is ours" 1 "$(pgrep -fc "$work/path/containerd-shim-runc-v2.*$ns-d")"
is "exec prints" "out" "$(ctr task exec --exec-id e1 "$ns-d" echo out)"
ctr task exec --exec-id e2 "$ns-d" sh -c 'exit 7'; is "exec passes the exit code" 7 $?
ctr task pause "$ns-d"; is "pause is seen" PAUSED "$(task_status "$ns-d")"
ctr task resume "$ns-d"; is "resume is seen" RUNNING "$(task_status "$ns-d")"
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
start_daemon
is "the task survives the daemon" RUNNING "$(task_status "$ns-d")"
is "exec works in the adopted task" "again" "$(ctr task exec --exec-id e3 "$ns-d" echo again)"
ctr task kill -s SIGKILL "$ns-d"
until_is STOPPED task_status "$ns-d" && ok "its exit is seen" || bad "its exit is seen" "$(task_status "$ns-d")"
ctr task rm "$ns-d" >/dev/null 2>&1
ctr containers rm "$ns-d"; is "it is removed" 0 $?
until_is "" pgrep -f "$work/path/containerd-shim-runc-v2" && ok "no shim is left" || bad "no shim is left" "some"
finish
