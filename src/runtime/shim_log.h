// Copies what shims write to the `log` fifos of their bundles to the daemon's own log.
//
// The daemon holds each fifo open for reading and writing, so that a shim can open it at any time
// and writing never fails for want of a reader. Nothing waits: what the target does not take at
// once is dropped, and counted. Threads: Watch and Forget from any thread; the copying runs on the
// loop thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>

#include "base/fd.h"
#include "runtime/bundle.h"
#include "runtime/keys.h"
#include "runtime/loop_thread.h"

namespace corten::runtime {

class ShimLogs {
 public:
  // `target` is borrowed.
  ShimLogs(LoopThread& loop, FdRef target) : loop_(loop), target_(target) {}
  // Opens the bundle's fifo. One that is watched already stays.
  Status Watch(const Bundle& bundle);
  // Copies what is left, then closes.
  void Forget(const TaskKey& key);
  // Closes all. On the loop thread.
  void Clear();
  uint64_t dropped_bytes() const { return dropped_; }

 private:
  void Copy(const TaskKey& key);

  LoopThread& loop_;
  const FdRef target_;
  std::map<TaskKey, Fd> fifos_;  // loop thread only
  std::atomic<uint64_t> dropped_{0};
};

}  // namespace corten::runtime
