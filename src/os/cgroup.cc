#include "os/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <set>
#include <thread>

#include "base/dir.h"
#include "os/cgroup_metrics.h"
#include "os/mount_info.h"

namespace corten::os {

namespace {

constexpr long kCgroup2Magic = 0x63677270;  // linux/magic.h
constexpr long kTmpfsMagic = 0x01021994;
constexpr size_t kMaxFile = size_t{4} << 20;
constexpr size_t kMaxMountInfo = size_t{64} << 20;
constexpr int kKillRounds = 100;
constexpr std::chrono::milliseconds kKillPause(10);

bool IsFilesystem(const std::string& path, long magic) {
  struct statfs info = {};
  return statfs(path.c_str(), &info) == 0 && info.f_type == magic;
}

template <typename F>
void ForEachLine(std::string_view text, F f) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (!line.empty()) f(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

template <typename F>
void ForEachPart(std::string_view text, char separator, F f) {
  while (true) {
    const size_t end = text.find(separator);
    f(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

bool HasWord(std::string_view list, std::string_view word) {
  bool found = false;
  ForEachPart(list, ',', [&](std::string_view part) { found = found || part == word; });
  return found;
}

// Where `path` of a hierarchy appears below one of its mounts; "" if it lies outside of what is
// mounted.
std::string Below(const MountEntry& mount, std::string_view path) {
  if (path.starts_with("/..")) return "";
  if (mount.root != "/") {
    if (!path.starts_with(mount.root)) return "";
    path.remove_prefix(mount.root.size());
    if (!path.empty() && path[0] != '/') return "";
  }
  if (path == "/") path = "";
  return StrCat(mount.mount_point, path);
}

// crun with systemd puts processes in `X.scope/container`; limits and counters stand in the scope.
std::string WithoutSubgroup(std::string dir) {
  constexpr std::string_view kSubgroup = "/container";
  if (!dir.ends_with(kSubgroup)) return dir;
  std::string parent = dir.substr(0, dir.size() - kSubgroup.size());
  return parent.ends_with(".scope") ? parent : dir;
}

// The directory whose process list is read: v2, or any v1 hierarchy that the runtime surely uses.
std::string ListDir(const CgroupPlace& place) {
  if (place.unified) return place.v2_dir;
  for (const char* controller : {"freezer", "devices", "pids", "memory", "name=systemd"}) {
    if (std::string dir = place.V1(controller); !dir.empty()) return dir;
  }
  return place.v1_dirs.empty() ? place.v2_dir : place.v1_dirs.begin()->second;
}

struct DirCloser {
  void operator()(DIR* dir) const { (void)closedir(dir); }
};

// Calls f(directory) for `dir` and all below it, children first.
template <typename F>
Status Walk(const std::string& dir, int depth, F f) {
  constexpr int kMaxDepth = 64;  // cgroup hierarchies are far flatter
  if (depth > kMaxDepth) return ResourceExhaustedError("cgroup ", dir, ": too deep");
  {
    const std::unique_ptr<DIR, DirCloser> stream(opendir(dir.c_str()));
    if (stream == nullptr) return ErrnoError(errno, "open ", dir);
    while (const struct dirent* entry = readdir(stream.get())) {
      if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
      Status below = Walk(StrCat(dir, "/", static_cast<const char*>(entry->d_name)), depth + 1, f);
      if (!below.ok() && !below.error().Is(Code::kNotFound)) return below;
    }
  }
  return f(dir);
}

std::string Trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

CgroupMode DetectCgroupMode(const std::string& root) {
  if (IsFilesystem(root, kCgroup2Magic)) return CgroupMode::kUnified;
  if (IsFilesystem(StrCat(root, "/unified"), kCgroup2Magic)) return CgroupMode::kHybrid;
  return IsFilesystem(root, kTmpfsMagic) ? CgroupMode::kLegacy : CgroupMode::kNone;
}

std::string CgroupPlace::V1(std::string_view controller) const {
  const auto found = v1_dirs.find(controller);
  return found == v1_dirs.end() ? "" : found->second;
}

namespace {
// Few of the lines are about cgroups, and a busy machine has thousands.
std::string CgroupLines(std::string_view mounts) {
  std::string relevant;
  ForEachLine(mounts, [&](std::string_view line) {
    if (line.find(" - cgroup") != std::string_view::npos) relevant += StrCat(line, "\n");
  });
  return relevant;
}
}  // namespace

Result<CgroupPlace> ParseCgroupPlace(std::string_view proc_cgroup, std::string_view mounts,
                                     CgroupMode mode) {
  const std::vector<MountEntry> table = TRY(ParseMountInfo(CgroupLines(mounts)));
  CgroupPlace place;
  place.unified = mode == CgroupMode::kUnified;
  ForEachLine(proc_cgroup, [&](std::string_view line) {
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) return;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string_view path = line.substr(second + 1);
    for (const MountEntry& mount : table) {
      if (controllers.empty()) {
        if (mount.fs_type == "cgroup2" && place.v2_dir.empty())
          place.v2_dir = WithoutSubgroup(Below(mount, path));
        continue;
      }
      ForEachPart(controllers, ',', [&](std::string_view controller) {
        if (mount.fs_type != "cgroup" || !HasWord(mount.super_options, controller)) return;
        std::string dir = WithoutSubgroup(Below(mount, path));
        if (!dir.empty()) place.v1_dirs.try_emplace(std::string(controller), std::move(dir));
      });
    }
  });
  return place;
}

Result<CgroupPlace> CgroupOfProcess(pid_t pid) {
  const std::string own = TRY(ReadFileAt(StrCat("/proc/", pid, "/cgroup"), kMaxFile));
  const std::string mounts = TRY(ReadFileAt("/proc/self/mountinfo", kMaxMountInfo));
  return ParseCgroupPlace(own, mounts, DetectCgroupMode());
}

Result<CgroupLocator> CgroupLocator::Create() {
  const std::string mounts = TRY(ReadFileAt("/proc/self/mountinfo", kMaxMountInfo));
  return CgroupLocator(DetectCgroupMode(), CgroupLines(mounts));
}

Result<CgroupPlace> CgroupLocator::Of(pid_t pid) const {
  const std::string own = TRY(ReadFileAt(StrCat("/proc/", pid, "/cgroup"), kMaxFile));
  // Asked afterwards: who lives now lived when the cgroup was read. `PID (NAME) STATE ...`,
  // proc(5).
  const std::string stat = TRY(ReadFileAt(StrCat("/proc/", pid, "/stat"), kMaxFile));
  const size_t name_end = stat.rfind(") ");
  const char state = name_end == std::string::npos ? 'X' : stat[name_end + 2];
  if (state == 'Z' || state == 'X') return NotFoundError("process ", pid);
  return ParseCgroupPlace(own, mounts_, mode_);
}

Result<std::vector<pid_t>> CgroupProcesses(const CgroupPlace& place) {
  std::set<pid_t> found;
  const std::string top = ListDir(place);
  if (top.empty()) return NotFoundError("cgroup");
  TRY(Walk(top, 0, [&](const std::string& dir) -> Status {
    const Result<std::string> text = ReadFileAt(StrCat(dir, "/cgroup.procs"), kMaxFile);
    // EOPNOTSUPP: a threaded cgroup lists its processes in the domain above it.
    if (!text.ok())
      return text.error().sys_errno() == EOPNOTSUPP ? Ok() : Status(text.error().Clone());
    ForEachLine(*text, [&](std::string_view line) {
      uint64_t pid = 0;
      if (ParseU64(line, &pid)) found.insert(static_cast<pid_t>(pid));
    });
    return Ok();
  }));
  return std::vector<pid_t>(found.begin(), found.end());
}

Result<FreezeState> ReadFreezeState(const CgroupPlace& place) {
  if (place.unified) {
    const std::string events = TRY(ReadFileAt(StrCat(place.v2_dir, "/cgroup.events"), kMaxFile));
    if (FlatFigures(events).Get("frozen") == 1) return FreezeState::kFrozen;
    const std::string wanted = TRY(ReadFileAt(StrCat(place.v2_dir, "/cgroup.freeze"), kMaxFile));
    return Trimmed(wanted) == "1" ? FreezeState::kFreezing : FreezeState::kThawed;
  }
  const std::string dir = place.V1("freezer");
  if (dir.empty()) return FreezeState::kThawed;
  const std::string text = TRY(ReadFileAt(StrCat(dir, "/freezer.state"), kMaxFile));
  const std::string state = Trimmed(text);
  if (state == "FROZEN") return FreezeState::kFrozen;
  return state == "FREEZING" ? FreezeState::kFreezing : FreezeState::kThawed;
}

Status KillCgroup(const CgroupPlace& place) {
  if (place.unified) {
    const Fd kill(open(StrCat(place.v2_dir, "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
    if (kill.valid() && WriteAll(kill, "1", "cgroup.kill").ok()) return Ok();
  }
  for (int round = 0; round < kKillRounds; ++round) {
    const Result<std::vector<pid_t>> pids = CgroupProcesses(place);
    if (!pids.ok()) return pids.error().Is(Code::kNotFound) ? Ok() : Status(pids.error().Clone());
    if (pids->empty()) return Ok();
    for (const pid_t pid : *pids) (void)::kill(pid, SIGKILL);  // gone meanwhile is fine
    std::this_thread::sleep_for(kKillPause);
  }
  return DeadlineExceededError("cgroup: processes survive SIGKILL");
}

Status RemoveCgroup(const CgroupPlace& place) {
  std::set<std::string> dirs;
  for (const auto& [controller, dir] : place.v1_dirs) dirs.insert(dir);
  if (!place.v2_dir.empty()) dirs.insert(place.v2_dir);
  std::vector<Error> errors;
  for (const std::string& top : dirs) {
    Status removed = Walk(top, 0, [](const std::string& dir) -> Status {
      if (rmdir(dir.c_str()) != 0 && errno != ENOENT)
        return ErrnoError(errno, "remove cgroup ", dir);
      return Ok();
    });
    if (!removed.ok() && !removed.error().Is(Code::kNotFound))
      errors.push_back(removed.error().Clone());
  }
  if (!errors.empty()) return std::move(errors.front());
  return Ok();
}

Status EnableControllers(const CgroupPlace& place) {
  if (!place.unified) return Ok();
  constexpr std::string_view kRoot = "/sys/fs/cgroup";
  if (!place.v2_dir.starts_with(kRoot)) return Ok();
  const std::string text = TRY(ReadFileAt(StrCat(kRoot, "/cgroup.controllers"), kMaxFile));
  const std::string controllers = Trimmed(text);
  if (controllers.empty()) return Ok();
  Status first;
  size_t end = kRoot.size();
  while (end < place.v2_dir.size()) {
    const std::string file = StrCat(place.v2_dir.substr(0, end), "/cgroup.subtree_control");
    ForEachPart(controllers, ' ', [&](std::string_view controller) {
      const Fd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
      Status written = fd.valid() ? WriteAll(fd, StrCat("+", controller), file)
                                  : Status(ErrnoError(errno, "open ", file));
      if (!written.ok() && first.ok()) first = std::move(written);
    });
    const size_t next = place.v2_dir.find('/', end + 1);
    if (next == std::string::npos) break;
    end = next;
  }
  return first;
}

Result<OomWatch> OomWatch::Create(const CgroupPlace& place) {
  OomWatch watch;
  watch.unified_ = place.unified;
  if (place.unified) {
    watch.counter_file_ = StrCat(place.v2_dir, "/memory.events");
    watch.notify_ = Fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!watch.notify_.valid()) return ErrnoError(errno, "watch memory events");
    if (inotify_add_watch(watch.notify_.get(), watch.counter_file_.c_str(), IN_MODIFY) < 0) {
      if (errno == ENOENT) return UnimplementedError("memory events: no memory controller");
      return ErrnoError(errno, "watch memory events");
    }
    // The last change comes when the cgroup empties; missing on a kernel without it is no loss.
    (void)inotify_add_watch(watch.notify_.get(), StrCat(place.v2_dir, "/cgroup.events").c_str(),
                            IN_MODIFY);
  } else {
    const std::string dir = place.V1("memory");
    if (dir.empty()) return UnimplementedError("memory events: no memory controller");
    watch.counter_file_ = StrCat(dir, "/memory.oom_control");
    watch.control_ = Fd(open(watch.counter_file_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!watch.control_.valid()) return ErrnoError(errno, "open ", watch.counter_file_);
    watch.notify_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!watch.notify_.valid()) return ErrnoError(errno, "watch memory events");
    const std::string registrar = StrCat(dir, "/cgroup.event_control");
    const Fd control(open(registrar.c_str(), O_WRONLY | O_CLOEXEC));
    if (!control.valid()) return ErrnoError(errno, "open ", registrar);
    TRY(WriteAll(control, StrCat(watch.notify_.get(), " ", watch.control_.get()), registrar));
  }
  watch.kills_ = watch.ReadKills();
  return watch;
}

uint64_t OomWatch::ReadKills() const {
  const Result<std::string> text = ReadFileAt(counter_file_, kMaxFile);
  return text.ok() ? FlatFigures(*text).Get("oom_kill") : 0;
}

bool OomWatch::Check() {
  char buffer[4096];
  bool signalled = false;
  while (read(notify_.get(), buffer, sizeof(buffer)) > 0) signalled = true;
  const uint64_t kills = ReadKills();
  if (kills > kills_) {
    kills_ = kills;
    return true;
  }
  // v1 also signals the removal of the cgroup, so a signal counts only while the file still reads.
  // Kernels before 4.13 have no counter in it; there the signal is all there is.
  if (unified_ || !signalled) return false;
  const Result<std::string> text = ReadFileAt(counter_file_, kMaxFile);
  return text.ok() && text->find("oom_kill ") == std::string::npos;
}

}  // namespace corten::os
