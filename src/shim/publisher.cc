#include "shim/publisher.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "containerd/services/events/ttrpc/v1/events.pb.h"
#include "wire/metadata.h"
#include "wire/unix_socket.h"

namespace corten::shim {

namespace {

constexpr std::chrono::seconds kAnswerDeadline(5);
constexpr std::chrono::milliseconds kFirstBackoff(50);
constexpr std::chrono::milliseconds kLongestBackoff(5000);
constexpr std::chrono::seconds kIdle(3);
constexpr std::string_view kService = "containerd.services.events.ttrpc.v1.Events";

// The daemon will refuse it again however often it is sent.
bool IsRefusal(Code code) { return code == Code::kInvalidArgument || code == Code::kUnimplemented; }

std::string Encode(const std::string& ns, const Event& event) {
  containerd::services::events::ttrpc::v1::ForwardRequest request;
  auto* envelope = request.mutable_envelope();
  envelope->mutable_timestamp()->set_seconds(event.time.seconds);
  envelope->mutable_timestamp()->set_nanos(event.time.nanos);
  envelope->set_namespace_(ns);
  envelope->set_topic(event.topic);
  envelope->mutable_event()->set_type_url(event.type);
  envelope->mutable_event()->set_value(event.payload);
  return request.SerializeAsString();
}

}  // namespace

Publisher::Publisher(Loop& loop, std::string ns, std::string address)
    : loop_(loop), ns_(std::move(ns)), address_(std::move(address)), backoff_(kFirstBackoff) {}

Publisher::~Publisher() {
  for (const Loop::TimerId timer : {retry_timer_, idle_timer_, flush_timer_}) loop_.Cancel(timer);
}

void Publisher::Publish(Event event) {
  if (address_.empty()) return;
  const std::string topic = event.topic;
  if (!queue_.Push(std::move(event)))
    log::Error("event queue is full, event lost", {{"topic", topic}});
  Send();
}

void Publisher::PublishOom(Event event) {
  if (address_.empty()) return;
  queue_.PushOom(std::move(event));
  Send();
}

void Publisher::Nudge() {
  if (retry_timer_ == 0) return;
  loop_.Cancel(std::exchange(retry_timer_, 0));
  backoff_ = kFirstBackoff;
  Send();
}

Status Publisher::Connect() {
  if (client_ != nullptr && !client_->closed()) return Ok();
  const std::string path = address_.starts_with("unix://") ? address_.substr(7) : address_;
  Fd socket = TRY(wire::ConnectUnix(path));
  client_ = TRY(wire::TtrpcClient::Create(loop_, std::move(socket)));
  return Ok();
}

void Publisher::Send() {
  if (in_flight_ || retry_timer_ != 0 || queue_.empty()) return;
  loop_.Cancel(std::exchange(idle_timer_, 0));
  if (!Connect().ok()) return Retry();  // the daemon is away; it will be back
  in_flight_ = true;
  wire::CallOptions options;
  options.timeout = kAnswerDeadline;
  options.metadata = {{std::string(wire::kNamespaceKeyTtrpc), ns_}};
  client_->Call(kService, "Forward", Encode(ns_, queue_.head()), options,
                [this](Result<std::string> answer) { OnAnswer(std::move(answer)); });
}

void Publisher::OnAnswer(Result<std::string> answer) {
  in_flight_ = false;
  if (!answer.ok() && !IsRefusal(answer.error().code())) return Retry();
  if (!answer.ok()) {
    log::Warn("daemon refuses event",
              {{"topic", queue_.head().topic}, {"error", answer.error().text()}});
  }
  backoff_ = kFirstBackoff;
  queue_.Acknowledge();
  if (!queue_.empty()) return Send();
  CheckFlushed();
  CloseLater();
}

void Publisher::Retry() {
  // A connection that did not answer may be half dead; the next attempt takes a new one.
  client_.reset();
  retry_timer_ = loop_.After(backoff_, [this] {
    retry_timer_ = 0;
    Send();
  });
  backoff_ = std::min(backoff_ * 2, kLongestBackoff);
}

void Publisher::CloseLater() {
  loop_.Cancel(idle_timer_);
  idle_timer_ = loop_.After(kIdle, [this] {
    idle_timer_ = 0;
    client_.reset();
  });
}

void Publisher::CheckFlushed() {
  if (!flushed_ || !queue_.empty()) return;
  loop_.Cancel(std::exchange(flush_timer_, 0));
  std::exchange(flushed_, nullptr)();
}

void Publisher::Flush(std::chrono::milliseconds limit, std::function<void()> done) {
  if (queue_.empty()) return done();
  Nudge();
  flushed_ = std::move(done);
  loop_.Cancel(flush_timer_);
  flush_timer_ = loop_.After(limit, [this] {
    flush_timer_ = 0;
    if (const auto call = std::exchange(flushed_, nullptr)) call();
  });
}

}  // namespace corten::shim
