// What mount option words mean: flags, propagation, our own words, and the rest as data for the
// filesystem.
//
// Source: mount(8), and the option words of containerd's mount objects (2.3). Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "model/mount.h"

namespace corten::os {

struct MountWords {
  unsigned long flags = 0;  // MS_* for mount(2), without propagation
  std::vector<unsigned long>
      propagation;         // MS_SHARED, MS_PRIVATE|MS_REC ...: each needs a call of its own
  bool loop = false;       // attach the source file to a loop device
  bool direct_io = false;  // ... with direct I/O
  std::string uid_map;     // "container:host:size[,...]"; both or none
  std::string gid_map;
  std::vector<std::string> data;  // everything else, in order
};

// kInvalidArgument: an `X-containerd.*` word (the mount manager should have taken it), or only one
// of the id maps.
Result<MountWords> ParseMountOptions(const std::vector<std::string>& options);

// One range of an id map.
struct IdRange {
  uint32_t container = 0;
  uint32_t host = 0;
  uint32_t size = 0;
  bool operator==(const IdRange&) const = default;
};
// "0:100000:65536,..." ; kInvalidArgument otherwise, or for more than 340 ranges
// (user_namespaces(7)).
Result<std::vector<IdRange>> ParseIdMap(const std::string& text);

// The data of an overlay mount taken apart. Colons inside a path are escaped with a backslash on
// the wire.
struct OverlayWords {
  std::vector<std::string> lower;  // topmost first
  std::string upper;               // empty: read-only overlay
  std::string work;
  std::vector<std::string> others;  // index=off, volatile, userxattr ...
};
OverlayWords ParseOverlay(const std::vector<std::string>& data);
std::vector<std::string> FormatOverlay(const OverlayWords& words);

// The longest directory that holds all of `paths` (each absolute); "" if they share nothing but the
// root.
std::string CommonDirectory(const std::vector<std::string>& paths);

// Mounts for a look at a tree that must not change it: an overlay's upperdir becomes its first
// lowerdir, workdir, id maps and `volatile` go; other mounts get `ro` instead of `rw`. Source:
// storage of containerd 2.3, temp mounts.
std::vector<model::Mount> ReadOnlyMounts(std::vector<model::Mount> mounts);
// The same mounts without overlay's `volatile`, which would leave a mark in the work directory.
std::vector<model::Mount> WithoutVolatile(std::vector<model::Mount> mounts);

}  // namespace corten::os
