// The daemon from configuration to last breath: directories, executors, plugins, recovery, sockets,
// signals.
//
// Order of start (ARCHITECTURE, restart recovery): lock the root, bind the sockets, build the
// plugins, recover, accept, tell the supervisor. Order of stop: tell the supervisor, stop
// accepting, end calls, destroy plugins; containers and shims are left alone.
#pragma once

#include <memory>

#include "base/error.h"
#include "daemon/config.h"
#include "daemon/options.h"

namespace corten::daemon {

// Reads the configuration and lays the flags over it. What was odd is in config.warnings.
struct Settings {
  Config config;
  std::string grpc_address;  // from flags; empty: as configured
};
Result<Settings> LoadSettings(const Options& options);

// Runs until SIGTERM or SIGINT. REQUIRES: called once, on the main thread, before other threads
// exist.
Status RunDaemon(const Options& options, Settings settings);

}  // namespace corten::daemon
