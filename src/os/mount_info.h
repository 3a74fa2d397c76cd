// The mount table of this process, read and parsed.
//
// Source: proc(5), /proc/PID/mountinfo. Threads: pure functions and one read; any thread. The table
// is a snapshot: it may be out of date when the caller looks at it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::os {

struct MountEntry {
  uint64_t id = 0;
  uint64_t parent = 0;
  std::string root;         // the part of the filesystem that is mounted
  std::string mount_point;  // relative to this process's root
  std::string options;      // per mount: "rw,nosuid,relatime"
  std::string propagation;  // optional fields joined by ' ': "shared:1 master:2"; empty: private
  std::string fs_type;
  std::string source;
  std::string super_options;  // per filesystem: "rw,lowerdir=..."
  bool operator==(const MountEntry&) const = default;
};

// Parses the text of a mountinfo file; octal escapes (\040) are undone. kInvalidArgument names the
// first bad line.
Result<std::vector<MountEntry>> ParseMountInfo(std::string_view text);

// The table of the calling process, in mount order.
Result<std::vector<MountEntry>> ReadMountInfo();

// Entries of `table` at `path` or below it, in table order. `path` is absolute, without trailing
// slash or "..".
std::vector<MountEntry> MountsAtOrBelow(const std::vector<MountEntry>& table,
                                        std::string_view path);

// Whether something is mounted exactly at `path`.
Result<bool> IsMountPoint(const std::string& path);

}  // namespace corten::os
