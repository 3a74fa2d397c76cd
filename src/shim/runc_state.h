// What runc keeps of a container on disk, for the two steps that need nothing but that: letting a
// created init go on, and clearing away what is left of one that has ended. Each spares a runc
// process, which costs more than everything else in the step.
//
// Read accepts only what it knows to the last detail: the container's own record, written by runc
// for this very init, without hooks for these steps, cgroups that are plain directories. Whoever is
// refused calls runc, which then does the whole step itself: nothing is done here before it is
// certain, and what Remove has done when it stops half way runc's `delete` finds done.
//
// Threads: plain values, any thread; Remove touches the kernel's cgroup files and does not wait.
// Source: runc 1.1 to 1.3, state.json, exec.fifo and `runc delete`.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/dir.h"
#include "base/error.h"
#include "base/fd.h"

namespace corten::shim {

class RuncState {
 public:
  // Whether the runtime of this name keeps such records.
  static bool IsKeptBy(std::string_view binary);

  // The record of container `id` in `root` (state directory and namespace). kNotFound: there is
  // none. kFailedPrecondition: not one of init process `init`, or with something that only runc can
  // do. `cgroup_root` is a parameter for tests only.
  static Result<RuncState> Read(const std::string& root, const std::string& id, pid_t init,
                                const std::string& cgroup_root = "/sys/fs/cgroup");

  // The fifo at which the created init waits, open for reading without blocking: by being opened it
  // lets init go on, which writes a byte to it and becomes the container's program. To be removed
  // (RemoveFifo) when that byte was read. kFailedPrecondition: there are hooks to be run after the
  // start, or nobody waits.
  Result<Fd> OpenFifo() const;
  Status RemoveFifo() const { return dir_.Unlink(std::string(kFifo)); }

  // Removes the cgroups, then the record. REQUIRES: init and every process of its PID namespace
  // have ended. kFailedPrecondition: hooks to be run afterwards, or the PID namespace is not the
  // container's own; errors of rmdir(2), e.g. EBUSY.
  Status Remove() const;

 private:
  static constexpr std::string_view kFifo = "exec.fifo";

  Dir root_;
  Dir dir_;
  std::string id_;
  std::vector<std::string> cgroups_;
  bool poststart_hooks_ = false;
  bool poststop_hooks_ = false;
  bool private_pids_ = false;
};

}  // namespace corten::shim
