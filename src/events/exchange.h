// The exchange: publishers hand in envelopes, subscribers get those that their filters match, in
// one order.
//
// No replay: a subscriber sees what is published after Subscribe. Each subscriber has a bounded
// queue; one that falls behind by more than the bound is ended with kResourceExhausted rather than
// holding memory or blocking publishers. Threads: all methods, any thread. Source: containerd
// events API 2.3 (metadata.md 4).
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "model/ids.h"
#include "model/labels.h"

namespace corten::events {

struct Envelope {
  Time timestamp;
  model::Namespace ns;
  std::string topic;  // "/tasks/start"
  model::Any event;   // type name and protobuf bytes, opaque here
};

// Answers one field of an event's payload for filters such as event.container_id; nullopt: no such
// string field. `path` is without the leading "event".
using FieldReader = std::function<std::optional<std::string>(const model::Any& event,
                                                             const std::vector<std::string>& path)>;

class Exchange;

class Subscription {
 public:
  ~Subscription();
  // Takes the next envelope; nullptr if none is waiting. kResourceExhausted once the queue has
  // overflowed.
  Result<std::shared_ptr<const Envelope>> TryNext();

 private:
  friend class Exchange;
  struct Queue;
  Subscription(Exchange* exchange, std::shared_ptr<Queue> queue);
  Exchange* exchange_;
  std::shared_ptr<Queue> queue_;  // shared with a publisher that is delivering just now
};

class Exchange {
 public:
  explicit Exchange(FieldReader fields, size_t queue_limit = 65536);
  ~Exchange();

  // Stamps and delivers. kInvalidArgument: namespace, topic or payload do not follow the rules.
  Status Publish(const model::Namespace& ns, std::string topic, model::Any event);
  // Delivers an envelope made elsewhere (a shim); its timestamp must be set.
  Status Forward(Envelope envelope);
  // `wake` is called, from a publisher's thread, after an envelope was queued into an empty queue
  // (and on overflow). It must not block. kInvalidArgument: bad filter. The exchange must outlive
  // the subscription.
  Result<std::unique_ptr<Subscription>> Subscribe(const std::vector<std::string>& filters,
                                                  std::function<void()> wake);

  size_t subscribers() const;

 private:
  friend class Subscription;
  Status Deliver(std::shared_ptr<const Envelope> envelope);
  void Drop(const std::shared_ptr<Subscription::Queue>& queue);

  const FieldReader fields_;
  const size_t queue_limit_;
  mutable std::mutex
      mutex_;  // guards queues_; taken before a queue's own mutex, never held while `wake` runs
  std::vector<std::shared_ptr<Subscription::Queue>> queues_;
};

}  // namespace corten::events
