#include <mutex>

#include "api/values.h"
#include "containerd/services/transfer/v1/transfer.grpc.pb.h"
#include "containerd/types/transfer/image.pb.h"
#include "containerd/types/transfer/importexport.pb.h"
#include "containerd/types/transfer/progress.pb.h"
#include "containerd/types/transfer/registry.pb.h"
#include "image/transfers.h"
#include "services/byte_stream.h"
#include "services/facades.h"
#include "services/rpc.h"
#include "services/stream_table.h"

namespace corten::services {

namespace wire_api = containerd::services::transfer::v1;
namespace types = containerd::types::transfer;

namespace {

using api::FromProto;
using api::ToProto;

constexpr size_t kMaxTransfers = 32;  // at once; more wait
constexpr size_t kMaxWaiting = 1024;
constexpr std::chrono::seconds kAuthPatience(60);  // a client that cannot answer just does not
constexpr std::chrono::seconds kFlushPatience(2);  // for the last lines of progress to leave
constexpr std::string_view kPrefix = "containerd.types.transfer.";

// What the type URL names, without containerd's package; the URL itself if it is not one of its
// types.
std::string KindOf(const google::protobuf::Any& any) {
  const std::string& url = any.type_url();
  const size_t at = url.rfind(kPrefix);
  return at == std::string::npos ? url : url.substr(at + kPrefix.size());
}

template <typename Message>
Result<Message> Open(const google::protobuf::Any& any) {
  Message message;
  if (!message.ParseFromString(any.value()))
    return InvalidArgumentError("transfer: malformed ", any.type_url());
  return message;
}

std::vector<model::Platform> Platforms(
    const google::protobuf::RepeatedPtrField<containerd::types::Platform>& list) {
  std::vector<model::Platform> out;
  for (const auto& platform : list) out.push_back(FromProto(platform));
  return out;
}

image::StoreRequest ToRequest(const types::ImageStore& store) {
  image::StoreRequest out;
  out.name = store.name();
  out.labels = FromProto(store.labels());
  out.platforms = Platforms(store.platforms());
  out.all_metadata = store.all_metadata();
  out.manifest_limit = store.manifest_limit();
  for (const auto& extra : store.extra_references()) {
    out.extra_references.push_back({extra.name(), extra.is_prefix(), extra.allow_overwrite(),
                                    extra.add_digest(), extra.skip_named_digest()});
  }
  for (const auto& unpack : store.unpacks())
    out.unpacks.push_back({FromProto(unpack.platform()), unpack.snapshotter()});
  return out;
}

// One call at work: its streams and how it is cancelled.
class Journey {
 public:
  Journey(image::Transfers* transfers, StreamTable* streams, model::Scope scope, Canceled canceled)
      : transfers_(transfers),
        streams_(streams),
        scope_(std::move(scope)),
        canceled_(std::move(canceled)) {}
  ~Journey() {
    for (const std::shared_ptr<Stream>& stream : taken_) stream->Close(kFlushPatience);
  }
  Journey(const Journey&) = delete;
  Journey& operator=(const Journey&) = delete;

  Status Run(const wire_api::TransferRequest& request) {
    if (!request.options().progress_stream().empty())
      progress_ = TRY(Take(request.options().progress_stream()));
    const std::string from = KindOf(request.source());
    const std::string to = KindOf(request.destination());
    if (from == "OCIRegistry" && to == "ImageStore") return Pull(request);
    if (from == "ImageStore" && to == "ImageStore") return Tag(request);
    if (from == "ImageStore" && to == "ImageExportStream") return Export(request);
    if (from == "ImageImportStream" && to == "ImageStore") return Import(request);
    if (from == "ImageImportStream" && to == "ImageExportStream") return Echo(request);
    return UnimplementedError("unable to transfer from ", from, " to ", to);
  }

 private:
  Result<std::shared_ptr<Stream>> Take(const std::string& id) {
    std::shared_ptr<Stream> stream = TRY(streams_->Get(scope_.ns, id));
    taken_.push_back(stream);
    return stream;
  }

  image::ProgressSink Progress() {
    if (progress_ == nullptr) return {};
    return [stream = progress_](const image::Progress& progress) {
      types::Progress message;
      message.set_event(progress.event);
      message.set_name(progress.name);
      for (const std::string& parent : progress.parents) message.add_parents(parent);
      message.set_progress(progress.progress);
      message.set_total(progress.total);
      if (!progress.descriptor.digest.empty()) ToProto(progress.descriptor, message.mutable_desc());
      (void)stream->TrySend(
          {StrCat(kPrefix, "Progress"),
           message.SerializeAsString()});  // a client that does not read misses it
    };
  }

  Status Pull(const wire_api::TransferRequest& request) {
    const types::OCIRegistry source = TRY(Open<types::OCIRegistry>(request.source()));
    const types::ImageStore store = TRY(Open<types::ImageStore>(request.destination()));
    const types::RegistryResolver& resolver = source.resolver();
    image::RegistryOptions options;
    options.hosts_dir = resolver.host_dir();
    options.default_scheme = resolver.default_scheme();
    options.headers = FromProto(resolver.headers());
    if (!resolver.auth_stream().empty()) {
      const std::shared_ptr<Stream> stream = TRY(Take(resolver.auth_stream()));
      options.ask = [this, stream, reference = source.reference()](
                        const std::string& host, const std::vector<std::string>& challenges) {
        return AskClient(*stream, host, reference, challenges);
      };
    }
    if (resolver.http_debug() != types::DISABLED && !resolver.logs_stream().empty()) {
      const std::shared_ptr<Stream> stream = TRY(Take(resolver.logs_stream()));
      options.log = [sink = std::make_shared<StreamSink>(stream, canceled_),
                     mutex = std::make_shared<std::mutex>()](const std::string& line) {
        const std::lock_guard lock(*mutex);
        sink->WriteOrDrop(StrCat(line, "\n"));
      };
    }
    return transfers_->Pull(scope_, source.reference(), options, ToRequest(store), Progress(),
                            canceled_);
  }

  Result<image::Credentials> AskClient(Stream& stream, const std::string& host,
                                       const std::string& reference,
                                       const std::vector<std::string>& challenges) {
    types::AuthRequest question;
    question.set_host(host);
    question.set_reference(reference);
    for (const std::string& challenge : challenges) question.add_wwwauthenticate(challenge);
    TRY(stream.Send({StrCat(kPrefix, "AuthRequest"), question.SerializeAsString()}, canceled_));
    const std::optional<model::Any> message = TRY(stream.Receive(canceled_, kAuthPatience));
    image::Credentials out;
    types::AuthResponse answer;
    if (!message.has_value()) return out;
    if (!answer.ParseFromString(message->value))
      return InvalidArgumentError("malformed AuthResponse");
    // Wire: HEADER is ignored by the original too.
    if (answer.authtype() == types::CREDENTIALS) {
      out = {image::Credentials::Kind::kPassword, answer.username(), answer.secret()};
    } else if (answer.authtype() == types::REFRESH) {
      out = {image::Credentials::Kind::kRefreshToken, "", answer.secret()};
    }
    return out;
  }

  Status Tag(const wire_api::TransferRequest& request) {
    const types::ImageStore source = TRY(Open<types::ImageStore>(request.source()));
    const types::ImageStore destination = TRY(Open<types::ImageStore>(request.destination()));
    return transfers_->Tag(scope_, ToRequest(source), ToRequest(destination));
  }

  Status Import(const wire_api::TransferRequest& request) {
    const types::ImageImportStream source = TRY(Open<types::ImageImportStream>(request.source()));
    const types::ImageStore store = TRY(Open<types::ImageStore>(request.destination()));
    const std::shared_ptr<Stream> stream = TRY(Take(source.stream()));
    StreamSource bytes(stream, canceled_);
    return transfers_->Import(scope_, bytes, ToRequest(store), source.force_compress(), Progress(),
                              canceled_);
  }

  Status Export(const wire_api::TransferRequest& request) {
    const types::ImageStore source = TRY(Open<types::ImageStore>(request.source()));
    const types::ImageExportStream destination =
        TRY(Open<types::ImageExportStream>(request.destination()));
    const std::shared_ptr<Stream> stream = TRY(Take(destination.stream()));
    StreamSink sink(stream, canceled_);
    image::ExportOptions options;
    options.platforms = Platforms(destination.platforms());
    options.all_platforms = destination.all_platforms();
    options.skip_docker_manifest = destination.skip_compatibility_manifest();
    options.skip_non_distributable = destination.skip_non_distributable();
    options.canceled = canceled_;
    return transfers_->Export(scope_, ToRequest(source), sink, std::move(options), Progress());
  }

  // An archive straight back.
  Status Echo(const wire_api::TransferRequest& request) {
    const types::ImageImportStream source = TRY(Open<types::ImageImportStream>(request.source()));
    const types::ImageExportStream destination =
        TRY(Open<types::ImageExportStream>(request.destination()));
    const std::shared_ptr<Stream> from = TRY(Take(source.stream()));
    const std::shared_ptr<Stream> to = TRY(Take(destination.stream()));
    StreamSource bytes(from, canceled_);
    StreamSink sink(to, canceled_);
    char buffer[32 << 10];
    while (true) {
      const size_t n = TRY(bytes.Read(buffer));
      if (n == 0) return Ok();
      TRY(sink.Write({buffer, n}));
    }
  }

  image::Transfers* const transfers_;
  StreamTable* const streams_;
  const model::Scope scope_;
  const Canceled canceled_;
  std::shared_ptr<Stream> progress_;
  std::vector<std::shared_ptr<Stream>> taken_;
};

class TransferService final : public wire_api::Transfer::CallbackService {
 public:
  TransferService(image::Transfers* transfers, StreamTable* streams)
      : transfers_(transfers), streams_(streams) {}

  grpc::ServerUnaryReactor* Transfer(grpc::CallbackServerContext* context,
                                     const wire_api::TransferRequest* request,
                                     google::protobuf::Empty*) override {
    // Threads of its own: a transfer waits for its client's streams, which must not hold up the
    // blobs of others.
    return UnaryInNamespace(context, &executor_,
                            [this, context, request](const model::Scope& scope) -> Status {
                              Journey journey(transfers_, streams_, scope,
                                              [context] { return context->IsCancelled(); });
                              return journey.Run(*request);
                            });
  }

 private:
  image::Transfers* const transfers_;
  StreamTable* const streams_;
  Executor executor_{"transfer", {kMaxTransfers, kMaxWaiting}};
};

}  // namespace

ServicePtr MakeTransferService(image::Transfers* transfers, StreamTable* streams) {
  return std::make_unique<TransferService>(transfers, streams);
}

}  // namespace corten::services
