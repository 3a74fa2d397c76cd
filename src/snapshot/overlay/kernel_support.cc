#include "snapshot/overlay/kernel_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/kernel_version.h"
#include "os/idmap.h"
#include "os/mount.h"

namespace corten::snapshot::overlay {

Result<bool> ListsFileTypes(const Dir& dir) {
  const Fd fd = TRY(dir.OpenFile(".", O_RDONLY | O_DIRECTORY));
  alignas(dirent64) char buffer[1024];
  const long size = syscall(SYS_getdents64, fd.get(), buffer, sizeof(buffer));
  if (size <= 0) return ErrnoError(errno, "list ", dir.path());
  const auto* first = reinterpret_cast<const dirent64*>(
      buffer);  // "." or "..", or whatever stands there: all alike
  return first->d_type != DT_UNKNOWN;
}

bool HasIndexSwitch() { return access("/sys/module/overlay/parameters/index", F_OK) == 0; }

bool InUserNamespace() {
  const Result<std::string> map = ReadFileAt("/proc/self/uid_map", 4096);
  if (!map.ok()) return false;  // a kernel without user namespaces
  unsigned long inside = 0;
  unsigned long outside = 0;
  unsigned long count = 0;
  if (sscanf(map->c_str(), "%lu %lu %lu", &inside, &outside, &count) != 3) return true;
  return inside != 0 || outside != 0 ||
         count != 4294967295;  // all ids: the first namespace, user_namespaces(7)
}

bool NeedsUserXattr(const Dir& dir) {
  if (!InUserNamespace() || !KernelIsAtLeast(5, 11)) return false;
  const std::string probe = StrCat("new-probe-userxattr-", getpid());
  bool works = false;
  {
    const Result<Dir> made = dir.MakeDir(probe, 0700);
    if (!made.ok()) return false;
    for (const char* name : {"lower", "lower2", "upper", "work", "merged"}) {
      if (!made->MakeDir(name, 0755).ok()) break;  // the mount then fails
    }
    const model::Mount mount = {
        "overlay",
        "overlay",
        "",
        {StrCat("lowerdir=", made->Path("lower"), ":", made->Path("lower2")),
         StrCat("upperdir=", made->Path("upper")), StrCat("workdir=", made->Path("work")),
         "userxattr"}};
    works = os::MountOne(mount, made->Path("merged")).ok();
    if (works) (void)os::UnmountAll(made->Path("merged"), MNT_DETACH);
  }
  (void)dir.RemoveTree(probe);  // Cleanup takes the rest
  return works;
}

bool TakesIdMappedLayers(const Dir& dir) {
  if (!KernelIsAtLeast(5, 19)) return false;
  const std::vector<os::IdRange> map = {{0, 65534, 1}};
  const Result<Fd> user_namespace = os::MakeUserNamespace(map, map);
  if (!user_namespace.ok()) return false;
  return os::CloneIdMapped(dir.path(), *user_namespace, os::Access::kReadOnly)
      .ok();  // detached: gone when it is closed
}

}  // namespace corten::snapshot::overlay
