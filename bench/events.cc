// Row 29: from Publish to a subscriber, and how many a subscriber gets from eight publishers.
#include <condition_variable>
#include <mutex>

#include "containerd/services/events/v1/events.grpc.pb.h"
#include "journeys.h"

namespace corten::bench {

namespace {

namespace events_api = containerd::services::events::v1;

const Figure kLatency{"29", "event, publish to subscriber", "ms", AtMost(0.5)};
const Figure kRate{"29", "events, 8 publishers, 1 subscriber", "/s", AtLeast(3)};
constexpr int kPublishers = 8;
constexpr const char* kTopic = "/bench/tick";
constexpr std::chrono::seconds kLimit{60};

void Publish(Target& target, events_api::Events::Stub& stub) {
  events_api::PublishRequest request;
  request.set_topic(kTopic);
  request.mutable_event()->set_type_url("corten.bench/tick");
  request.mutable_event()->set_value(std::string(100, 'x'));
  grpc::ClientContext context;
  target.connection()->Prepare(&context, PlainScope());
  google::protobuf::Empty response;
  Must(client::FromGrpc(stub.Publish(&context, request, &response)), "publish");
}

// Follows the topic on a thread of its own and counts what arrives.
class Subscriber {
 public:
  explicit Subscriber(Target& target)
      : stub_(events_api::Events::NewStub(target.connection()->channel())) {
    target.connection()->Prepare(&context_, PlainScope());
    thread_ = std::thread([this] { Follow(); });
  }
  ~Subscriber() {
    context_.TryCancel();
    thread_.join();
  }
  // Whether `count` have arrived within `limit`.
  bool WaitFor(int64_t count, std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, limit, [&] { return count_ >= count; });
  }
  int64_t count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  void Follow() {
    events_api::SubscribeRequest request;
    request.add_filters(StrCat("topic==\"", kTopic, "\""));
    const auto stream = stub_->Subscribe(&context_, request);
    containerd::types::Envelope envelope;
    while (stream->Read(&envelope)) {
      const std::lock_guard lock(mutex_);
      ++count_;
      arrived_.notify_all();
    }
    (void)stream->Finish();  // cancelled by the destructor
  }
  grpc::ClientContext context_;
  std::unique_ptr<events_api::Events::Stub> stub_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  int64_t count_ = 0;  // guarded by mutex_
  std::thread thread_;
};

// There is no sign that a subscription stands but its first event.
void AwaitSubscription(Target& target, events_api::Events::Stub& stub, Subscriber& subscriber) {
  const auto end = Now() + kLimit;
  while (!subscriber.WaitFor(1, std::chrono::milliseconds(20))) {
    if (Now() > end) Fail("no event reaches the subscriber");
    Publish(target, stub);
  }
  // What was sent meanwhile may still be on its way.
  for (int64_t seen = 0; seen != subscriber.count();) {
    seen = subscriber.count();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void Latency(Run& run, Target& target, int count) {
  const auto stub = events_api::Events::NewStub(target.connection()->channel());
  Subscriber subscriber(target);
  AwaitSubscription(target, *stub, subscriber);
  for (int i = 0; i < count; ++i) {
    const int64_t before = subscriber.count();
    const auto begin = Now();
    Publish(target, *stub);
    if (!subscriber.WaitFor(before + 1, kLimit)) Fail("an event was lost");
    run.report().Add(kLatency, target.name(), Millis(begin));
  }
}

void Rate(Run& run, Target& target, int count) {
  const auto stub = events_api::Events::NewStub(target.connection()->channel());
  Subscriber subscriber(target);
  AwaitSubscription(target, *stub, subscriber);
  const int64_t before = subscriber.count();
  const auto begin = Now();
  AtOnce(kPublishers, count, [&](int) { Publish(target, *stub); });
  if (!subscriber.WaitFor(before + count, kLimit))
    Fail(StrCat("only ", subscriber.count() - before, " of ", count, " events arrived"));
  run.report().Add(kRate, target.name(), count / (Millis(begin) / 1000));
}

}  // namespace

void MeasureEvents(Run& run) {
  std::vector<Target*> targets = run.Shared();
  run.Alternate(run.N(4, 1), targets,
                [&](Target* target) { Latency(run, *target, run.N(100, 3)); });
  run.Alternate(run.N(4, 1), targets,
                [&](Target* target) { Rate(run, *target, run.N(10000, 40)); });
}

}  // namespace corten::bench
