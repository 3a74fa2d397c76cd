#!/bin/bash
# gVisor through our runc shim, under cortend and under the real containerd 2.3: the whole life of sandboxed containers.
# Needs root, the peers (tests/peers/build.sh) and the test images. Own root, state, sockets, namespace and runtime directories.
# Prints `ok STEP` or `not ok STEP: why` for each step, then `done`. Usage: [CORTEN_BUILD=DIR] runsc.sh
set -u -o pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/conformance/steps.sh
. "$top/tests/conformance/steps.sh"
build=${CORTEN_BUILD:-$top/build/dev}
bin=$("$top/tests/peers/build.sh" --print-bin)
images=$("$top/tests/images/make.sh" small) || exit 1
work=$(mktemp -d /tmp/corten-runsc-XXXXXX)
ns=gv$$
daemon=

# runsc's own network stack and its cgroup code stumble over hybrid machines without a network set-up: it runs without both.
cat >"$work/runsc" <<WRAPPER
#!/bin/sh
exec $bin/runsc --network=none --ignore-cgroups "\$@"
WRAPPER
chmod +x "$work/runsc"
mkdir "$work/path"
ln -s "$build/src/shim/containerd-shim-runc-v2" "$work/path/"

ctr() { timeout -k 5 120 "$bin/ctr" -a "$work/$name/c.sock" -n "$ns" "$@" 2> >(grep -v DEPRECATION >&2); }
shims() { pgrep -fc -- "containerd-shim-runc-v2.*-namespace $ns " || true; }
# shellcheck disable=SC2317 # called by the trap
clean_up() {
  local pid
  [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null; }
  for pid in $(pgrep -f -- "containerd-shim-runc-v2.*-namespace $ns "); do kill -9 "$pid"; done
  awk -v w="$work/" 'index($5, w) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m"; done
  rm -rf "$work"
}
trap clean_up EXIT

start() { # NAME PROGRAM
  name=$1
  mkdir "$work/$name"
  cat >"$work/$name/config.toml" <<TOML
version = 3
root = "$work/$name/root"
state = "$work/$name/state"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "io.containerd.nri.v1.nri"]
[grpc]
  address = "$work/$name/c.sock"
[ttrpc]
  address = "$work/$name/c.sock.ttrpc"
[plugins.'io.containerd.shim.v1.manager']
  socket_dir = "$work/$name/s"
TOML
  PATH=$work/path:$PATH "$2" --config "$work/$name/config.toml" >"$work/$name/log" 2>&1 </dev/null &
  daemon=$!
  until_is 0 sh -c "$bin/ctr -a $work/$name/c.sock version >/dev/null 2>&1; echo \$?" && ok "$name starts" && return 0
  bad "$name starts" "$(tail -3 "$work/$name/log")"
  return 1
}

journey() {
  local image=corten.test/busybox:1 run="run --runc-binary $work/runsc"
  ctr images import --local "$images/busybox.tar" >/dev/null 2>&1
  has "$name: the kernel inside is gVisor's" "Starting gVisor" "$(ctr $run --rm "$image" g1 dmesg)"
  is "$name: output arrives" hello "$(ctr $run --rm "$image" g2 echo hello)"
  is "$name: input arrives" "typed" "$(echo typed | ctr $run --rm "$image" g3 cat)"
  ctr $run --rm "$image" g4 sh -c 'exit 5'; is "$name: the exit code arrives" 5 $?
  ctr $run -d "$image" g5 sleep 1000; is "$name: run -d" 0 $?
  is "$name: it runs" RUNNING "$(task_status g5)"
  is "$name: exec prints" inside "$(ctr task exec --exec-id e1 g5 echo inside)"
  ctr task exec --exec-id e2 g5 sh -c 'exit 7'; is "$name: exec passes its exit code" 7 $?
  ctr task pause g5; is "$name: pause" PAUSED "$(task_status g5)"
  ctr task resume g5; is "$name: resume" RUNNING "$(task_status g5)"
  ctr task kill -s SIGKILL g5
  until_is STOPPED task_status g5 && ok "$name: kill stops it" || bad "$name: kill stops it" "$(task_status g5)"
  has "$name: its exit code is 137" "exit code 137" "$(ctr task rm g5 2>&1)"
  ctr containers rm g5; is "$name: it is removed" 0 $?
  has "$name: a missing program is named" "no-such-program" "$(ctr $run --rm "$image" g6 no-such-program 2>&1)"
  # The runtime made the sandbox before it looked for the program, and then refuses to end it: our shim does.
  ctr task rm -f g6 >/dev/null 2>&1
  ctr containers rm g6 >/dev/null 2>&1
  is "$name: and what was made for it is gone" "" "$(ctr containers ls -q)$(ctr snapshots ls | grep Active)"
  until_is 0 shims && ok "$name: no shim is left" || bad "$name: no shim is left" "$(shims)"
  is "$name: no mount is left" "" "$(awk -v w="$work/$name/state" 'index($5, w) == 1 {print $5}' /proc/self/mountinfo)"
  kill "$daemon" && wait "$daemon"; is "$name: SIGTERM ends it" 0 $?
  daemon=
}

start cortend "$build/src/daemon/cortend" && journey
start containerd "$bin/containerd" && journey
finish
