// Who has ended: the one place of the shim that waits for processes.
//
// The shim is a sub-reaper: runtime children, container processes and orphans of containers all end
// as its zombies. A process that matters is watched by pidfd; SIGCHLD only brings in orphans nobody
// watches. While a Hold exists no orphan is collected, because it may turn out to be the process
// whose pid a running `runc create` is about to report: its zombie keeps pid and status until it is
// watched.
//
// Threads: loop thread only.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <unordered_map>

#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/spawn.h"

namespace corten::shim {

class Reaper {
 public:
  using ExitHandler = std::function<void(ExitStatus status)>;

  explicit Reaper(Loop& loop) : loop_(loop) {}
  ~Reaper();
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // Calls `handler` once when process `pid` has ended and been reaped. `pidfd` stays open until
  // then; signals go through Kill. A process that has ended already is reported in the next round.
  Status Watch(pid_t pid, Fd pidfd, ExitHandler handler);
  // Watches a process by number; safe while a Hold has kept its number from being reused.
  // kNotFound: no such process.
  Status WatchPid(pid_t pid, ExitHandler handler);
  // Stops reporting `pid`; it is still reaped.
  void Forget(pid_t pid);
  // kNotFound `process already finished` unless `pid` is watched and alive.
  Status Kill(pid_t pid, int signal) const;

  // Keeps orphans from being collected. Counted.
  class Hold {
   public:
    explicit Hold(Reaper* reaper) : reaper_(reaper) { ++reaper_->holds_; }
    Hold(Hold&& other) noexcept : reaper_(std::exchange(other.reaper_, nullptr)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (reaper_ != nullptr && --reaper_->holds_ == 0) reaper_->Sweep();
    }

   private:
    Reaper* reaper_;
  };

  // Collects orphans that have ended. For SIGCHLD.
  void Sweep();

 private:
  struct Watched {
    Fd pidfd;
    ExitHandler handler;
  };
  void OnReadable(pid_t pid);

  Loop& loop_;
  std::unordered_map<pid_t, Watched> watched_;
  int holds_ = 0;
};

}  // namespace corten::shim
