#include "os/cgroup_join.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/dir.h"
#include "base/fd.h"
#include "os/mount_info.h"

namespace corten::os {

namespace {

constexpr size_t kMaxMountInfo = size_t{64} << 20;
constexpr size_t kMaxFile = 65536;
constexpr mode_t kGroupMode = 0755;

Status WriteFile(const std::string& path, std::string_view text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "open ", path);
  return WriteAll(fd, text, path);
}

// A new cpuset has neither processors nor memory nodes, and then nobody can enter it.
Status InheritCpuset(const std::string& parent, const std::string& group) {
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    const std::string own = TRY(ReadFileAt(StrCat(group, "/", file), kMaxFile));
    if (own.find_first_not_of(" \n") != std::string::npos) continue;
    const std::string above = TRY(ReadFileAt(StrCat(parent, "/", file), kMaxFile));
    TRY(WriteFile(StrCat(group, "/", file), above));
  }
  return Ok();
}

// Makes each missing directory of `path` below `mount_point`; returns the whole.
Result<std::string> MakeGroup(const std::string& mount_point, std::string_view path, bool cpuset) {
  std::string at = mount_point;
  while (!path.empty()) {
    const size_t end = path.find('/');
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    if (part.empty()) continue;
    const std::string above = at;
    at += StrCat("/", part);
    if (mkdir(at.c_str(), kGroupMode) != 0 && errno != EEXIST)
      return ErrnoError(errno, "make cgroup ", at);
    if (cpuset) TRY(InheritCpuset(above, at));
  }
  return at;
}

Status Enter(const std::string& group, pid_t pid) {
  Status written = WriteFile(StrCat(group, "/cgroup.procs"), StrCat(pid));
  return written.ok() ? std::move(written)
                      : std::move(written).TakeError().Context(StrCat("join cgroup ", group));
}

bool HasOption(std::string_view list, std::string_view word) {
  const std::string all = StrCat(",", list, ",");
  return all.find(StrCat(",", word, ",")) != std::string::npos;
}

}  // namespace

Status JoinCgroupOf(std::string_view path, std::string_view mounts, CgroupMode mode, pid_t pid) {
  if (path.empty() || StrCat("/", path, "/").find("/../") != std::string::npos)
    return InvalidArgumentError("cgroup path ", Quoted(path));
  if (mode == CgroupMode::kNone) return NotFoundError("cgroup ", path, ": no cgroups are mounted");
  const std::vector<MountEntry> table = TRY(ParseMountInfo(mounts));
  const std::string slash = path[0] == '/' ? "" : "/";
  bool joined = false;
  for (const MountEntry& mount : table) {
    if (mount.fs_type == "cgroup2") {
      const std::string group = StrCat(mount.mount_point, slash, path);
      const bool there = access(group.c_str(), F_OK) == 0;
      if (!there && mode == CgroupMode::kUnified) return NotFoundError("cgroup ", group);
      if (there) TRY(Enter(group, pid));
      joined = joined || there;
    } else if (mount.fs_type == "cgroup" && mode != CgroupMode::kUnified) {
      const std::string group =
          TRY(MakeGroup(mount.mount_point, path, HasOption(mount.super_options, "cpuset")));
      TRY(Enter(group, pid));
      joined = true;
    }
  }
  if (!joined) return NotFoundError("cgroup ", path, ": no cgroups are mounted");
  return Ok();
}

Status JoinCgroup(std::string_view path) {
  const std::string mounts = TRY(ReadFileAt("/proc/self/mountinfo", kMaxMountInfo));
  return JoinCgroupOf(path, mounts, DetectCgroupMode(), getpid());
}

}  // namespace corten::os
