#!/bin/sh
# Compiles every .proto file below PROTO_DIR and compares the set with facts/*.txt.
# Usage: wire_check.sh PROTOC WELL_KNOWN_TYPES_DIR PROTO_DIR DESCRIPTOR_SET_OUT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
protoc=$1; wkt=$2; protos=$3; out=$4
cd "$protos"
# shellcheck disable=SC2046 # a list of names without spaces is meant
"$protoc" -I. -I"$wkt" --include_imports --descriptor_set_out="$out" $(find . -name '*.proto' | sed 's,^\./,,' | sort)
report=$(python3 "$here/check_wire.py" --facts "$here/facts" --allow-renamed-values "$out") || { echo "$report"; exit 1; }
echo "$report"
case "$report" in
  *absent*) echo "wire_check: a package is missing"; exit 1 ;;
  *" 0 differences") ;;
  *) echo "wire_check: the checker did not say 0 differences"; exit 1 ;;
esac
