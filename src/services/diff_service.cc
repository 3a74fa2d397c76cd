#include "api/values.h"
#include "containerd/services/diff/v1/diff.grpc.pb.h"
#include "diff/differ.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace wire_api = containerd::services::diff::v1;

namespace {

using api::FromProto;
using api::PathsOf;
using api::ToProto;

class DiffService final : public wire_api::Diff::CallbackService {
 public:
  DiffService(Executors executors, std::vector<DifferFactory> differs)
      : executors_(executors), differs_(std::move(differs)) {}

  grpc::ServerUnaryReactor* Apply(grpc::CallbackServerContext* context,
                                  const wire_api::ApplyRequest* request,
                                  wire_api::ApplyResponse* response) override {
    return FirstThatCan(context, [context, request, response](diff::Differ& differ) -> Status {
      const model::Descriptor descriptor = TRY(FromProto(request->diff()));
      diff::ApplyOptions options;
      options.sync_fs = request->sync_fs();
      options.canceled = [context] { return context->IsCancelled(); };
      for (const auto& [id, any] : request->payloads())
        options.processor_payloads[id] = FromProto(any);
      const model::Descriptor applied =
          TRY(differ.Apply(descriptor, FromProto(request->mounts()), options));
      ToProto(applied, response->mutable_applied());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Diff(grpc::CallbackServerContext* context,
                                 const wire_api::DiffRequest* request,
                                 wire_api::DiffResponse* response) override {
    return FirstThatCan(context, [context, request, response](diff::Differ& differ) -> Status {
      diff::CompareOptions options;
      options.media_type = request->media_type();
      options.reference = request->ref();
      options.labels = FromProto(request->labels());
      if (request->has_source_date_epoch())
        options.source_date_epoch = FromProto(request->source_date_epoch());
      options.canceled = [context] { return context->IsCancelled(); };
      const model::Descriptor made =
          TRY(differ.Compare(FromProto(request->left()), FromProto(request->right()), options));
      ToProto(made, response->mutable_diff());
      return Ok();
    });
  }

 private:
  template <typename Work>
  grpc::ServerUnaryReactor* FirstThatCan(grpc::CallbackServerContext* context, Work work) {
    return UnaryInNamespace(context, executors_.bulk,
                            [this, work](const model::Scope& scope) -> Status {
                              Status last = UnimplementedError("no differ is loaded");
                              for (const DifferFactory& make : differs_) {
                                last = work(*make(scope));
                                if (last.ok() || !last.error().Is(Code::kUnimplemented))
                                  return last;
                              }
                              return last;
                            });
  }

  const Executors executors_;
  const std::vector<DifferFactory> differs_;
};

}  // namespace

ServicePtr MakeDiffService(Executors executors, std::vector<DifferFactory> differs) {
  return std::make_unique<DiffService>(executors, std::move(differs));
}

}  // namespace corten::services
