#!/bin/bash
# What `make demo` shows after the build: Corten starts in a scratch directory, stores an image, runs real containers, cleans up.
# Usage: tests/demo/demo.sh BUILD_DIR      Nothing outside the scratch directory is touched; containers need root.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
rooms=$(cd "$1" && pwd)/src
for program in daemon/cortend cli/corten shim/containerd-shim-runc-v2; do
  [ -x "$rooms/$program" ] || { echo "demo: ${program#*/} is not in this tree yet, so there is nothing to show" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "demo: containers need root: run \`sudo make demo\`" >&2; exit 1; }

scratch=$(mktemp -d /tmp/corten-demo.XXXXXX)
daemon=""
clean_up() {
  [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || true; }
  rm -rf "$scratch"
}
trap clean_up EXIT

show() {
  local word line="\$"
  for word; do
    case $word in *[[:space:]]*) line="$line '$word'" ;; *) line="$line $word" ;; esac
  done
  printf '\n%s\n' "$line"
  "$@"
}
corten() { "$rooms/cli/corten" --address "$scratch/corten.sock" --namespace demo "$@"; }

echo "An image is made from this machine's busybox."
image=$(CORTEN_IMAGES=$scratch/images tests/images/make.sh demo 2>/dev/null)/busybox.tar

"$rooms/daemon/cortend" --root "$scratch/root" --state "$scratch/state" --address "$scratch/corten.sock" --config tests/demo/config.toml \
  >"$scratch/cortend.log" 2>&1 &
daemon=$!
for _ in $(seq 100); do
  if corten version >/dev/null 2>&1; then break; fi
  kill -0 "$daemon" 2>/dev/null || { cat "$scratch/cortend.log" >&2; exit 1; }
  sleep 0.05
done

show corten version
show corten import "$image"
show corten images
show corten run --rm corten.test/busybox:1 sh -c 'echo "Hello from $(hostname), process $$ of its own world"; cat /etc/hostname'
show corten run -d --name clock corten.test/busybox:1 sh -c 'trap exit TERM; while :; do date; sleep 1; done'
show corten ps
show corten exec clock ps
show corten logs clock
show corten stop clock
show corten rm clock
show corten rmi corten.test/busybox:1
kill "$daemon"
wait "$daemon"
daemon=""
if grep -q "$scratch" /proc/self/mountinfo; then
  echo "demo: mounts were left:" >&2
  grep "$scratch" /proc/self/mountinfo >&2
  exit 1
fi
echo
echo "demo: built, started, stored an image, ran containers, cleaned up; nothing is left"
