# The commands a newcomer types. Everything else is CMake: `cmake --preset dev && ninja -C build/dev`.
#
#   make demo          build Corten, run a real container with it, clean up, and say what was seen
#   make check         packages, build, style and layer checks, unit and integration tests
#   make conformance   the same everyday journeys by the unmodified clients, against containerd and against Corten
#   make install       PREFIX=/usr/local DESTDIR=
#   LONG=1             adds what takes long: sanitizer builds, many kill rounds, fuzzers, benchmarks
PREFIX ?= /usr/local
LONG ?=
JOBS ?= $(shell nproc)
export LONG

.PHONY: all demo check conformance install setup-build setup-demo setup-test clean
all: build/dev/.configured
	cmake --build build/dev -j $(JOBS)

setup-build:
	tools/setup.sh build
setup-demo:
	tools/setup.sh demo
setup-test:
	tools/setup.sh all

build/%/.configured: CMakeLists.txt CMakePresets.json
	cmake --preset $*
	touch $@

demo: setup-demo
	$(MAKE) build/release/.configured
	cmake --build build/release -j $(JOBS)
	tests/demo/demo.sh build/release

check: setup-test
	$(MAKE) build/dev/.configured
	cmake --build build/dev -j $(JOBS)
	cmake --build build/dev -j $(JOBS) --target corten_headers
	tools/run_tests.sh build/dev
	@if [ -n "$(LONG)" ]; then tools/check_long.sh; fi

conformance: setup-test
	$(MAKE) build/dev/.configured
	cmake --build build/dev -j $(JOBS)
	tests/conformance/run.sh build/dev

# The unit names the daemon by its full path, so the prefix must be known when configuring.
install: setup-build
	cmake --preset release -DCMAKE_INSTALL_PREFIX=$(PREFIX)
	cmake --build build/release -j $(JOBS)
	DESTDIR=$(DESTDIR) cmake --install build/release

clean:
	rm -rf build
