// Control groups: where a process is, what it has used, whether it is frozen, when it ran out of
// memory.
//
// Mode: a machine counts as unified only if /sys/fs/cgroup itself is cgroup2; hybrid machines (v1
// controllers and a cgroup2 beside them) are read through the v1 files, as containerd does. A
// process's cgroup is taken from /proc/PID/cgroup while it lives; afterwards the paths stay valid
// until the runtime removes the directories.
//
// Threads: plain values and functions, any thread; they read small kernel files and do not wait,
// except RemoveTree. Source: cgroups(7), kernel documentation cgroup-v1 and cgroup-v2; metrics as
// containerd 2.3 reports them.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace corten::os {

enum class CgroupMode { kNone, kLegacy, kHybrid, kUnified };
// `root` is a parameter for tests only.
CgroupMode DetectCgroupMode(const std::string& root = "/sys/fs/cgroup");

// One process's place in all hierarchies, as absolute directories.
struct CgroupPlace {
  bool unified = false;  // read through v2 files
  std::string v2_dir;    // its directory in cgroup2, if one is mounted
  std::map<std::string, std::string, std::less<>>
      v1_dirs;  // by controller: "memory" -> "/sys/fs/cgroup/memory/ns/id"
  bool empty() const { return v2_dir.empty() && v1_dirs.empty(); }
  // The directory of a v1 controller; "" if there is none.
  std::string V1(std::string_view controller) const;
};

// Parses /proc/PID/cgroup and a mount table. `mounts` is the text of a mountinfo file.
Result<CgroupPlace> ParseCgroupPlace(std::string_view proc_cgroup, std::string_view mounts,
                                     CgroupMode mode);
// kNotFound: no such process.
Result<CgroupPlace> CgroupOfProcess(pid_t pid);

// The same for many processes: mode and mount table are read once, by Create. Immutable.
class CgroupLocator {
 public:
  static Result<CgroupLocator> Create();
  // kNotFound: no such process, or it has ended and is not reaped yet (v1 shows those at the root).
  Result<CgroupPlace> Of(pid_t pid) const;

 private:
  CgroupLocator(CgroupMode mode, std::string mounts) : mode_(mode), mounts_(std::move(mounts)) {}
  CgroupMode mode_;
  std::string mounts_;  // the lines of mountinfo that are about cgroups
};

// Every process in the cgroup and below it, unsorted, each once. kNotFound when the cgroup is gone.
Result<std::vector<pid_t>> CgroupProcesses(const CgroupPlace& place);

enum class FreezeState { kThawed, kFreezing, kFrozen };
Result<FreezeState> ReadFreezeState(const CgroupPlace& place);

// SIGKILL to every process of the cgroup and below: cgroup.kill where the kernel has it, else one
// by one until none is left or 100 rounds have passed (kDeadlineExceeded). A cgroup that is gone is
// success.
Status KillCgroup(const CgroupPlace& place);

// Removes the cgroup directories with everything below (they must hold no process). Gone already is
// success.
Status RemoveCgroup(const CgroupPlace& place);

// Makes all controllers of the cgroup2 root available down to the parent of `place`. What the
// kernel refuses is left out; the first refusal is returned after all was tried.
Status EnableControllers(const CgroupPlace& place);

// Counts how often the kernel killed for want of memory, and tells when that changes.
class OomWatch {
 public:
  // kUnimplemented: no memory controller for this place.
  static Result<OomWatch> Create(const CgroupPlace& place);
  OomWatch(OomWatch&&) noexcept = default;
  OomWatch& operator=(OomWatch&&) noexcept = default;
  // Readable when it may be time to call Check.
  FdRef fd() const { return notify_; }
  // Whether processes were killed since the last call. Call it once more after the last process has
  // ended: the notification may come later than the exit.
  bool Check();

 private:
  OomWatch() = default;
  uint64_t ReadKills() const;
  Fd notify_;   // eventfd (v1) or inotify (v2)
  Fd control_;  // v1: memory.oom_control, which must stay open
  bool unified_ = false;
  std::string counter_file_;
  uint64_t kills_ = 0;
};

}  // namespace corten::os
