// Carrying out mounts, and taking them away again.
//
// A mount list is applied in order on one target; each element's own `target` is a path below that
// target and is resolved inside it (openat2, no way out). Types: whatever the kernel knows, "bind"
// through its option, `fuse.X` and `fuse3.X` through the mount.fuse program. Options:
// os/mount_options.h.
//
// Overlay: option strings that do not fit a page go through fsopen/fsconfig, one call per lower
// directory; kernels without that get paths relative to the common directory, mounted from a thread
// that stands there. Id maps: `uidmap=`/`gidmap=` make an idmapped mount (bind and disk filesystems
// directly; for overlay the lower directories are read through one idmapped, read-only clone of
// their common directory).
//
// Threads: all functions may be called at once from several threads; all may block in the kernel,
// so a loop thread calls them only for local filesystems. Crash: a mount is there or not; temp
// mounts leave `containerd-mount*` directories, which SweepTempMounts removes. Source: mount(2),
// mount_setattr(2), kernel overlayfs documentation; containerd 2.3 mount objects.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/mount.h"

namespace corten::os {

struct MountOptions {
  // Where short-lived mount points are made (idmapped clones). Must exist; unused without id maps.
  std::string temp_dir = "/tmp";
};

// Applies one mount on `target`, an existing directory (or file, for binds).
// Errors: kInvalidArgument (bad options, `mount options is too long`), else by errno. On error
// nothing is left mounted.
Status MountOne(const model::Mount& mount, const std::string& target,
                const MountOptions& options = {});

// Applies all in order. On error those already applied are unmounted again, and the first error is
// returned.
Status MountList(std::span<const model::Mount> mounts, const std::string& target,
                 const MountOptions& options = {});

// Removes the topmost mount at `target`. `flags` as umount2(2) (MNT_DETACH, MNT_FORCE); the target
// itself is never followed if it is a link. Not mounted is success. EBUSY is tried again for 2.5 s,
// then returned (kUnknown).
Status Unmount(const std::string& target, int flags);
// Removes every mount stacked at `target`. Missing path is success.
Status UnmountAll(const std::string& target, int flags);
// Removes every mount at and below `target`, deepest first. Missing path is success. A mount below
// that cannot be removed does not stop the others; the mount at `target` itself decides the result.
Status UnmountRecursive(const std::string& target, int flags);

// Owns a mount at a path. The destructor detaches it (MNT_DETACH: never waits) and drops the error.
class MountGuard {
 public:
  MountGuard() = default;
  explicit MountGuard(std::string target) : target_(std::move(target)) {}
  MountGuard(MountGuard&& other) noexcept : target_(std::move(other.target_)) {
    other.target_.clear();
  }
  MountGuard& operator=(MountGuard&& other) noexcept;
  ~MountGuard();
  const std::string& target() const { return target_; }  // empty: owns nothing
  // Unmounts everything at the target. The guard stays owner on error.
  Status Unmount(int flags = 0);
  // Gives the mount away. Returns the target.
  [[nodiscard]] std::string release();

 private:
  std::string target_;
};

// A mount list on a fresh `containerd-mount*` directory below `parent`, for a look or an unpack.
// Close unmounts and removes the directory with rmdir only: if an unmount failed, nothing below it
// is ever deleted.
class TempMount {
 public:
  // `volatile` is dropped from overlays. kInvalidArgument, or by errno; on error nothing is left.
  static Result<TempMount> Create(const std::string& parent, std::vector<model::Mount> mounts);
  TempMount(TempMount&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  TempMount& operator=(TempMount&&) = delete;
  ~TempMount();  // Close with MNT_DETACH, error dropped
  const std::string& path() const { return path_; }
  Status Close();

 private:
  explicit TempMount(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Runs `body` with the mounts applied on a temp directory below `parent`; unmounts afterwards in
// any case. Returns body's error first, else the unmount's.
Status WithTempMount(const std::string& parent, std::vector<model::Mount> mounts,
                     const std::function<Status(const std::string& path)>& body);
// The same over ReadOnlyMounts(mounts).
Status WithReadOnlyTempMount(const std::string& parent, std::vector<model::Mount> mounts,
                             const std::function<Status(const std::string& path)>& body);

// Unmounts and removes what a killed process left below `parent`: entries named `containerd-mount*`
// and `ovl-idmapped*`. Returns the number removed. An entry that resists is left and not an error.
Result<int> SweepTempMounts(const std::string& parent);

}  // namespace corten::os
