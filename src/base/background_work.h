// A stretch of work on the processor that nobody waits for by the millisecond.
#pragma once

#include <cstdint>

namespace corten {

// While it lives the calling thread lets whoever wakes up run at once: the kernel is told of a long
// time slice, and a waking thread with a shorter one need not wait for its end. The share of the
// processor stays the same. For work that only computes: a thread of a long slice that waits is
// late itself when it wakes. Before Linux 6.12 it changes little; a refusal changes nothing.
class BackgroundWork {
 public:
  BackgroundWork();
  ~BackgroundWork();  // on the same thread
  BackgroundWork(const BackgroundWork&) = delete;
  BackgroundWork& operator=(const BackgroundWork&) = delete;

 private:
  int32_t policy_;  // of before; -1: nothing was changed
};

}  // namespace corten
