// A Loop with a thread of its own: all shim connections and the event socket live on one.
//
// Threads: Post and RunSync from any thread; loop() for what the Loop allows.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/loop.h"

namespace corten::runtime {

class LoopThread {
 public:
  static Result<std::unique_ptr<LoopThread>> Start(const std::string& name);
  ~LoopThread();  // stops and joins
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  Loop& loop() { return *loop_; }
  void Post(Loop::Task task) { loop_->Post(std::move(task)); }
  // Runs `task` on the loop thread and waits for it. On the loop thread itself: runs it now.
  void RunSync(const Loop::Task& task);

 private:
  explicit LoopThread(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

}  // namespace corten::runtime
