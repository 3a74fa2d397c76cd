// Flags of the ctr tree that say what a container is made of. Tables; any thread.
#pragma once

#include <vector>

#include "cli/command.h"

namespace corten::cli {

// --runtime and its options.
std::vector<Flag> RuntimeFlags();
// Of `containers create` and `run`.
std::vector<Flag> ContainerFlags();
// Those that only `run` has, the flags of its task and stdio among them.
std::vector<Flag> RunFlags();

}  // namespace corten::cli
