#include "runtime/loop_thread.h"

#include <pthread.h>

#include <condition_variable>
#include <mutex>

#include "base/log.h"

namespace corten::runtime {

Result<std::unique_ptr<LoopThread>> LoopThread::Start(const std::string& name) {
  std::unique_ptr<Loop> loop = TRY(Loop::Create());
  std::unique_ptr<LoopThread> self(new LoopThread(std::move(loop)));
  self->thread_ = std::thread([raw = self->loop_.get()] {
    const Status ended = raw->Run();
    CHECK(ended.ok());  // only a broken epoll descriptor ends it: nothing can work without
  });
  (void)pthread_setname_np(self->thread_.native_handle(),
                           name.substr(0, 15).c_str());  // a name is a courtesy
  return self;
}

LoopThread::~LoopThread() {
  loop_->Stop();
  if (thread_.joinable()) thread_.join();
}

void LoopThread::RunSync(const Loop::Task& task) {
  if (loop_->InLoopThread()) {
    task();
    return;
  }
  std::mutex mutex;
  std::condition_variable ran;
  bool done = false;
  loop_->Post([&] {
    task();
    const std::lock_guard lock(mutex);
    done = true;
    ran.notify_one();
  });
  std::unique_lock lock(mutex);
  ran.wait(lock, [&] { return done; });
}

}  // namespace corten::runtime
