// For integration tests: the daemon's ear. A loop on a thread of its own, and a sink for events.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/loop.h"
#include "containerd/events/task.pb.h"
#include "containerd/services/events/ttrpc/v1/events.pb.h"
#include "google/protobuf/empty.pb.h"
#include "wire/ttrpc_messages.h"
#include "wire/unix_socket.h"

namespace corten::shim {

using google::protobuf::Empty;

// A loop on a thread of its own; Do runs a function there and waits.
class LoopThread {
 public:
  LoopThread() : loop_(std::move(*Loop::Create())), thread_([this] { (void)loop_->Run(); }) {}
  ~LoopThread() { Stop(); }
  Loop& loop() { return *loop_; }
  void Do(const std::function<void()>& task) {
    std::mutex mutex;
    std::condition_variable done;
    bool ready = false;
    loop_->Post([&] {
      task();
      const std::lock_guard lock(mutex);
      ready = true;
      done.notify_one();
    });
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return ready; });
  }
  void Stop() {
    if (!thread_.joinable()) return;
    loop_->Stop();
    thread_.join();
  }

 private:
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

struct SeenEvent {
  std::string topic;
  std::string type;
  std::string payload;
};

// Receives Forward calls at `path` while it lives.
class EventSink {
 public:
  EventSink(LoopThread& thread, const std::string& path) : thread_(thread), path_(path) {
    thread_.Do([&] {
      server_ = std::make_unique<wire::TtrpcServer>(thread_.loop());
      wire::HandleMessage<containerd::services::events::ttrpc::v1::ForwardRequest, Empty>(
          *server_, "containerd.services.events.ttrpc.v1.Events", "Forward",
          [this](const wire::CallInfo&, const auto& request, wire::ReplyTo<Empty> reply) {
            const auto& envelope = request.envelope();
            {
              const std::lock_guard lock(mutex_);
              events_.push_back(
                  {envelope.topic(), envelope.event().type_url(), envelope.event().value()});
            }
            changed_.notify_all();
            reply.Send(Empty());
          });
      EXPECT_TRUE(server_->Listen(std::move(*wire::ListenUnix(path_, 0600))).ok());
    });
  }
  ~EventSink() {
    thread_.Do([&] { server_.reset(); });
    (void)unlink(path_.c_str());
  }
  // All events so far, once `condition` holds or 20 s have passed.
  std::vector<SeenEvent> Until(
      const std::function<bool(const std::vector<SeenEvent>&)>& condition) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(20), [&] { return condition(events_); }))
        << "only " << events_.size() << " events came";
    return events_;
  }
  std::vector<SeenEvent> UntilTopic(const std::string& topic, size_t count = 1) {
    return Until([&](const std::vector<SeenEvent>& events) {
      return static_cast<size_t>(std::count_if(
                 events.begin(), events.end(),
                 [&](const SeenEvent& event) { return event.topic == topic; })) >= count;
    });
  }

 private:
  LoopThread& thread_;
  const std::string path_;
  std::unique_ptr<wire::TtrpcServer> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SeenEvent> events_;
};

inline std::vector<std::string> Topics(const std::vector<SeenEvent>& events) {
  std::vector<std::string> out;
  for (const SeenEvent& event : events) out.push_back(event.topic);
  return out;
}

inline containerd::events::TaskExit ExitOf(const SeenEvent& event) {
  containerd::events::TaskExit out;
  EXPECT_TRUE(out.ParseFromString(event.payload));
  return out;
}

}  // namespace corten::shim
