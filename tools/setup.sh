#!/bin/sh
# Installs every Debian 12 package that building (`build`), showing (`demo`), testing (`test`) or fuzzing (`fuzz`) Corten needs.
# Usage: tools/setup.sh build|demo|test|fuzz|all
# Idempotent: packages that are there already cost one dpkg query.
set -eu

build="g++-12 g++ cmake ninja-build ccache mold pkg-config make git protobuf-compiler protobuf-compiler-grpc
  libgrpc++-dev libprotobuf-dev libssl-dev zlib1g-dev libisal-dev libzstd-dev libcurl4-openssl-dev
  nlohmann-json3-dev libtomlplusplus-dev libre2-dev libyaml-cpp-dev"
test="libgtest-dev libgmock-dev librapidcheck-dev libarchive-dev clang-format-19
  libfuse3-dev fuse3
  runc busybox-static docker-registry skopeo umoci iproute2 python3 strace e2fsprogs patchelf zstd apparmor"
fuzz="clang-19 libclang-rt-19-dev clang-tidy-19"
demo="runc busybox-static python3 zstd"

case "${1:-all}" in
  build) want="$build" ;;
  demo) want="$build $demo" ;;
  test) want="$test" ;;
  fuzz) want="$fuzz" ;;
  all) want="$build $test $fuzz" ;;
  *) echo "usage: $0 build|demo|test|fuzz|all" >&2; exit 2 ;;
esac

missing=""
for package in $want; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
if [ "$(id -u)" != 0 ]; then
  echo "tools/setup.sh: run as root, or install by hand: apt-get install --no-install-recommends$missing" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # a list of words is meant
apt-get install -q -y --no-install-recommends $missing
