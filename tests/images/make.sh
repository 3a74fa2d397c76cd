#!/bin/bash
# Makes the test images into a cache outside the tree and prints the directory. Usage: tests/images/make.sh [demo|small|bench]
# Needs busybox-static, zstd and python3. CORTEN_IMAGES overrides the cache ($HOME/.cache/corten/images).
# Images that were made from these scripts and this busybox are left alone.
set -eu -o pipefail
shape=${1:-small}
case $shape in demo | small | bench) ;; *) echo "usage: $0 [demo|small|bench]" >&2; exit 2 ;; esac
here=$(cd "$(dirname "$0")" && pwd)
cache=${CORTEN_IMAGES:-$HOME/.cache/corten/images}
for tool in /bin/busybox zstd python3; do
  command -v $tool >/dev/null || { echo "images: $tool is missing: run tools/setup.sh test" >&2; exit 1; }
done
mkdir -p "$cache"
exec 9>"$cache/.lock-$shape" # of one shape: the big ones take minutes
flock -w 900 9
version=$(cat "$here"/*.py /bin/busybox | sha256sum | cut -c1-16)
if [ "$(cat "$cache/$shape/version" 2>/dev/null)" != "$version" ]; then
  echo "images: making $shape" >&2
  rm -rf "$cache/$shape.new"
  mkdir "$cache/$shape.new"
  PYTHONDONTWRITEBYTECODE=1 nice -n 10 python3 "$here/make.py" "$cache/$shape.new" "$shape"
  echo "$version" >"$cache/$shape.new/version"
  rm -rf "$cache/$shape"
  mv "$cache/$shape.new" "$cache/$shape"
fi
echo "$cache/$shape"
