#include "os/mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>

#include "base/dir.h"
#include "base/spawn.h"
#include "os/idmap.h"
#include "os/loop_device.h"
#include "os/mount_info.h"
#include "os/mount_options.h"
#include "os/overlay_mount.h"

namespace corten::os {

namespace {

constexpr int kBusyAttempts = 50;
constexpr std::chrono::milliseconds kBusyPause(50);
constexpr size_t kPageReserve = 512;  // room that mount(2)'s page needs beside the data
constexpr std::chrono::seconds kFuseDeadline(30);

// What a remount of a bind can change; the rest belongs to the filesystem.
constexpr unsigned long kPerMountFlags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME |
                                         MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty()) out.push_back(',');
    out += word;
  }
  return out;
}

// Flags that a user namespace has locked on the mount below and that a remount must therefore
// repeat.
unsigned long LockedFlags(const std::string& target) {
  struct statfs info = {};
  if (statfs(target.c_str(), &info) != 0) return 0;
  unsigned long out = 0;
  const auto has = [&](long bit) { return (static_cast<long>(info.f_flags) & bit) != 0; };
  if (has(ST_RDONLY)) out |= MS_RDONLY;
  if (has(ST_NOSUID)) out |= MS_NOSUID;
  if (has(ST_NODEV)) out |= MS_NODEV;
  if (has(ST_NOEXEC)) out |= MS_NOEXEC;
  if (has(ST_NOATIME)) out |= MS_NOATIME;
  if (has(ST_NODIRATIME)) out |= MS_NODIRATIME;
  if (has(ST_RELATIME)) out |= MS_RELATIME;
  return out;
}

Status RemountBind(const std::string& target, unsigned long flags) {
  const unsigned long wanted = MS_REMOUNT | MS_BIND | (flags & kPerMountFlags);
  if (mount(nullptr, target.c_str(), nullptr, wanted, nullptr) == 0) return Ok();
  const int err = errno;
  if (err == EPERM &&
      mount(nullptr, target.c_str(), nullptr, wanted | LockedFlags(target), nullptr) == 0)
    return Ok();
  return ErrnoError(err, "remount ", target);
}

Status ApplyPropagation(const MountWords& words, const std::string& target) {
  for (const unsigned long flag : words.propagation) {
    if (mount(nullptr, target.c_str(), nullptr, flag, nullptr) != 0)
      return ErrnoError(errno, "set propagation of ", target);
  }
  return Ok();
}

Result<Fd> NamespaceOf(const MountWords& words) {
  const std::vector<IdRange> uids = TRY(ParseIdMap(words.uid_map));
  const std::vector<IdRange> gids = TRY(ParseIdMap(words.gid_map));
  return MakeUserNamespace(uids, gids);
}

// The real thing for everything that mount(2) takes in one call.
Status PlainMount(const model::Mount& mount_, const MountWords& words, const std::string& source,
                  const std::string& target) {
  const std::string data = Join(words.data);
  if (data.size() >= static_cast<size_t>(getpagesize()))
    return InvalidArgumentError("mount options is too long");
  if (mount(source.c_str(), target.c_str(), mount_.type.c_str(), words.flags, data.c_str()) != 0) {
    return ErrnoError(errno, "mount ", mount_.type, " on ", target);
  }
  return Ok();
}

Status MountBind(const model::Mount& mount_, const MountWords& words, const std::string& target) {
  if (!words.uid_map.empty()) {
    const Fd user_namespace = TRY(NamespaceOf(words));
    const Fd tree = TRY(CloneIdMapped(mount_.source, user_namespace, Access::kReadWrite));
    TRY(AttachMount(tree, target));
  } else if (mount(mount_.source.c_str(), target.c_str(), "bind", words.flags & (MS_BIND | MS_REC),
                   nullptr) != 0) {
    return ErrnoError(errno, "bind ", mount_.source, " on ", target);
  }
  if ((words.flags & kPerMountFlags & ~static_cast<unsigned long>(MS_RELATIME)) == 0) return Ok();
  Status remounted = RemountBind(target, words.flags);
  if (!remounted.ok())
    (void)umount2(target.c_str(), MNT_DETACH);  // an unprotected bind must not stay
  return remounted;
}

Status MountOverlayWords(const model::Mount& mount_, const MountWords& words,
                         const OverlayWords& overlay, const std::string& target) {
  const std::string data = Join(FormatOverlay(overlay));
  if (data.size() + kPageReserve < static_cast<size_t>(getpagesize())) {
    if (mount(mount_.source.c_str(), target.c_str(), "overlay", words.flags, data.c_str()) != 0) {
      return ErrnoError(errno, "mount overlay on ", target);
    }
    return Ok();
  }
  Status made = MountOverlayByParts(mount_.source, overlay, words.flags, target);
  if (made.ok() || !made.error().Is(Code::kUnimplemented)) return made;
  return MountOverlayFromCommonDirectory(mount_.source, overlay, words.flags, target);
}

// Lower directories seen through one id-mapped clone of their common directory. The clone's mount
// point is needed only until the overlay holds its own references.
Status MountIdMappedOverlay(const model::Mount& mount_, const MountWords& words,
                            OverlayWords overlay, const std::string& target,
                            const MountOptions& options) {
  const std::string common = CommonDirectory(overlay.lower);
  if (common.empty())
    return InvalidArgumentError("id-mapped overlay: the lower directories share no directory");
  const Fd user_namespace = TRY(NamespaceOf(words));
  const Fd clone = TRY(CloneIdMapped(common, user_namespace, Access::kReadOnly));
  std::string point = StrCat(options.temp_dir, "/ovl-idmappedXXXXXX");
  if (mkdtemp(point.data()) == nullptr) return ErrnoError(errno, "make directory ", point);
  Status made = AttachMount(clone, point);
  if (made.ok()) {
    for (std::string& lower : overlay.lower) lower = StrCat(point, lower.substr(common.size()));
    made = MountOverlayWords(mount_, words, overlay, target);
    (void)umount2(point.c_str(), MNT_DETACH);  // the overlay keeps what it needs
  }
  (void)rmdir(point.c_str());
  return made;
}

Status MountOverlay(const model::Mount& mount_, const MountWords& words, const std::string& target,
                    const MountOptions& options) {
  OverlayWords overlay = ParseOverlay(words.data);
  if (!words.uid_map.empty())
    return MountIdMappedOverlay(mount_, words, std::move(overlay), target, options);
  return MountOverlayWords(mount_, words, overlay, target);
}

Status MountFuse(const model::Mount& mount_, const std::string& target) {
  const size_t dot = mount_.type.find('.');
  const std::string program = StrCat("mount.", mount_.type.substr(0, dot));
  SpawnOptions spawn;
  spawn.args = {program, mount_.source, target};
  if (!mount_.options.empty()) {
    spawn.args.emplace_back("-o");
    spawn.args.push_back(Join(mount_.options));
  }
  spawn.args.emplace_back("-t");
  spawn.args.push_back(mount_.type.substr(dot + 1));
  const RunOutput output = TRY(RunProgram(spawn, "", kFuseDeadline));
  if (!output.status.ok())
    return UnknownError("mount ", mount_.type, " on ", target, ": ", output.err);
  return Ok();
}

Status MountDisk(const model::Mount& mount_, const MountWords& words, const std::string& target) {
  std::string source = mount_.source;
  std::optional<LoopDevice> device;
  if (words.loop) {
    device =
        TRY(AttachLoopDevice(mount_.source, {(words.flags & MS_RDONLY) != 0, words.direct_io}));
    source = device->path;
  }
  TRY(PlainMount(mount_, words, source, target));
  if (words.uid_map.empty()) return Ok();
  // Map what was just mounted: clone it mapped, take the plain one away, attach the clone.
  const Status mapped = [&]() -> Status {
    const Fd user_namespace = TRY(NamespaceOf(words));
    const Fd tree = TRY(CloneIdMapped(target, user_namespace, Access::kReadWrite));
    if (umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
      return ErrnoError(errno, "replace mount ", target);
    return AttachMount(tree, target);
  }();
  if (!mapped.ok()) (void)umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  if (!mapped.ok()) return mapped.error().Clone();
  return Ok();
}

Status UnmountOnce(const std::string& target, int flags, bool* was_mounted) {
  *was_mounted = true;
  for (int attempt = 0;; ++attempt) {
    if (umount2(target.c_str(), flags | UMOUNT_NOFOLLOW) == 0) return Ok();
    if (errno == EINVAL) {
      *was_mounted = false;
      return Ok();
    }
    if (errno != EBUSY || attempt >= kBusyAttempts) return ErrnoError(errno, "unmount ", target);
    std::this_thread::sleep_for(kBusyPause);  // a process that is just ending still holds it
  }
}

// The directory that mount.target names below `target`, as a path that cannot be redirected.
struct Place {
  Fd fd;
  std::string path;
};
Result<Place> PlaceOf(const model::Mount& mount_, const std::string& target) {
  Place place;
  place.path = target;
  if (mount_.target.empty() || mount_.target == "/") return place;
  const Dir root = TRY(Dir::Open(target));
  place.fd = TRY(root.OpenInRoot(mount_.target, O_PATH));
  // The descriptor's path is inside the root at this moment; mounting on it by number could not be
  // undone by path.
  char buffer[4096];
  const ssize_t size =
      readlink(StrCat("/proc/self/fd/", place.fd.get()).c_str(), buffer, sizeof(buffer));
  if (size < 0 || static_cast<size_t>(size) == sizeof(buffer))
    return ErrnoError(errno, "resolve ", mount_.target);
  place.path.assign(buffer, static_cast<size_t>(size));
  return place;
}

}  // namespace

Status MountOne(const model::Mount& mount_, const std::string& target,
                const MountOptions& options) {
  const MountWords words = TRY(ParseMountOptions(mount_.options));
  const Place place = TRY(PlaceOf(mount_, target));
  if (mount_.type.starts_with("fuse.") || mount_.type.starts_with("fuse3.")) {
    TRY(MountFuse(mount_, place.path));
  } else if ((words.flags & MS_REMOUNT) != 0) {
    TRY(PlainMount(mount_, words, mount_.source, place.path));
  } else if ((words.flags & MS_BIND) != 0) {
    TRY(MountBind(mount_, words, place.path));
  } else if (mount_.type == "overlay") {
    TRY(MountOverlay(mount_, words, place.path, options));
  } else {
    TRY(MountDisk(mount_, words, place.path));
  }
  Status propagated = ApplyPropagation(words, place.path);
  if (!propagated.ok()) (void)umount2(place.path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  return propagated;
}

Status MountList(std::span<const model::Mount> mounts, const std::string& target,
                 const MountOptions& options) {
  for (size_t i = 0; i < mounts.size(); ++i) {
    Status made = MountOne(mounts[i], target, options);
    if (made.ok()) continue;
    // In reverse, one layer each: a target may carry older mounts that are not ours.
    for (size_t done = i; done > 0; --done) {
      const Result<Place> place = PlaceOf(mounts[done - 1], target);
      if (place.ok()) (void)umount2(place->path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    return made;
  }
  return Ok();
}

Status Unmount(const std::string& target, int flags) {
  bool was_mounted = false;
  Status done = UnmountOnce(target, flags, &was_mounted);
  if (done.ok() || done.error().sys_errno() != EPERM) return done;
  // Without privileges a FUSE mount can be given back by its setuid program only.
  for (const char* program : {"fusermount3", "fusermount"}) {
    SpawnOptions spawn;
    spawn.args = {program, "-u", target};
    const Result<RunOutput> output = RunProgram(spawn, "", kFuseDeadline);
    if (output.ok() && output->status.ok()) return Ok();
  }
  return done;
}

Status UnmountAll(const std::string& target, int flags) {
  while (true) {
    bool was_mounted = false;
    Status done = UnmountOnce(target, flags, &was_mounted);
    if (!done.ok()) return done.error().Is(Code::kNotFound) ? Ok() : std::move(done);
    if (!was_mounted) return Ok();
  }
}

Status UnmountRecursive(const std::string& target, int flags) {
  // The table speaks of real paths.
  char* real = realpath(target.c_str(), nullptr);
  if (real == nullptr)
    return errno == ENOENT ? Ok() : Status(ErrnoError(errno, "unmount ", target));
  const std::string path(real);
  free(real);
  const std::vector<MountEntry> all = TRY(ReadMountInfo());
  std::vector<MountEntry> entries = MountsAtOrBelow(all, path);
  std::sort(entries.begin(), entries.end(), [](const MountEntry& a, const MountEntry& b) {
    return a.mount_point.size() > b.mount_point.size();
  });
  for (const MountEntry& entry : entries) {
    Status done = UnmountAll(entry.mount_point, flags);
    if (!done.ok() && entry.mount_point == path) return done;
  }
  return Ok();
}

MountGuard& MountGuard::operator=(MountGuard&& other) noexcept {
  if (this != &other) {
    if (!target_.empty()) (void)UnmountAll(target_, MNT_DETACH);
    target_ = std::move(other.target_);
    other.target_.clear();
  }
  return *this;
}

MountGuard::~MountGuard() {
  if (!target_.empty()) (void)UnmountAll(target_, MNT_DETACH);
}

Status MountGuard::Unmount(int flags) {
  if (target_.empty()) return Ok();
  TRY(UnmountAll(target_, flags));
  target_.clear();
  return Ok();
}

std::string MountGuard::release() {
  std::string out = std::move(target_);
  target_.clear();
  return out;
}

}  // namespace corten::os
