// What this build calls itself, the same for daemon, shim and command line. Any thread.
#pragma once

#include <string_view>

namespace corten {

// containerd's API level with our own version as build part: clients switch features by it
// (ARCHITECTURE 9).
std::string_view BuildVersion();   // "v2.3.4+corten.0.1.0"
std::string_view BuildRevision();  // commit of the tree; "unknown" outside a checkout

}  // namespace corten
