// A single-threaded epoll loop: descriptors, timers, posted functions.
//
// One thread calls Run (or RunOnce); every method except Post and Stop may be called on that thread
// only (or before it runs). Callbacks run on the loop thread, one at a time, and must not block.
// Handlers may remove themselves or each other while they run; a removed handler is never called
// again.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace corten {

class Loop {
 public:
  using Clock = std::chrono::steady_clock;
  // The argument is the epoll event mask (EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR...).
  using Handler = std::function<void(uint32_t events)>;
  using Task = std::function<void()>;
  using TimerId = uint64_t;  // 0 is never a timer

  static Result<std::unique_ptr<Loop>> Create();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Watches `fd` for `events` (level triggered). The caller keeps the descriptor open until Remove.
  // kAlreadyExists if it is watched already.
  Status Add(FdRef fd, uint32_t events, Handler handler);
  Status Modify(FdRef fd, uint32_t events);
  // Forgets `fd`; unknown descriptors are ignored.
  void Remove(FdRef fd);

  // Runs `task` once, not before `when`. Cancel of a timer that has run or is unknown does nothing.
  TimerId At(Clock::time_point when, Task task);
  TimerId After(std::chrono::nanoseconds delay, Task task) {
    return At(Clock::now() + delay, std::move(task));
  }
  void Cancel(TimerId timer);

  // Runs `task` on the loop thread, in the order of the calls. Callable from any thread. Never
  // dropped while the loop lives; tasks still queued at destruction are destroyed unrun.
  void Post(Task task);

  // Dispatches until Stop. May be called again afterwards.
  Status Run();
  // Waits at most `timeout` (negative: for ever) for one round of events and dispatches it.
  Status RunOnce(std::chrono::milliseconds timeout);
  void Stop();  // any thread
  bool InLoopThread() const;

 private:
  struct Watch {
    Handler handler;
    uint64_t generation;
  };
  struct Timer {
    Clock::time_point when;
    TimerId id;
    bool operator>(const Timer& other) const {
      return when != other.when ? when > other.when : id > other.id;
    }
  };

  Loop(Fd epoll, Fd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void RunPosted();
  void RunTimers();
  int WaitMillis(std::chrono::milliseconds timeout) const;

  Fd epoll_;
  Fd wake_;
  std::unordered_map<int, std::shared_ptr<Watch>> watches_;
  uint64_t next_generation_ = 1;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  std::unordered_map<TimerId, Task> timer_tasks_;
  TimerId next_timer_ = 1;
  std::atomic<uint64_t> thread_{0};  // read by InLoopThread on any thread
  bool stop_ = false;

  mutable std::mutex mutex_;  // guards the two below; never held while a task runs
  std::vector<Task> posted_;
  bool stop_requested_ = false;
};

}  // namespace corten
