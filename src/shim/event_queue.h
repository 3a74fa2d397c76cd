// The events that the daemon has not acknowledged yet, in order.
//
// The head stays until it is acknowledged; nothing overtakes it. Lifecycle events are never
// dropped: when the queue is full the shim takes no new work (Create, Exec), and what is under way
// always fits in the reserve. OOM notices are: one waiting per container is enough. Threads: a
// plain value of the loop thread.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace corten::shim {

struct Event {
  std::string topic;    // "/tasks/exit"
  std::string type;     // "containerd.events.TaskExit"
  std::string payload;  // the serialised message
  Time time;
};

class EventQueue {
 public:
  static constexpr size_t kAcceptWork = 4096;  // beyond this no new work is taken on
  static constexpr size_t kLimit = 8192;  // the reserve covers two events for everything under way

  // False only at kLimit, which AcceptsWork keeps out of reach.
  [[nodiscard]] bool Push(Event event);
  // An OOM notice of `container`: left out if the same one is still waiting, or nothing more is
  // accepted.
  void PushOom(Event event);
  bool AcceptsWork() const { return events_.size() < kAcceptWork; }
  bool empty() const { return events_.empty(); }
  size_t size() const { return events_.size(); }
  const Event& head() const { return events_.front(); }  // REQUIRES: !empty()
  void Acknowledge() { events_.pop_front(); }            // REQUIRES: !empty()

 private:
  std::deque<Event> events_;
};

}  // namespace corten::shim
