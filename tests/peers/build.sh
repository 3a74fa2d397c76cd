#!/bin/bash
# Brings the real peers that the conformance tests judge Corten by into a cache outside the tree:
#   bin/containerd, bin/ctr, bin/containerd-shim-runc-v2, bin/bbolt   pinned Go modules (modules/*/go.mod)
#   bin/proxy             serves proxy plugins with the same containerd's libraries
#   bin/bolt-dump         prints every row of a bolt file, by the same bbolt
#   bin/ctr-1.6           Debian's containerd package, unpacked, not installed
#   bin/runsc             Debian's runsc package, unpacked
#   bin/crun              a newer suite's crun with its own C library (Debian 12's refuses ociVersion 1.1)
# Usage: tests/peers/build.sh [--print-bin]      CORTEN_PEERS overrides the cache directory.
# A peer whose recorded version matches is left alone, so a second call costs well under a second.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${CORTEN_PEERS:-$HOME/.cache/corten/peers}
bin=$cache/bin
newer_suite=trixie
[ "${1:-}" != --print-bin ] || { echo "$bin"; exit 0; }

say() { echo "peers: $*" >&2; }
die() { say "$*"; exit 1; }

mkdir -p "$bin" "$cache/versions" "$cache/deb"
exec 9>"$cache/.lock"
flock -w 1800 9 || die "another build holds $cache/.lock"

# recorded NAME VERSION FILE...: true if NAME was made from VERSION and its files are still there.
recorded() {
  local name=$1 version=$2 file
  shift 2
  [ "$(cat "$cache/versions/$name" 2>/dev/null)" = "$version" ] || return 1
  for file; do [ -x "$bin/$file" ] || return 1; done
}
record() { echo "$2" >"$cache/versions/$1.new" && mv "$cache/versions/$1.new" "$cache/versions/$1"; }

need_go() {
  local want have
  want=$(sed -n 's/^go //p' "$here/modules/containerd/go.mod")
  command -v go >/dev/null || die "no Go toolchain on PATH: the peers need Go $want or later (Debian 12 has an older one)." \
    "Unpack a current one and put its bin directory on PATH."
  have=$(GOTOOLCHAIN=local go env GOVERSION)
  have=${have#go}
  [ "$(printf '%s\n' "$want" "${have%% *}" | sort -V | head -1)" = "$want" ] ||
    die "Go $have is too old for the pinned peers, which need $want or later."
}

# go_module NAME DIR VERSION-FLAGS FILE...: builds the tools of a pinned module.
go_module() {
  local name=$1 dir=$2 ldflags=$3 version stage
  shift 3
  version=$(find "$dir" -type f | sort | xargs cat | sha256sum | cut -c1-16)
  if recorded "$name" "$version" "$@"; then return 0; fi
  need_go
  say "building $name: $*"
  stage=$(mktemp -d "$cache/stage.XXXXXX")
  (cd "$dir" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly nice -n 10 \
    go build -p 2 -trimpath -buildvcs=false -tags no_btrfs -ldflags "-s -w $ldflags" -o "$stage/" $GO_PACKAGES) ||
    { rm -rf "$stage"; die "building $name failed"; }
  for file; do mv "$stage/$file" "$bin/$file"; done
  rm -rf "$stage"
  record "$name" "$version"
}

# deb PACKAGE [apt options]: downloads a package and unpacks it over $unpacked.
deb() {
  local package=$1 stage
  shift
  stage=$(mktemp -d "$cache/stage.XXXXXX")
  # The sandbox user of apt cannot write into root's cache directory.
  (cd "$stage" && apt-get -q -o APT::Sandbox::User=root "$@" download "$package" >apt.log 2>&1) ||
    { cat "$stage/apt.log" >&2; rm -rf "$stage"; return 1; }
  dpkg-deb -x "$stage"/*.deb "$unpacked"
  rm -rf "$stage"
}

candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | grep -v '(none)'; }

debian_peer() {
  local package=$1 path=$2 file=$3 version
  if [ -z "$(candidate "$package")" ]; then apt-get update -q >/dev/null 2>&1 || true; fi
  version=$(candidate "$package") || die "no package $package in this machine's apt sources"
  if recorded "$file" "$version" "$file"; then return 0; fi
  say "unpacking $package $version"
  unpacked=$cache/deb/$package
  rm -rf "$unpacked"; mkdir -p "$unpacked"
  deb "$package" || die "downloading $package failed"
  ln -sfn "$unpacked/$path" "$bin/$file"
  "$bin/$file" --version >/dev/null || die "$bin/$file does not run"
  record "$file" "$version"
}

# crun of a newer suite, with that suite's libraries beside it: the binary's interpreter and library path are rewritten.
newer_crun() {
  local state=$cache/apt-$newer_suite mirror options version
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "bookworm" && $3 == "main" { print $1; exit }')
  [ -n "$mirror" ] || die "no Debian archive among this machine's apt sources: cannot fetch crun of $newer_suite"
  version="$newer_suite $mirror 1"
  if recorded crun "$version" crun; then return 0; fi
  command -v patchelf >/dev/null || die "patchelf is missing: run tools/setup.sh test"
  say "unpacking crun of $newer_suite"
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  : >"$state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $newer_suite main" >"$state/sources.list"
  options=(-o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$state/lists"
    -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
  apt-get -q "${options[@]}" update >"$state/update.log" 2>&1 || { cat "$state/update.log" >&2; die "$newer_suite cannot be reached by apt"; }
  unpacked=$cache/deb/crun
  rm -rf "$unpacked"; mkdir -p "$unpacked"
  for package in crun libc6 libseccomp2 libcap2 libyajl2 libsystemd0 libgcc-s1 libgcrypt20 libgpg-error0 liblzma5 libzstd1 liblz4-1; do
    deb "$package" "${options[@]}" || die "downloading $package of $newer_suite failed"
  done
  local lib=$unpacked/usr/lib/x86_64-linux-gnu
  patchelf --set-interpreter "$lib/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$lib" "$unpacked/usr/bin/crun"
  ln -sfn "$unpacked/usr/bin/crun" "$bin/crun"
  "$bin/crun" --version >/dev/null || die "$bin/crun does not run"
  record crun "$version"
}

release="-X github.com/containerd/containerd/v2/version.Version=v2.3.4 -X github.com/containerd/containerd/v2/version.Revision=pinned"
GO_PACKAGES=tool go_module containerd "$here/modules/containerd" "$release" containerd ctr containerd-shim-runc-v2
GO_PACKAGES=. go_module proxy "$here/modules/proxy" "" proxy
GO_PACKAGES="tool ./bolt-dump" go_module bbolt "$here/modules/bbolt" "" bbolt bolt-dump
debian_peer containerd usr/bin/ctr ctr-1.6
debian_peer runsc usr/bin/runsc runsc
newer_crun
say "ready in $bin: $(cd "$bin" && echo *)"
