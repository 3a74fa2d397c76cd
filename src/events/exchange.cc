#include "events/exchange.h"

#include <algorithm>

#include "base/failpoint.h"
#include "model/filter.h"

namespace corten::events {

struct Subscription::Queue {
  explicit Queue(model::Filter wanted) : filter(std::move(wanted)) {}
  const model::Filter filter;
  std::function<void()> wake;
  std::mutex mutex;  // guards the members below
  std::deque<std::shared_ptr<const Envelope>> waiting;
  bool overflowed = false;
  bool closed = false;
};

namespace {

Status ValidateTopic(std::string_view topic) {
  if (topic.empty()) return InvalidArgumentError("topic must not be empty");
  if (topic[0] != '/') return InvalidArgumentError("topic must start with '/'");
  if (topic.size() == 1) return InvalidArgumentError("topic must have at least one component");
  std::string_view rest = topic.substr(1);
  while (true) {
    const size_t slash = rest.find('/');
    TRY(model::ValidateIdentifier(rest.substr(0, slash), "identifier")
            .Context(StrCat("invalid component ", Quoted(rest.substr(0, slash)), " in topic ",
                            Quoted(topic))));
    if (slash == std::string_view::npos) return Ok();
    rest.remove_prefix(slash + 1);
  }
}

Status ValidateEnvelope(const Envelope& envelope) {
  TRY(model::ValidateIdentifier(envelope.ns.str(), "identifier")
          .Context("event envelope has invalid namespace"));
  TRY(ValidateTopic(envelope.topic).Context(StrCat("envelope topic ", Quoted(envelope.topic))));
  if (envelope.timestamp == kZeroTime || envelope.timestamp == Time{}) {
    return InvalidArgumentError("timestamp must be set on forwarded event");
  }
  return Ok();
}

}  // namespace

Subscription::Subscription(Exchange* exchange, std::shared_ptr<Queue> queue)
    : exchange_(exchange), queue_(std::move(queue)) {}

Subscription::~Subscription() { exchange_->Drop(queue_); }

Result<std::shared_ptr<const Envelope>> Subscription::TryNext() {
  const std::lock_guard lock(queue_->mutex);
  if (!queue_->waiting.empty()) {
    std::shared_ptr<const Envelope> envelope = std::move(queue_->waiting.front());
    queue_->waiting.pop_front();
    return envelope;
  }
  if (queue_->overflowed)
    return ResourceExhaustedError(
        "event subscription: the subscriber is too slow, events were lost");
  return std::shared_ptr<const Envelope>();
}

Exchange::Exchange(FieldReader fields, size_t queue_limit)
    : fields_(std::move(fields)), queue_limit_(queue_limit) {}
Exchange::~Exchange() = default;

Status Exchange::Publish(const model::Namespace& ns, std::string topic, model::Any event) {
  auto envelope = std::make_shared<Envelope>();  // shared by all subscribers' queues
  envelope->timestamp = Now();
  envelope->ns = ns;
  envelope->topic = std::move(topic);
  envelope->event = std::move(event);
  if (ns.empty()) return FailedPreconditionError("failed publishing event: namespace is required");
  TRY(ValidateEnvelope(*envelope));
  return Deliver(std::move(envelope));
}

Status Exchange::Forward(Envelope envelope) {
  TRY(ValidateEnvelope(envelope));
  return Deliver(std::make_shared<const Envelope>(std::move(envelope)));
}

Status Exchange::Deliver(std::shared_ptr<const Envelope> envelope) {
  const auto lookup = [&](const std::vector<std::string>& path) -> std::optional<std::string> {
    if (path.empty()) return std::nullopt;
    if (path[0] == "namespace") return envelope->ns.str();
    if (path[0] == "topic") return envelope->topic;
    if (path[0] == "event" && fields_)
      return fields_(envelope->event, {path.begin() + 1, path.end()});
    return std::nullopt;
  };
  FAILPOINT_NOTE("events.delivered",
                 StrCat(envelope->topic, " ", envelope->ns.str(), " ", Hex(envelope->event.value)));
  // The lock spans the queueing, so that every subscriber sees one order; wake-ups come after it.
  std::vector<std::shared_ptr<Subscription::Queue>> to_wake;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& queue : queues_) {
      if (!queue->filter.Matches(lookup)) continue;
      const std::lock_guard queue_lock(queue->mutex);
      if (queue->overflowed) continue;
      const bool was_empty = queue->waiting.empty();
      if (queue->waiting.size() >= queue_limit_) {
        queue->overflowed = true;
      } else {
        queue->waiting.push_back(envelope);
      }
      if (was_empty || queue->overflowed) to_wake.push_back(queue);
    }
  }
  for (const auto& queue : to_wake) {
    if (queue->wake) queue->wake();
  }
  return Ok();
}

Result<std::unique_ptr<Subscription>> Exchange::Subscribe(const std::vector<std::string>& filters,
                                                          std::function<void()> wake) {
  model::Filter filter = TRY(model::Filter::Parse(filters));
  auto queue = std::make_shared<Subscription::Queue>(
      std::move(filter));  // shared with deliveries in progress
  queue->wake = std::move(wake);
  const std::lock_guard lock(mutex_);
  queues_.push_back(queue);
  return std::unique_ptr<Subscription>(new Subscription(this, std::move(queue)));
}

void Exchange::Drop(const std::shared_ptr<Subscription::Queue>& queue) {
  const std::lock_guard lock(mutex_);
  std::erase(queues_, queue);
}

size_t Exchange::subscribers() const {
  const std::lock_guard lock(mutex_);
  return queues_.size();
}

}  // namespace corten::events
