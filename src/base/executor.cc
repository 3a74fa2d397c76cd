#include "base/executor.h"

#include <pthread.h>

#include <chrono>
#include <thread>

namespace corten {

namespace {
constexpr std::chrono::seconds kIdleThreadLife(10);
}

Executor::Executor(std::string name, Limits limits) : name_(std::move(name)), limits_(limits) {}

Executor::~Executor() { Close(); }

Status Executor::Submit(std::function<void()> task) {
  bool start = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return UnavailableError("executor ", name_, ": shutting down");
    if (queue_.size() >= limits_.queue) {
      ++refused_;
      return ResourceExhaustedError("executor ", name_, ": ", limits_.queue,
                                    " calls are waiting already");
    }
    queue_.push_back(std::move(task));
    start = idle_ < queue_.size() && threads_ < limits_.threads;
    if (start) ++threads_;
  }
  if (!start) {
    work_.notify_one();
    return Ok();
  }
  std::thread thread(&Executor::Work, this);
  (void)pthread_setname_np(thread.native_handle(),
                           name_.substr(0, 15).c_str());  // a name is a courtesy
  thread.detach();  // Close waits for threads_ to fall to zero
  return Ok();
}

void Executor::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (queue_.empty()) {
      if (closed_) break;
      ++idle_;
      const bool woken =
          work_.wait_for(lock, kIdleThreadLife, [this] { return closed_ || !queue_.empty(); });
      --idle_;
      if (!woken) break;
      continue;
    }
    std::function<void()> task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what it holds may call Submit as it goes
    lock.lock();
  }
  --threads_;
  // Notified under the lock: after it is released the executor may be destroyed.
  gone_.notify_all();
}

void Executor::Close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  work_.notify_all();
  gone_.wait(lock, [this] { return threads_ == 0; });
}

Executor::Stats Executor::stats() const {
  const std::lock_guard lock(mutex_);
  Stats stats;
  stats.threads = threads_;
  stats.queued = queue_.size();
  stats.refused = refused_;
  return stats;
}

Gate::Hold::~Hold() {
  if (gate_ != nullptr) gate_->Leave();
}

Result<Gate::Hold> Gate::Enter() {
  const std::lock_guard lock(mutex_);
  if (closed_) return UnavailableError("shutting down");
  ++holds_;
  return Hold(this);
}

void Gate::Leave() {
  const std::lock_guard lock(mutex_);
  if (--holds_ == 0) empty_.notify_all();
}

bool Gate::Close(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  closed_ = true;
  return empty_.wait_for(lock, timeout, [this] { return holds_ == 0; });
}

}  // namespace corten
