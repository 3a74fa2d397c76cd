// The subcommands of cortend: config default, dump, migrate, check; publish.
#pragma once

#include "daemon/options.h"

namespace corten::daemon {

// Runs options.command and returns the exit code; what goes wrong is printed to standard error.
int RunCommand(const Options& options);

}  // namespace corten::daemon
