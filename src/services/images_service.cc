#include "api/objects.h"
#include "api/values.h"
#include "containerd/services/images/v1/images.grpc.pb.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace wire_api = containerd::services::images::v1;

namespace {

using api::FromProto;
using api::PathsOf;
using api::ToProto;

template <typename Request>
std::optional<Time> EpochOf(const Request& request) {
  if (!request.has_source_date_epoch()) return std::nullopt;
  return FromProto(request.source_date_epoch());
}

class ImagesService final : public wire_api::Images::CallbackService {
 public:
  ImagesService(Executors executors, metadata::ImageStore* store)
      : executors_(executors), store_(store) {}

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context,
                                const wire_api::GetImageRequest* request,
                                wire_api::GetImageResponse* response) override {
    return UnaryAtOnce(context, [&](const model::Scope& scope) -> Status {
      const metadata::Image image = TRY(store_->Get(scope.ns, request->name()));
      ToProto(image, response->mutable_image());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const wire_api::ListImagesRequest* request,
                                 wire_api::ListImagesResponse* response) override {
    return UnaryInNamespace(context, executors_.quick,
                            [this, request, response](const model::Scope& scope) -> Status {
                              const std::vector<metadata::Image> images =
                                  TRY(store_->List(scope.ns, FromProto(request->filters())));
                              for (const metadata::Image& image : images)
                                ToProto(image, response->add_images());
                              return Ok();
                            });
  }

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context,
                                   const wire_api::CreateImageRequest* request,
                                   wire_api::CreateImageResponse* response) override {
    return UnaryLater(context, [&](const model::Scope& scope, std::function<void(Status)> done) {
      if (request->image().name().empty()) return done(InvalidArgumentError("Image.Name required"));
      Result<metadata::Image> wanted = FromProto(request->image());
      if (!wanted.ok()) return done(std::move(wanted).TakeError());
      store_->CreateLater(scope, std::move(*wanted), EpochOf(*request),
                          [response, done = std::move(done)](Result<metadata::Image> made) {
                            if (!made.ok()) return done(std::move(made).TakeError());
                            ToProto(*made, response->mutable_image());
                            done(Ok());
                          });
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context,
                                   const wire_api::UpdateImageRequest* request,
                                   wire_api::UpdateImageResponse* response) override {
    return UnaryInNamespace(
        context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
          if (request->image().name().empty()) return InvalidArgumentError("Image.Name required");
          metadata::Image wanted = TRY(FromProto(request->image()));
          const metadata::Image image = TRY(store_->Update(
              scope, std::move(wanted), PathsOf(request->update_mask()), EpochOf(*request)));
          ToProto(image, response->mutable_image());
          return Ok();
        });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const wire_api::DeleteImageRequest* request,
                                   google::protobuf::Empty*) override {
    // A synchronous delete waits for the collector: not on the short executor.
    Executor* executor = request->sync() ? executors_.bulk : executors_.quick;
    return UnaryInNamespace(
        context, executor, [this, request](const model::Scope& scope) -> Status {
          metadata::ImageStore::DeleteOptions options;
          options.synchronous = request->sync();
          if (request->has_target() && !request->target().digest().empty()) {
            options.target = TRY(model::Digest::Parse(request->target().digest()));
          }
          return store_->Delete(scope, request->name(), options);
        });
  }

 private:
  const Executors executors_;
  metadata::ImageStore* const store_;
};

}  // namespace

ServicePtr MakeImagesService(Executors executors, metadata::ImageStore* store) {
  return std::make_unique<ImagesService>(executors, store);
}

}  // namespace corten::services
