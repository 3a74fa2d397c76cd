#include "client/stream.h"

#include <sys/random.h>

#include <algorithm>

#include "api/values.h"
#include "base/hash.h"
#include "containerd/services/streaming/v1/streaming.grpc.pb.h"
#include "containerd/types/transfer/streaming.pb.h"

namespace corten::client {

namespace {

namespace streaming = containerd::services::streaming::v1;
namespace types = containerd::types::transfer;

constexpr size_t kMaxData = 32u << 10;  // of one message, as the protocol has it
constexpr int32_t kWindow = 1 << 20;    // granted at once: few turns for a long archive

std::string DrawId(std::string_view prefix) {
  unsigned char raw[12] = {};
  (void)!getrandom(raw, sizeof(raw), 0);  // a clash is answered with "already exists"
  return StrCat(prefix, "-",
                Hex(std::string_view(reinterpret_cast<const char*>(raw), sizeof(raw))));
}

model::Any Wrap(const google::protobuf::Message& message) {
  return {std::string(message.GetTypeName()), message.SerializeAsString()};
}

template <typename Message>
bool Unwrap(const model::Any& any, Message* out) {
  return any.type_url.ends_with(Message::descriptor()->full_name()) &&
         out->ParseFromString(any.value);
}

}  // namespace

struct Stream::Call {
  ConnectionPtr connection;  // shared with the other calls of this program
  std::unique_ptr<streaming::Streaming::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<google::protobuf::Any, google::protobuf::Any>> pipe;
};

Stream::Stream(std::string id, std::unique_ptr<Call> call)
    : id_(std::move(id)), call_(std::move(call)) {}

Stream::~Stream() {
  Cancel();
  (void)call_->pipe->Finish();  // the state of a stream that we leave is nobody's
}

Result<std::unique_ptr<Stream>> Stream::Open(ConnectionPtr connection, const model::Scope& scope,
                                             std::string_view prefix) {
  auto call = std::make_unique<Call>();
  call->connection = std::move(connection);
  call->stub = streaming::Streaming::NewStub(call->connection->channel());
  call->connection->Prepare(&call->context, scope);
  call->pipe = call->stub->Stream(&call->context);
  streaming::StreamInit init;
  init.set_id(DrawId(prefix));
  std::string id = init.id();
  google::protobuf::Any message;
  api::ToProto(Wrap(init), &message);
  google::protobuf::Any answer;
  if (!call->pipe->Write(message) || !call->pipe->Read(&answer)) {
    const Status status = FromGrpc(call->pipe->Finish());
    if (!status.ok()) return status.error().Clone();
    return UnavailableError("the daemon ended stream ", id);
  }
  return std::unique_ptr<Stream>(new Stream(std::move(id), std::move(call)));
}

bool Stream::Send(const model::Any& message) {
  google::protobuf::Any out;
  api::ToProto(message, &out);
  return call_->pipe->Write(out);
}

void Stream::EndSending() { (void)call_->pipe->WritesDone(); }

std::optional<model::Any> Stream::Receive() {
  google::protobuf::Any message;
  if (!call_->pipe->Read(&message)) return std::nullopt;
  return api::FromProto(message);
}

void Stream::Cancel() { call_->context.TryCancel(); }

Status SendBytes(Stream& stream, diff::ByteSource& source) {
  std::string buffer(kMaxData, '\0');
  int64_t window = 0;
  while (true) {
    while (window <= 0) {
      const std::optional<model::Any> message = stream.Receive();
      if (!message.has_value()) return UnavailableError("the daemon took no more bytes");
      types::WindowUpdate update;
      if (Unwrap(*message, &update)) window += std::max(update.update(), 0);
    }
    const size_t wanted = std::min(buffer.size(), static_cast<size_t>(window));
    const Result<size_t> n = source.Read(std::span(buffer.data(), wanted));
    if (!n.ok()) {
      stream.Cancel();
      return n.error().Clone();
    }
    if (*n == 0) {
      stream.EndSending();
      return Ok();
    }
    types::Data data;
    data.set_data(buffer.data(), *n);
    if (!stream.Send(Wrap(data))) return UnavailableError("the daemon took no more bytes");
    window -= static_cast<int64_t>(*n);
  }
}

Status ReceiveBytes(Stream& stream, diff::ByteSink& sink) {
  int64_t window = 0;
  while (true) {
    if (window < kWindow / 2) {
      types::WindowUpdate update;
      update.set_update(kWindow);
      (void)stream.Send(Wrap(update));  // a sender that has ended needs none
      window += kWindow;
    }
    const std::optional<model::Any> message = stream.Receive();
    if (!message.has_value()) return Ok();
    types::Data data;
    if (!Unwrap(*message, &data)) continue;
    window -= static_cast<int64_t>(data.data().size());
    Status written = sink.Write(data.data());
    if (!written.ok()) {
      stream.Cancel();
      return written;
    }
  }
}

}  // namespace corten::client
