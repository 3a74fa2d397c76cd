// Snapshots as directories joined by the kernel's overlay filesystem: containerd's `overlayfs`
// snapshotter.
//
//   <root>/metadata.db                   the rows (snapshot/meta_store.h)
//   <root>/snapshots/<id>/fs             what the snapshot adds to its parents, 0755, owner of the
//   parent's or of the id map's root <root>/snapshots/<id>/work           overlay's work directory,
//   0711, active snapshots only
//
// Mounts: without parents a bind of fs; a view of one parent a bind of the parent's fs; otherwise
//   overlay [uidmap=,gidmap=,][workdir=,upperdir=,]lowerdir=<nearest parent>:...[,mount_options]
// where mount_options are those configured, then `userxattr` (in a user namespace that needs it)
// and `index=off` (if the overlay module has that switch), unless the configuration names them.
//
// Threads and crash: snapshot/tree_store.h. Removed trees are deleted by Cleanup, or by Remove with
// sync_remove. Source: containerd 2.3 overlayfs snapshotter (storage.md 2, 3).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "snapshot/driver.h"

namespace corten::snapshot::overlay {

// Added to what Stat, Walk and Update answer when Config::upperdir_label is set; never stored.
inline constexpr std::string_view kUpperdirLabel = "containerd.io/snapshot/overlay.upperdir";

struct Config {
  std::string root;  // absolute; made if missing, 0700
  bool upperdir_label = false;
  bool sync_remove = false;  // Remove deletes the tree too
  bool slow_chown = false;   // clients may copy and chown where id-mapped mounts are missing
  std::vector<std::string> mount_options;  // for overlay mounts, e.g. "metacopy=on", "volatile"
  // Commit flushes the filesystem before the row, so that a power loss cannot leave a committed
  // layer with lost bytes. containerd does not; a kill of the daemon alone never needs it.
  bool sync_commit = false;
};

// kFailedPrecondition: the filesystem reports no file types in listings (xfs: made with ftype=0).
// kUnavailable: another process holds metadata.db. kInvalidArgument: root empty or relative.
// Otherwise by errno.
Result<std::unique_ptr<Driver>> Open(const Config& config);

// Whether the filesystem of `root` will do, with Open's error if not; makes `root` if it is
// missing, and nothing in it.
Status CheckFilesystem(const std::string& root);

}  // namespace corten::snapshot::overlay
