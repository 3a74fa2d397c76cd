#!/bin/bash
# Measures Corten against the real containerd 2.3 in one run and prints table and ratios.
# Usage: bench/run.sh BUILD_DIR [--rows 21,22] [--quick] [--json FILE]      needs root and the peers (tests/peers/build.sh)
#   BUILD_DIR should be a release build: cmake --preset release && cmake --build build/release
#   CORTEN_BENCH_DIR: where the scratch directory is made (/var/tmp); it must be on the disk that is to be measured.
# Everything runs in mount and pid namespaces of its own, with a fresh /run in memory: nothing of it outlives the run. The v2
# side mount of a hybrid machine is hidden, since crun refuses to start beside it.
set -eu -o pipefail
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
shift
peers=${CORTEN_PEERS:-$HOME/.cache/corten/peers}/bin

if [ -z "${CORTEN_BENCH_INNER:-}" ]; then
  dir=$(mktemp -d "${CORTEN_BENCH_DIR:-/var/tmp}/corten-bench-XXXXXX")
  tag=$(basename "$dir")
  group=/sys/fs/cgroup/cpuacct
  [ -d "$group" ] || group=/sys/fs/cgroup
  mkdir -p "$group/$tag/client"
  inner=
  # shellcheck disable=SC2317 # called by the trap
  clean_up() {
    local tree
    [ -z "$inner" ] || ! kill -9 "$inner" 2>/dev/null || wait "$inner" 2>/dev/null || true
    # Every process is gone with the pid namespace; what remains are directories.
    rm -rf "$dir"
    for tree in /sys/fs/cgroup/*/"$tag" "/sys/fs/cgroup/$tag"; do
      [ ! -d "$tree" ] || find "$tree" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
  }
  trap clean_up EXIT
  trap 'exit 1' INT TERM HUP
  CORTEN_BENCH_INNER=$dir unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
    bash -c "echo 0 >&3 && exec 3>&- \"\$@\"" bash "bench/run.sh" "$build" "$@" 3>"$group/$tag/client/cgroup.procs" &
  inner=$!
  code=0
  wait "$inner" || code=$?
  exit $code
fi

dir=$CORTEN_BENCH_INNER
mount -t tmpfs -o mode=755 tmpfs /run
! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
quick=false needs_registry=true
[[ " $* " == *" --quick "* ]] && quick=true
if [[ " $* " =~ " --rows "([^ ]*) ]]; then
  needs_registry=false
  for row in ${BASH_REMATCH[1]//,/ }; do
    case $row in 21 | 22 | 23 | 24 | pull | ops | traced) needs_registry=true ;; esac
  done
fi
images=$(tests/images/make.sh small)
registry=()
if $needs_registry; then
  shapes=$images
  $quick || shapes=$(tests/images/make.sh bench)
  layouts=()
  for name in busybox many-gzip many-zstd big odd; do [ ! -d "$shapes/layout/$name" ] || layouts+=("$shapes/layout/$name"); done
  registry=(--registry "$(tests/peers/registry.sh start "$dir/registry" "${layouts[@]}")")
fi
mkdir "$dir/work"
# ext4 without a journal does not use an inode again for one to five minutes after it was deleted and looks at all of those at each
# new file: figures taken soon after a big deletion (a run's own scratch directory, for one) say more about that than about a daemon.
new_file=$(python3 - "$dir/probe" <<'PY'
import os, sys, time
os.mkdir(sys.argv[1])
begin = time.monotonic()
for i in range(500):
    os.symlink("x", f"{sys.argv[1]}/{i}")
print(round((time.monotonic() - begin) / 500 * 1e6))
PY
)
$quick || [ "$new_file" -lt 20 ] || echo "bench: a new file costs $new_file us here; wait five minutes after big deletions" >&2
facts=(--fact "build=$(sed -n 's/^CMAKE_BUILD_TYPE:STRING=//p' "$build/CMakeCache.txt") $(sed -n 's/^CMAKE_CXX_FLAGS:STRING=//p' "$build/CMakeCache.txt")"
  --fact "a new file costs=$new_file us" --fact "date=$(date -u +%Y-%m-%dT%H:%MZ)" --fact "load before=$(cut -d' ' -f1-3 /proc/loadavg)"
  --fact "runc=$(runc --version | head -1)" --fact "crun=$("$peers/crun" --version | head -1)"
  --fact "commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
  --fact "configuration=each daemon's shipped defaults, but no CRI and no NRI in containerd (Corten has neither yet), except in lines that say so")
"$build/bench/corten-bench" --work "$dir/work" --group "$(basename "$dir")" --ctr "$peers/ctr" --archive "$images/busybox.tar" \
  --image corten.test/busybox:1 --crun "$peers/crun" "${registry[@]}" "${facts[@]}" "$@" \
  "corten=$build/src/daemon/cortend" "containerd=$peers/containerd"
