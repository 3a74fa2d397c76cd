#include "base/background_work.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace corten {

namespace {

// The kernel's struct sched_attr, as of its first version; the C library has none. sched_setattr(2)
struct SchedAttributes {
  uint32_t size = sizeof(SchedAttributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;  // of a thread that is not real-time: its slice; 0: the usual one
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};

// Shorter than the usual one: who steps aside is put back by as much.
constexpr uint64_t kSliceNs = 500'000;

bool SetSlice(int32_t policy, uint64_t slice_ns) {
  SchedAttributes attributes;
  attributes.policy = static_cast<uint32_t>(policy);
  errno = 0;
  attributes.nice = getpriority(PRIO_PROCESS, 0);  // of this thread; -1 is a value too
  if (errno != 0) return false;
  attributes.runtime_ns = slice_ns;
  return syscall(SYS_sched_setattr, 0, &attributes, 0U) == 0;
}

}  // namespace

BackgroundWork::BackgroundWork() : policy_(sched_getscheduler(0)) {
  // A thread that somebody has made anything but ordinary stays as it is.
  if (policy_ != SCHED_OTHER || !SetSlice(SCHED_BATCH, kSliceNs)) policy_ = -1;
}

BackgroundWork::~BackgroundWork() {
  if (policy_ >= 0) (void)SetSlice(policy_, 0);  // what was allowed before is allowed again
}

void BackgroundWork::LetOthersRun() {
  if (std::chrono::steady_clock::now() - turn_begin_ < kTurn) return;
  (void)sched_yield();
  turn_begin_ = std::chrono::steady_clock::now();
}

}  // namespace corten
