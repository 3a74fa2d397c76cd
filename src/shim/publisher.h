// Hands the event queue to the daemon over ttrpc
// (`containerd.services.events.ttrpc.v1.Events/Forward`).
//
// One event at a time, the head, with a deadline of 5 s; only its acknowledgement lets the next one
// go. A lost connection or an unanswered call is tried again after 50 ms, doubling to 5 s, for as
// long as the shim lives. An answer that says the event itself is wrong (kInvalidArgument,
// kUnimplemented) drops that one event, or it would stop all others. The connection is closed after
// 3 s without events: a node has many shims. Threads: loop thread only. Crash: events not
// acknowledged die with the shim; the daemon then asks `delete`.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/loop.h"
#include "shim/event_queue.h"
#include "wire/ttrpc_client.h"

namespace corten::shim {

class Publisher {
 public:
  // `address`: path of the daemon's ttrpc socket (or unix://PATH). Empty: events are taken and
  // dropped, as there is nobody to tell.
  Publisher(Loop& loop, std::string ns, std::string address);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  void Publish(Event event);
  void PublishOom(Event event);
  bool AcceptsWork() const { return queue_.AcceptsWork(); }
  size_t waiting() const { return queue_.size(); }

  // The daemon has shown that it is there: try at once.
  void Nudge();
  // Calls `done` once, when everything is acknowledged or `limit` has passed. Inside, if nothing
  // waits.
  void Flush(std::chrono::milliseconds limit, std::function<void()> done);

 private:
  void Send();
  void OnAnswer(Result<std::string> answer);
  void Retry();
  void CheckFlushed();
  void CloseLater();
  Status Connect();

  Loop& loop_;
  const std::string ns_;
  const std::string address_;
  EventQueue queue_;
  std::unique_ptr<wire::TtrpcClient> client_;
  bool in_flight_ = false;
  std::chrono::milliseconds backoff_;
  Loop::TimerId retry_timer_ = 0;
  Loop::TimerId idle_timer_ = 0;
  Loop::TimerId flush_timer_ = 0;
  std::function<void()> flushed_;
};

}  // namespace corten::shim
