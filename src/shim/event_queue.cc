#include "shim/event_queue.h"

#include <algorithm>
#include <utility>

namespace corten::shim {

bool EventQueue::Push(Event event) {
  if (events_.size() >= kLimit) return false;
  events_.push_back(std::move(event));
  return true;
}

void EventQueue::PushOom(Event event) {
  if (!AcceptsWork()) return;
  const bool waiting = std::any_of(events_.begin(), events_.end(), [&](const Event& other) {
    return other.topic == event.topic && other.payload == event.payload;
  });
  if (!waiting) events_.push_back(std::move(event));
}

}  // namespace corten::shim
