// Taking over after a restart: every bundle on disk becomes a task again or disappears.
//
// For each bundle, all in parallel, each with one deadline (Tasks::Settings::load_deadline):
//   no container row ............. dead
//   nobody listens ............... dead
//   listens, has the task ........ adopted with the state the shim tells; a stopped task keeps its
//   exit until Delete listens, no such task ........ shut down and removed, unless a sandbox of
//   that id exists listens, does not answer ..... adopted in doubt: its state is asked for again; a
//   frozen shim still has containers
// Dead means: `delete` runs, one exit and one delete event are published, rootfs unmounted, bundle
// removed. Bundles made by containerd with its own shim, or any v2 shim, are treated alike. Crash:
// idempotent. Failpoints: runtime.recover.{begin,connected,deleted,told,removed,adopted}. Source:
// ARCHITECTURE, restart recovery; runtime.md 7.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace corten::runtime {

struct RecoveryReport {
  size_t adopted = 0;
  size_t stopped = 0;   // of those, already exited
  size_t doubtful = 0;  // of those, shim did not answer in time
  size_t dead = 0;
  size_t leftover = 0;                // live shims without a task, shut down
  size_t swept = 0;                   // hidden and orphaned directories
  std::vector<std::string> troubles;  // one line each, for the log
};

}  // namespace corten::runtime
