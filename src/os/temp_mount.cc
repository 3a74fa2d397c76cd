#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/dir.h"
#include "os/mount.h"
#include "os/mount_options.h"

namespace corten::os {

Result<TempMount> TempMount::Create(const std::string& parent, std::vector<model::Mount> mounts) {
  std::string path = StrCat(parent, "/containerd-mountXXXXXX");
  if (mkdtemp(path.data()) == nullptr) return ErrnoError(errno, "make directory ", path);
  const Status mounted = MountList(WithoutVolatile(std::move(mounts)), path, {.temp_dir = parent});
  if (!mounted.ok()) {
    (void)rmdir(path.c_str());  // empty: nothing is mounted on it
    return mounted.error().Clone();
  }
  return TempMount(std::move(path));
}

TempMount::~TempMount() {
  if (path_.empty()) return;
  (void)UnmountRecursive(path_, MNT_DETACH);
  (void)rmdir(path_.c_str());  // fails if something is still mounted there, which is what we want
}

Status TempMount::Close() {
  if (path_.empty()) return Ok();
  TRY(UnmountRecursive(path_, 0));
  if (rmdir(path_.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "remove ", path_);
  path_.clear();
  return Ok();
}

Status WithTempMount(const std::string& parent, std::vector<model::Mount> mounts,
                     const std::function<Status(const std::string& path)>& body) {
  TempMount mount = TRY(TempMount::Create(parent, std::move(mounts)));
  Status result = body(mount.path());
  Status closed = mount.Close();
  return result.ok() ? std::move(closed) : std::move(result);
}

Status WithReadOnlyTempMount(const std::string& parent, std::vector<model::Mount> mounts,
                             const std::function<Status(const std::string& path)>& body) {
  return WithTempMount(parent, ReadOnlyMounts(std::move(mounts)), body);
}

Result<int> SweepTempMounts(const std::string& parent) {
  const Dir dir = TRY(Dir::Open(parent));
  const std::vector<std::string> names = TRY(dir.List());
  int removed = 0;
  for (const std::string& name : names) {
    if (!name.starts_with("containerd-mount") && !name.starts_with("ovl-idmapped")) continue;
    if (!UnmountRecursive(dir.Path(name), MNT_DETACH).ok()) continue;  // left for the next sweep
    if (rmdir(dir.Path(name).c_str()) == 0) ++removed;
  }
  return removed;
}

}  // namespace corten::os
