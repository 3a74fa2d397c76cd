#include "api/values.h"
#include "containerd/services/events/v1/events.grpc.pb.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace wire_api = containerd::services::events::v1;

namespace {

using api::FromProto;
using api::PathsOf;
using api::ToProto;

void ToProto(const events::Envelope& envelope, containerd::types::Envelope* out) {
  ToProto(envelope.timestamp, out->mutable_timestamp());
  out->set_namespace_(envelope.ns.str());
  out->set_topic(envelope.topic);
  ToProto(envelope.event, out->mutable_event());
}

// A parked subscriber: writes while there are envelopes, otherwise waits for the exchange to wake
// it. No thread.
class SubscribeReactor final : public grpc::ServerWriteReactor<containerd::types::Envelope> {
 public:
  SubscribeReactor(events::Exchange* exchange, const std::vector<std::string>& filters) {
    Result<std::unique_ptr<events::Subscription>> subscription =
        exchange->Subscribe(filters, [this] { Pump(); });
    if (!subscription.ok()) {
      // Wire: containerd answers Unknown here, and ctr prints the status as it is (golden:
      // tasks.scenario).
      Finish(ToGrpc(UnknownError("subscription error: failed parsing subscription filters: ",
                                 subscription.error().WireText())));
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      subscription_ = std::move(subscription).value();
    }
    StartSendInitialMetadata();  // the client knows that it is subscribed once headers are there
    Pump();
  }

  void OnWriteDone(bool ok) override {
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
      if (!ok) canceled_ = true;
    }
    Pump();
  }
  void OnCancel() override {
    {
      const std::lock_guard lock(mutex_);
      canceled_ = true;
    }
    Pump();
  }
  void OnDone() override { delete this; }

 private:
  void Pump() {
    std::unique_ptr<events::Subscription>
        gone;  // destroyed after the lock: it takes the exchange's
    {
      const std::lock_guard lock(mutex_);
      if (finished_ || writing_ || (subscription_ == nullptr && !canceled_)) return;
      Result<std::shared_ptr<const events::Envelope>> next =
          std::shared_ptr<const events::Envelope>();
      if (!canceled_) next = subscription_->TryNext();
      if (next.ok() && *next != nullptr) {
        writing_ = true;
        message_.Clear();
        ToProto(**next, &message_);
      } else if (next.ok() && !canceled_) {
        return;
      } else {
        finished_ = true;
        gone = std::move(subscription_);
        end_ = next.ok() ? grpc::Status(grpc::StatusCode::CANCELLED, "context canceled")
                         : ToGrpc(next.error());
      }
    }
    if (gone != nullptr || finished_) {
      gone.reset();
      Finish(end_);
    } else {
      StartWrite(&message_);
    }
  }

  std::mutex mutex_;  // guards everything below
  std::unique_ptr<events::Subscription> subscription_;
  containerd::types::Envelope message_;
  grpc::Status end_;
  bool writing_ = false;
  bool canceled_ = false;
  bool finished_ = false;
};

class EventsService final : public wire_api::Events::CallbackService {
 public:
  EventsService(Executors executors, events::Exchange* exchange)
      : executors_(executors), exchange_(exchange) {}

  grpc::ServerUnaryReactor* Publish(grpc::CallbackServerContext* context,
                                    const wire_api::PublishRequest* request,
                                    google::protobuf::Empty*) override {
    return UnaryAtOnce(context, [&](const model::Scope& scope) {
      return exchange_->Publish(scope.ns, request->topic(), FromProto(request->event()));
    });
  }

  grpc::ServerUnaryReactor* Forward(grpc::CallbackServerContext* context,
                                    const wire_api::ForwardRequest* request,
                                    google::protobuf::Empty*) override {
    return Unary(context, executors_.quick, [this, request] {
      const containerd::types::Envelope& envelope = request->envelope();
      events::Envelope out;
      out.timestamp = envelope.has_timestamp() ? FromProto(envelope.timestamp()) : kZeroTime;
      out.ns = model::Namespace(envelope.namespace_());
      out.topic = envelope.topic();
      out.event = FromProto(envelope.event());
      return exchange_->Forward(std::move(out));
    });
  }

  grpc::ServerWriteReactor<containerd::types::Envelope>* Subscribe(
      grpc::CallbackServerContext*, const wire_api::SubscribeRequest* request) override {
    return new SubscribeReactor(exchange_, FromProto(request->filters()));
  }

 private:
  const Executors executors_;
  events::Exchange* const exchange_;
};

}  // namespace

ServicePtr MakeEventsService(Executors executors, events::Exchange* exchange) {
  return std::make_unique<EventsService>(executors, exchange);
}

}  // namespace corten::services
