// The daemon's ttrpc socket, on which shims hand in their events.
//
// Serves `containerd.services.events.ttrpc.v1.Events/Forward` and nothing else, to peers of our own
// uid and gid only. Each event is given to `sink` on the loop thread, in the order of arrival per
// shim; the answer says that it was taken. Threads: Listen once; the sink runs on the loop thread
// and must not block.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "events/exchange.h"
#include "runtime/loop_thread.h"

namespace corten::wire {
class TtrpcServer;
}

namespace corten::runtime {

class EventsForward {
 public:
  // kInvalidArgument from the sink reaches the shim, which then drops the event.
  using Sink = std::function<Status(events::Envelope envelope)>;

  // Serves `listener` (wire::ListenUnix, or a socket handed over by systemd).
  static Result<std::unique_ptr<EventsForward>> Listen(LoopThread& loop, Fd listener, Sink sink);
  ~EventsForward();  // closes the listener and all connections
  EventsForward(const EventsForward&) = delete;
  EventsForward& operator=(const EventsForward&) = delete;

 private:
  explicit EventsForward(LoopThread& loop);
  LoopThread& loop_;
  std::unique_ptr<wire::TtrpcServer> server_;  // loop thread only
};

}  // namespace corten::runtime
