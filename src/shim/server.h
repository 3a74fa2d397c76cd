// The serving process of a shim.
//
// Contract (README.md): working directory is the bundle; flags -namespace, -id, -address; the
// listening socket on descriptor 3, or made at -socket; TTRPC_ADDRESS in the environment.
// Descriptors above are closed. Serves until Shutdown after the last container, or SIGTERM or
// SIGINT; then it unlinks its socket. Threads: the calling one only. Crash: containers go on; the
// daemon runs `delete`.
#pragma once

#include "base/error.h"
#include "shim/arguments.h"

namespace corten::shim {

// Returns when the shim has ended.
Status Serve(const Arguments& arguments);

}  // namespace corten::shim
