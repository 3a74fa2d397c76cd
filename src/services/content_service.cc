#include <algorithm>

#include "api/objects.h"
#include "api/values.h"
#include "containerd/services/content/v1/content.grpc.pb.h"
#include "services/content_write.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace wire_api = containerd::services::content::v1;

namespace {

using api::FromProto;
using api::PathsOf;
using api::ToProto;

constexpr int kListBatch = 100;
constexpr int64_t kReadChunk = 1 << 20;  // clients of the original never see larger messages

Result<model::Digest> ParseDigest(const std::string& text) {
  return model::Digest::Parse(text).Context(Quoted(text));
}

class ContentService final : public wire_api::Content::CallbackService {
 public:
  ContentService(Executors executors, metadata::ScopedStores* stores)
      : executors_(executors), stores_(stores) {}

  grpc::ServerUnaryReactor* Info(grpc::CallbackServerContext* context,
                                 const wire_api::InfoRequest* request,
                                 wire_api::InfoResponse* response) override {
    return UnaryInNamespace(context, executors_.quick,
                            [this, request, response](const model::Scope& scope) -> corten::Status {
                              const model::Digest digest = TRY(ParseDigest(request->digest()));
                              const content::Info info =
                                  TRY(stores_->Content(scope)->GetInfo(digest));
                              ToProto(info, response->mutable_info());
                              return Ok();
                            });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context,
                                   const wire_api::UpdateRequest* request,
                                   wire_api::UpdateResponse* response) override {
    return UnaryInNamespace(context, executors_.quick,
                            [this, request, response](const model::Scope& scope) -> corten::Status {
                              content::Info wanted;
                              wanted.digest = TRY(ParseDigest(request->info().digest()));
                              wanted.labels = FromProto(request->info().labels());
                              const content::Info info = TRY(stores_->Content(scope)->Update(
                                  wanted, PathsOf(request->update_mask())));
                              ToProto(info, response->mutable_info());
                              return Ok();
                            });
  }

  grpc::ServerWriteReactor<wire_api::ListContentResponse>* List(
      grpc::CallbackServerContext* context, const wire_api::ListContentRequest* request) override {
    return ListStreamInNamespace<wire_api::ListContentResponse, content::Info>(
        context, executors_.quick, kListBatch,
        [this, filters = FromProto(request->filters())](
            const model::Scope& scope) -> Result<std::vector<content::Info>> {
          std::vector<content::Info> infos;
          TRY(stores_->Content(scope)->Walk(filters, [&](const content::Info& info) {
            infos.push_back(info);
            return Ok();
          }));
          return infos;
        },
        [](const content::Info& info, wire_api::ListContentResponse* message) {
          ToProto(info, message->add_info());
        });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const wire_api::DeleteContentRequest* request,
                                   google::protobuf::Empty*) override {
    return UnaryInNamespace(context, executors_.quick,
                            [this, request](const model::Scope& scope) -> corten::Status {
                              const model::Digest digest = TRY(ParseDigest(request->digest()));
                              return stores_->Content(scope)->Delete(digest);
                            });
  }

  grpc::ServerWriteReactor<wire_api::ReadContentResponse>* Read(
      grpc::CallbackServerContext* context, const wire_api::ReadContentRequest* request) override {
    using Stream = PullStream<wire_api::ReadContentResponse>;
    const Result<model::Scope> scope = RequireScope(*context);
    if (!scope.ok()) return Stream::Fail(scope.error());
    struct State {
      std::unique_ptr<content::Reader> reader;
      int64_t start = 0;
      int64_t at = 0;
      int64_t end = 0;
    };
    auto state =
        std::make_shared<State>();  // owned by the stream's function, which must be copyable
    return Stream::Start(
        executors_.bulk,
        [this, state, scope = *scope, digest_text = request->digest(), offset = request->offset(),
         size = request->size()](wire_api::ReadContentResponse* message) -> Result<bool> {
          if (state->reader == nullptr) {
            const model::Digest digest = TRY(ParseDigest(digest_text));
            state->reader = TRY(stores_->Content(scope)->OpenReader(digest));
            const int64_t total = state->reader->size();
            if (offset > total) return OutOfRangeError("read past object length ", total, " bytes");
            state->start = state->at = std::max<int64_t>(offset, 0);
            state->end = size <= 0 || size > total - state->at ? total : state->at + size;
          }
          const int64_t want = std::min(kReadChunk, state->end - state->at);
          if (want <= 0) return false;
          std::string* data = message->mutable_data();
          data->resize(static_cast<size_t>(want));
          const size_t got = TRY(state->reader->ReadAt(*data, state->at));
          if (got == 0)
            return DataLossError("content ", digest_text, ": ends at ", state->at, " of ",
                                 state->end, " bytes");
          data->resize(got);
          message->set_offset(
              state->at -
              state->start);  // Wire: counts from the start of this read, as in the original
          state->at += static_cast<int64_t>(got);
          return true;
        },
        Stream::Blocking::kAlways, Stream::Filled::kReused);
  }

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const wire_api::StatusRequest* request,
                                   wire_api::StatusResponse* response) override {
    return UnaryInNamespace(context, executors_.quick,
                            [this, request, response](const model::Scope& scope) -> corten::Status {
                              const content::IngestStatus status =
                                  TRY(stores_->Content(scope)->GetStatus(request->ref()));
                              ToProto(status, response->mutable_status());
                              return Ok();
                            });
  }

  grpc::ServerUnaryReactor* ListStatuses(grpc::CallbackServerContext* context,
                                         const wire_api::ListStatusesRequest* request,
                                         wire_api::ListStatusesResponse* response) override {
    return UnaryInNamespace(
        context, executors_.quick,
        [this, request, response](const model::Scope& scope) -> corten::Status {
          const std::vector<content::IngestStatus> statuses =
              TRY(stores_->Content(scope)->ListStatuses(FromProto(request->filters())));
          for (const content::IngestStatus& status : statuses)
            ToProto(status, response->add_statuses());
          return Ok();
        });
  }

  grpc::ServerBidiReactor<wire_api::WriteContentRequest, wire_api::WriteContentResponse>* Write(
      grpc::CallbackServerContext* context) override {
    return StartContentWrite(context, executors_, stores_);
  }

  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* context,
                                  const wire_api::AbortRequest* request,
                                  google::protobuf::Empty*) override {
    return UnaryInNamespace(context, executors_.quick, [this, request](const model::Scope& scope) {
      return stores_->Content(scope)->Abort(request->ref());
    });
  }

 private:
  const Executors executors_;
  metadata::ScopedStores* const stores_;
};

}  // namespace

ServicePtr MakeContentService(Executors executors, metadata::ScopedStores* stores) {
  return std::make_unique<ContentService>(executors, stores);
}

}  // namespace corten::services
