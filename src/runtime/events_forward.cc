#include "runtime/events_forward.h"

#include <unistd.h>

#include "base/failpoint.h"
#include "containerd/services/events/ttrpc/v1/events.pb.h"
#include "google/protobuf/empty.pb.h"
#include "wire/ttrpc_messages.h"
#include "wire/ttrpc_server.h"

namespace corten::runtime {

namespace {

namespace pb = ::containerd::services::events::ttrpc::v1;

events::Envelope FromWire(const ::containerd::types::Envelope& envelope) {
  events::Envelope out;
  out.timestamp = envelope.has_timestamp()
                      ? Time{envelope.timestamp().seconds(), envelope.timestamp().nanos()}
                      : kZeroTime;
  out.ns = model::Namespace(envelope.namespace_());
  out.topic = envelope.topic();
  out.event = {envelope.event().type_url(), envelope.event().value()};
  return out;
}

}  // namespace

EventsForward::EventsForward(LoopThread& loop) : loop_(loop) {}

Result<std::unique_ptr<EventsForward>> EventsForward::Listen(LoopThread& loop, Fd listener,
                                                             Sink sink) {
  std::unique_ptr<EventsForward> self(new EventsForward(loop));
  Status listening;
  loop.RunSync([&] {
    wire::TtrpcServer::Options options;
    options.max_connections = 65536;  // one per shim
    // Wire: others are closed without a word, as containerd does.
    options.admit = [](const wire::PeerCredentials& peer) {
      return peer.uid == geteuid() && peer.gid == getegid();
    };
    self->server_ = std::make_unique<wire::TtrpcServer>(loop.loop(), std::move(options));
    wire::HandleMessage<pb::ForwardRequest, google::protobuf::Empty>(
        *self->server_, "containerd.services.events.ttrpc.v1.Events", "Forward",
        [sink = std::move(sink)](const wire::CallInfo&, const pb::ForwardRequest& request,
                                 wire::ReplyTo<google::protobuf::Empty> reply) {
          const Status taken = sink(FromWire(request.envelope()));
          FAILPOINT("runtime.event.told");
          if (taken.ok()) {
            reply.Send({});
            FAILPOINT("runtime.event.acknowledged");
            FAILPOINT_NOTE("events.acknowledged",
                           StrCat(request.envelope().topic(), " ", request.envelope().namespace_(),
                                  " ", Hex(request.envelope().event().value())));
          } else {
            reply.Fail(taken.error());
          }
        });
    listening = self->server_->Listen(std::move(listener));
  });
  TRY(std::move(listening));
  return self;
}

EventsForward::~EventsForward() {
  loop_.RunSync([this] { server_.reset(); });
}

}  // namespace corten::runtime
