#include <atomic>
#include <memory>

#include "containerd/services/streaming/v1/streaming.grpc.pb.h"
#include "services/facades.h"
#include "services/rpc.h"
#include "services/stream_table.h"

namespace corten::services {

namespace wire_api = containerd::services::streaming::v1;

namespace {

using google::protobuf::Any;

constexpr std::string_view kInit = "containerd.services.streaming.v1.StreamInit";
constexpr std::string_view kEmpty = "google.protobuf.Empty";

// One call: the first message names the stream, all others pass through it.
class StreamReactor final : public grpc::ServerBidiReactor<Any, Any> {
 public:
  StreamReactor(Result<model::Scope> scope, StreamTable* table)
      : table_(table), stream_(std::make_shared<Stream>()) {
    if (!scope.ok()) {
      Finish(ToGrpc(scope.error()));
      return;
    }
    scope_ = std::move(scope).value();
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (open_) {
      stream_->OnRead(ok ? std::optional(model::Any{incoming_.type_url(),
                                                    std::move(*incoming_.mutable_value())})
                         : std::nullopt);
      return;
    }
    const Status opened =
        ok ? Open() : Status(InvalidArgumentError("stream: the first message must name it"));
    if (!opened.ok()) Finish(ToGrpc(opened.error()));
  }

  void OnWriteDone(bool ok) override { stream_->OnWritten(ok); }
  // The caller went: who waits on the stream is told; the call ends once it is closed here.
  void OnCancel() override {
    if (open_) {
      stream_->OnRead(std::nullopt);
      stream_->Close();
    }
  }
  void OnDone() override {
    stream_->OnGone();
    if (open_) table_->Forget(scope_.ns, id_, stream_.get());
    delete this;
  }

 private:
  Status Open() {
    wire_api::StreamInit init;
    if (!incoming_.type_url().ends_with(kInit) || !init.ParseFromString(incoming_.value())) {
      return InvalidArgumentError("stream: the first message must be a StreamInit, not ",
                                  Quoted(incoming_.type_url()));
    }
    id_ = init.id();
    TRY(table_->Add(scope_, id_, stream_));
    open_ = true;
    Stream::Call call;
    call.start_read = [this] { StartRead(&incoming_); };
    call.start_write = [this](const model::Any& message) {
      outgoing_.set_type_url(message.type_url);
      outgoing_.set_value(message.value);
      StartWrite(&outgoing_);
    };
    call.finish = [this] { Finish(grpc::Status::OK); };
    stream_->Attach(std::move(call));
    (void)stream_->TrySend(
        {std::string(kEmpty), ""});  // the caller waits for it; there is room in a new stream
    return Ok();
  }

  StreamTable* const table_;
  const std::shared_ptr<Stream> stream_;  // owners: this call, the table, who took it
  model::Scope scope_;
  std::string id_;
  std::atomic<bool> open_{false};
  Any incoming_;
  Any outgoing_;
};

class StreamingService final : public wire_api::Streaming::CallbackService {
 public:
  explicit StreamingService(StreamTable* table) : table_(table) {}
  grpc::ServerBidiReactor<Any, Any>* Stream(grpc::CallbackServerContext* context) override {
    return new StreamReactor(RequireScope(*context), table_);
  }

 private:
  StreamTable* const table_;
};

}  // namespace

ServicePtr MakeStreamingService(StreamTable* table) {
  return std::make_unique<StreamingService>(table);
}

}  // namespace corten::services
