#include "cli/event_stream.h"

#include "api/values.h"
#include "containerd/services/events/v1/events.grpc.pb.h"

namespace corten::cli {

Status FollowEvents(Session& session, const std::vector<std::string>& filters,
                    const std::function<Status(const Event& event)>& visit) {
  namespace wire = containerd::services::events::v1;
  const auto stub = wire::Events::NewStub(session.connection()->channel());
  grpc::ClientContext context;
  session.connection()->Prepare(&context, session.scope());
  wire::SubscribeRequest request;
  for (const std::string& filter : filters) request.add_filters(filter);
  const auto stream = stub->Subscribe(&context, request);
  containerd::types::Envelope envelope;
  Status visited;
  while (visited.ok() && stream->Read(&envelope)) {
    visited = visit({api::FromProto(envelope.timestamp()), envelope.namespace_(), envelope.topic(),
                     api::FromProto(envelope.event())});
  }
  if (!visited.ok()) context.TryCancel();
  const Status done = client::FromGrpc(stream->Finish());
  if (!visited.ok()) return visited;
  if (!done.ok()) return done.error().Clone();
  return Ok();
}

}  // namespace corten::cli
