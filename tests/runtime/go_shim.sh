#!/bin/bash
# The runtime journeys with containerd's own shim in the place of ours. CORTEN_BUILD: the build directory.
export CORTEN_TEST_SHIM=${CORTEN_TEST_SHIM:-$HOME/.cache/corten/peers/bin/containerd-shim-runc-v2}
exec tests/conformance/gtest.sh tests/runtime/runtime_journeys_test
