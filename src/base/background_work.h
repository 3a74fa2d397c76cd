// A stretch of work on the processor that nobody waits for by the millisecond.
#pragma once

#include <chrono>
#include <cstdint>

namespace corten {

// While it lives the calling thread is ready to step aside for whoever wakes up on its processor:
// the work calls LetOthersRun as it goes, and a thread that waits for its turn gets it then.
// Without those calls it would wait for the end of a time slice, which the kernel ends at a timer's
// tick (4 ms): so long a group of threads that wake each other stands still. The slice is short, so
// that stepping aside costs little of the processor's share. A refusal of the kernel changes
// nothing. Source: sched_setattr(2), sched_yield(2).
class BackgroundWork {
 public:
  BackgroundWork();
  ~BackgroundWork();  // on the same thread
  BackgroundWork(const BackgroundWork&) = delete;
  BackgroundWork& operator=(const BackgroundWork&) = delete;

  // On the same thread, after each step of the work that takes some microseconds or more. Gives way
  // at most every kTurn; looks at the clock otherwise.
  void LetOthersRun();
  // The same after a step of less than that: costs nearly nothing.
  void LetOthersRunNowAndThen() {
    if (++calls_ % kCallsPerLook == 0) LetOthersRun();
  }
  static constexpr std::chrono::microseconds kTurn{200};

 private:
  static constexpr uint32_t kCallsPerLook = 16;
  int32_t policy_;  // of before; -1: nothing was changed
  uint32_t calls_ = 0;
  std::chrono::steady_clock::time_point turn_begin_ = std::chrono::steady_clock::now();
};

}  // namespace corten
