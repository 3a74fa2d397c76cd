// What this build calls itself.
#pragma once

#include <string>

namespace corten::daemon {

// containerd's API level with our own version as build part: clients switch features by it
// (ARCHITECTURE 9).
std::string ApiVersion();  // "v2.3.4+corten.0.1.0"
std::string Revision();    // commit of the build, "unknown" outside a checkout
// The line of --version: four fields, clients parse the third.
std::string VersionLine();

}  // namespace corten::daemon
