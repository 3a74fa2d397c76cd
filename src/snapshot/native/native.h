// Snapshots as plain directories: each is a full copy of its parent. Needs nothing from the kernel;
// slow and large.
//
//   <root>/metadata.db           the rows (snapshot/meta_store.h)
//   <root>/snapshots/<id>/       the tree; views have none and show their parent's (without parent:
//   an empty one)
//
// A copy keeps owners, modes, times, hard links, devices and extended attributes (security.* and
// trusted.* where the filesystem refuses them are left out), shares data blocks where the
// filesystem can, and is flushed before its row. Mounts: one bind mount. Threads and crash:
// snapshot/tree_store.h. Source: containerd 2.3 native snapshotter (storage.md 2, 3).
#pragma once

#include <memory>
#include <string>

#include "snapshot/driver.h"

namespace corten::snapshot::native {

struct Config {
  std::string root;  // absolute; made if missing, 0700
};

// kUnavailable: another process holds metadata.db. kInvalidArgument: root empty or relative.
// Otherwise by errno.
Result<std::unique_ptr<Driver>> Open(const Config& config);

}  // namespace corten::snapshot::native
