// A snapshotter that keeps its trees on this machine, and what introspection tells of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "snapshot/snapshotter.h"

namespace corten::snapshot {

// Capabilities as introspection lists them.
inline constexpr std::string_view kCapabilityRebase = "rebase";  // Commit may set the parent
inline constexpr std::string_view kCapabilityRemapIds =
    "remap-ids";  // mounts carry uidmap=, gidmap=
inline constexpr std::string_view kCapabilityOnlyRemapIds =
    "only-remap-ids";  // clients must not make chowned copies

class Driver : public Snapshotter {
 public:
  // In the order in which containerd lists them. The first call may probe the kernel.
  virtual std::vector<std::string> Capabilities() = 0;
  // {"root": directory}.
  virtual std::map<std::string, std::string> Exports() const = 0;
};

}  // namespace corten::snapshot
