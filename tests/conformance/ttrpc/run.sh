#!/bin/bash
# Our ttrpc against Go's, in both directions. Usage: tests/conformance/ttrpc/run.sh   (CORTEN_BUILD: the build directory)
# Prints `ok NAME` or `not ok NAME: why` for each check and ends with `done`. Needs Go.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
ours=${CORTEN_BUILD:?}/tests/conformance/ttrpc/ttrpc_interop
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

if ! (cd "$here" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -o "$dir/peer" .); then
  echo "not ok build of the Go peer"
  exit 1
fi

# pair NAME CALLS SERVER... -- CALLER...: runs the caller against the server; CALLS is how many checks it must make.
pair() {
  local name=$1 calls=$2 socket=$dir/$1.sock line good bad
  shift 2
  local server=() caller=()
  while [ "$1" != -- ]; do server+=("$1"); shift; done
  shift
  caller=("$@")
  mkfifo "$dir/$name.in" "$dir/$name.out"
  "${server[@]}" serve "$socket" <"$dir/$name.in" >"$dir/$name.out" &
  local pid=$!
  exec 3>"$dir/$name.in" 4<"$dir/$name.out"   # the server ends when descriptor 3 is closed
  if ! read -r -t 20 line <&4 || [ "$line" != ready ]; then
    echo "not ok $name: the server did not start"
  else
    timeout 120 "${caller[@]}" call "$socket" | tee "$dir/$name.log"
    good=$(grep -c '^ok ' "$dir/$name.log") bad=$(grep -c '^not ok ' "$dir/$name.log")
    if [ $((good + bad)) = "$calls" ]; then
      echo "ok $name: $calls checks were made"
    else
      echo "not ok $name: $((good + bad)) checks instead of $calls"
    fi
  fi
  exec 3>&- 4<&-
  wait "$pid"
}

pair our-server 24 "$ours" -- "$dir/peer"
pair go-server 32 "$dir/peer" -- "$ours"
echo done
