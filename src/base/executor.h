// Bounded executors: blocking code runs here, never on a loop or in a gRPC reaction.
//
// Thread-safe. Tasks start in the order of submission. Threads are started on demand up to the
// limit and end after being idle for a while, so an idle daemon keeps none.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "base/error.h"

namespace corten {

class Executor {
 public:
  struct Limits {
    size_t threads = 4;   // at once
    size_t queue = 1024;  // waiting beyond those
  };
  Executor(std::string name, Limits limits);
  // Waits for running and queued tasks.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Runs `task` on a thread of the pool. kResourceExhausted when the queue is full, kUnavailable
  // after Close.
  Status Submit(std::function<void()> task);
  // Refuses new tasks, waits until all accepted ones have run.
  void Close();

  struct Stats {
    size_t threads = 0;
    size_t queued = 0;
    uint64_t refused = 0;
  };
  Stats stats() const;

 private:
  void Work();

  const std::string name_;
  const Limits limits_;
  mutable std::mutex mutex_;  // guards everything below; never held while a task runs or goes
  std::condition_variable work_;
  std::condition_variable gone_;
  std::deque<std::function<void()>> queue_;
  size_t threads_ = 0;
  size_t idle_ = 0;
  uint64_t refused_ = 0;
  bool closed_ = false;
};

// Counts calls in flight; closed once. A plugin's gate is closed before it is destroyed.
class Gate {
 public:
  class Hold {
   public:
    explicit Hold(Gate* gate) : gate_(gate) {}
    Hold(Hold&& other) noexcept : gate_(other.gate_) { other.gate_ = nullptr; }
    Hold& operator=(Hold&&) = delete;
    ~Hold();

   private:
    Gate* gate_;
  };
  // kUnavailable once closed.
  Result<Hold> Enter();
  // Refuses new holds and waits up to `timeout` for the present ones; false if some remain.
  bool Close(std::chrono::milliseconds timeout);

 private:
  void Leave();
  std::mutex mutex_;
  std::condition_variable empty_;
  size_t holds_ = 0;
  bool closed_ = false;
};

}  // namespace corten
