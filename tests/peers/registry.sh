#!/bin/bash
# A plain-http docker-registry on a loopback port of its own, filled with the test images.
#   registry.sh start DIR [LAYOUT...]   starts it in the empty or new directory DIR, pushes each OCI layout directory as
#                                       <layout name>:1, prints the address (127.0.0.1:PORT)
#   registry.sh push DIR LAYOUT...      pushes more
#   registry.sh stop DIR                ends the process that `start` recorded in DIR
# DIR holds config, storage, log, pid and address; who made it removes it.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
verb=${1:?usage: registry.sh start|push|stop DIR [LAYOUT...]}
dir=${2:?usage: registry.sh start|push|stop DIR [LAYOUT...]}
shift 2

push() { PYTHONDONTWRITEBYTECODE=1 python3 "$here/push.py" "$(cat "$dir/address")" "$@" >&2; }

start_once() {
  local port
  port=${REGISTRY_PORT:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
  cat >"$dir/config.yml" <<YML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: "$dir/storage"}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port", secret: corten-test}
YML
  OTEL_TRACES_EXPORTER=none setsid docker-registry serve "$dir/config.yml" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  echo "127.0.0.1:$port" >"$dir/address"
  # Answers within 15 s or has lost the port to someone else.
  python3 - "$port" "$!" <<'PY'
import os, sys, time, urllib.request
port, pid = sys.argv[1:]
end = time.monotonic() + 15
while time.monotonic() < end and os.path.exists(f"/proc/{pid}"):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2)
        sys.exit(0)
    except OSError:
        time.sleep(0.02)
sys.exit(1)
PY
}

stop() {
  local pid
  pid=$(cat "$dir/pid" 2>/dev/null) || return 0
  rm -f "$dir/pid"
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = docker-registry ] || return 0
  kill "$pid"
  for _ in $(seq 100); do [ -d "/proc/$pid" ] || return 0; sleep 0.05; done
  kill -9 "$pid" 2>/dev/null || true
}

case $verb in
  start)
    command -v docker-registry >/dev/null || { echo "registry: docker-registry is missing: run tools/setup.sh test" >&2; exit 1; }
    mkdir -p "$dir"
    for try in 1 2 3; do
      if start_once; then break; fi
      stop
      [ "$try" != 3 ] || { echo "registry: does not start:" >&2; cat "$dir/log" >&2; exit 1; }
    done
    [ $# = 0 ] || push "$@" || { stop; exit 1; }
    cat "$dir/address"
    ;;
  push) push "$@" ;;
  stop) stop ;;
  *) echo "registry: unknown verb $verb" >&2; exit 2 ;;
esac
