#include "client/transfer.h"

#include "api/values.h"
#include "containerd/services/transfer/v1/transfer.grpc.pb.h"
#include "containerd/types/transfer/progress.pb.h"
#include "containerd/types/transfer/registry.pb.h"

namespace corten::client {

namespace {

namespace transfer = containerd::services::transfer::v1;
namespace types = containerd::types::transfer;

void Pack(const google::protobuf::Message& message, google::protobuf::Any* out) {
  out->set_type_url(std::string(message.GetTypeName()));
  out->set_value(message.SerializeAsString());
}

void Tell(Stream& stream, const TransferSink& sink) {
  while (const std::optional<model::Any> message = stream.Receive()) {
    types::Progress wire;
    if (!message->type_url.ends_with(types::Progress::descriptor()->full_name()) ||
        !wire.ParseFromString(message->value))
      continue;  // a word of a later version
    TransferProgress progress;
    progress.event = wire.event();
    progress.name = wire.name();
    progress.parents = api::FromProto(wire.parents());
    progress.progress = wire.progress();
    progress.total = wire.total();
    if (wire.has_desc()) {
      Result<model::Descriptor> descriptor = api::FromProto(wire.desc());
      if (descriptor.ok()) progress.descriptor = std::move(descriptor).value();
    }
    sink(progress);
  }
}

}  // namespace

Status RunTransfer(const ConnectionPtr& connection, const model::Scope& scope,
                   const google::protobuf::Message& source,
                   const google::protobuf::Message& destination, const TransferSink& sink) {
  transfer::TransferRequest request;
  Pack(source, request.mutable_source());
  Pack(destination, request.mutable_destination());
  std::unique_ptr<Stream> progress;
  std::thread teller;
  if (sink) {
    progress = TRY(Stream::Open(connection, scope, "progress"));
    request.mutable_options()->set_progress_stream(progress->id());
    teller = std::thread([&] { Tell(*progress, sink); });
  }
  const auto stub = transfer::Transfer::NewStub(connection->channel());
  grpc::ClientContext context;
  connection->Prepare(&context, scope);
  google::protobuf::Empty response;
  Status done = FromGrpc(stub->Transfer(&context, request, &response));
  if (progress != nullptr) {
    // The daemon ends the stream after the last word; after an error nobody may have taken it.
    if (!done.ok()) progress->Cancel();
    progress->EndSending();
    teller.join();
  }
  return done;
}

SecretAnswers::SecretAnswers(std::unique_ptr<Stream> stream, TransferSecret secret)
    : stream_(std::move(stream)), secret_(std::move(secret)), thread_([this] { Answer(); }) {}

SecretAnswers::~SecretAnswers() {
  stream_->Cancel();
  thread_.join();
}

Result<std::unique_ptr<SecretAnswers>> SecretAnswers::Open(const ConnectionPtr& connection,
                                                           const model::Scope& scope,
                                                           TransferSecret secret) {
  std::unique_ptr<Stream> stream = TRY(Stream::Open(connection, scope, "auth"));
  return std::unique_ptr<SecretAnswers>(new SecretAnswers(std::move(stream), std::move(secret)));
}

void SecretAnswers::Answer() {
  while (stream_->Receive().has_value()) {
    types::AuthResponse answer;
    answer.set_authtype(secret_.secret.empty()     ? types::NONE
                        : secret_.username.empty() ? types::REFRESH
                                                   : types::CREDENTIALS);
    answer.set_username(secret_.username);
    answer.set_secret(secret_.secret);
    if (!stream_->Send({std::string(answer.GetTypeName()), answer.SerializeAsString()})) return;
  }
}

}  // namespace corten::client
