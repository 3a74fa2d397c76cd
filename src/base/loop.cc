#include "base/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

namespace corten {

namespace {
// Events fetched per epoll_wait: enough to amortise the call, small enough for the shim's stack.
constexpr int kBatch = 64;
constexpr uint64_t kWakeTag = 0;

thread_local char thread_anchor;  // its address names the thread without a system call
uint64_t ThisThread() { return reinterpret_cast<uintptr_t>(&thread_anchor); }

uint64_t Tag(int fd, uint64_t generation) { return (generation << 32) | static_cast<uint32_t>(fd); }
}  // namespace

Result<std::unique_ptr<Loop>> Loop::Create() {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return ErrnoError(errno, "create epoll");
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoError(errno, "create eventfd");
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kWakeTag;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0)
    return ErrnoError(errno, "watch eventfd");
  return std::unique_ptr<Loop>(new Loop(std::move(epoll), std::move(wake)));
}

Loop::~Loop() = default;

Status Loop::Add(FdRef fd, uint32_t events, Handler handler) {
  if (watches_.contains(fd.get())) return AlreadyExistsError("watch descriptor ", fd.get());
  const uint64_t generation = next_generation_++ & 0xffffffff;
  epoll_event event = {};
  event.events = events;
  event.data.u64 = Tag(fd.get(), generation == 0 ? next_generation_++ : generation);
  const uint64_t used = event.data.u64 >> 32;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0)
    return ErrnoError(errno, "watch descriptor");
  watches_[fd.get()] =
      std::make_shared<Watch>(Watch{std::move(handler), used});  // shared with a running dispatch
  return Ok();
}

Status Loop::Modify(FdRef fd, uint32_t events) {
  const auto found = watches_.find(fd.get());
  if (found == watches_.end()) return NotFoundError("watch of descriptor ", fd.get());
  epoll_event event = {};
  event.events = events;
  event.data.u64 = Tag(fd.get(), found->second->generation);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd.get(), &event) != 0)
    return ErrnoError(errno, "watch descriptor");
  return Ok();
}

void Loop::Remove(FdRef fd) {
  if (watches_.erase(fd.get()) == 0) return;
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd.get(),
                  nullptr);  // fails only if it was closed already
}

Loop::TimerId Loop::At(Clock::time_point when, Task task) {
  const TimerId id = next_timer_++;
  timers_.push({when, id});
  timer_tasks_.emplace(id, std::move(task));
  return id;
}

void Loop::Cancel(TimerId timer) { timer_tasks_.erase(timer); }

void Loop::Post(Task task) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    wake = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (wake) (void)eventfd_write(wake_.get(), 1);  // cannot fail: the counter is far from its limit
}

void Loop::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_requested_ = true;
  }
  (void)eventfd_write(wake_.get(), 1);
}

bool Loop::InLoopThread() const { return thread_ == ThisThread(); }

Status Loop::Run() {
  stop_ = false;
  while (!stop_) TRY(RunOnce(std::chrono::milliseconds(-1)));
  return Ok();
}

int Loop::WaitMillis(std::chrono::milliseconds timeout) const {
  int64_t wait = timeout.count();
  if (!timers_.empty()) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(timers_.top().when - Clock::now()).count();
    const int64_t bounded = std::max<int64_t>(left, 0);
    wait = wait < 0 ? bounded : std::min<int64_t>(wait, bounded);
  }
  return static_cast<int>(std::clamp<int64_t>(wait, -1, INT_MAX));
}

Status Loop::RunOnce(std::chrono::milliseconds timeout) {
  thread_ = ThisThread();
  // Timers that were cancelled must not wake the loop.
  while (!timers_.empty() && !timer_tasks_.contains(timers_.top().id)) timers_.pop();
  epoll_event events[kBatch];
  const int count = epoll_wait(epoll_.get(), events, kBatch, WaitMillis(timeout));
  if (count < 0 && errno != EINTR) return ErrnoError(errno, "wait for events");
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 == kWakeTag) {
      eventfd_t value = 0;
      (void)eventfd_read(wake_.get(), &value);
      continue;
    }
    const int fd = static_cast<int>(events[i].data.u64 & 0xffffffff);
    const auto found = watches_.find(fd);
    if (found == watches_.end() || found->second->generation != events[i].data.u64 >> 32)
      continue;  // removed meanwhile
    const std::shared_ptr<Watch> watch = found->second;
    watch->handler(events[i].events);
  }
  RunTimers();
  RunPosted();
  return Ok();
}

void Loop::RunTimers() {
  const Clock::time_point now = Clock::now();
  while (!timers_.empty() && timers_.top().when <= now) {
    const TimerId id = timers_.top().id;
    timers_.pop();
    const auto found = timer_tasks_.find(id);
    if (found == timer_tasks_.end()) continue;
    const Task task = std::move(found->second);
    timer_tasks_.erase(found);
    task();
  }
}

void Loop::RunPosted() {
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(posted_);
    if (stop_requested_) {
      stop_requested_ = false;
      stop_ = true;
    }
  }
  for (const Task& task : tasks) task();
}

}  // namespace corten
