#include "containerd/services/images/v1/images.grpc.pb.h"
#include "services/convert.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace api = containerd::services::images::v1;

namespace {

Result<metadata::Image> FromProto(const api::Image& image) {
  metadata::Image out;
  out.name = image.name();
  out.labels = services::FromProto(image.labels());
  out.target = TRY(services::FromProto(image.target()));
  return out;
}

void ToProto(const metadata::Image& image, api::Image* out) {
  out->set_name(image.name);
  services::ToProto(image.labels, out->mutable_labels());
  services::ToProto(image.target, out->mutable_target());
  services::ToProto(image.created_at, out->mutable_created_at());
  services::ToProto(image.updated_at, out->mutable_updated_at());
}

template <typename Request>
std::optional<Time> EpochOf(const Request& request) {
  if (!request.has_source_date_epoch()) return std::nullopt;
  return services::FromProto(request.source_date_epoch());
}

class ImagesService final : public api::Images::CallbackService {
 public:
  ImagesService(Executors executors, metadata::ImageStore* store) : executors_(executors), store_(store) {}

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const api::GetImageRequest* request,
                                api::GetImageResponse* response) override {
    return UnaryInNamespace(context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
      const metadata::Image image = TRY(store_->Get(scope.ns, request->name()));
      ToProto(image, response->mutable_image());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const api::ListImagesRequest* request,
                                 api::ListImagesResponse* response) override {
    return UnaryInNamespace(context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
      const std::vector<metadata::Image> images = TRY(store_->List(scope.ns, services::FromProto(request->filters())));
      for (const metadata::Image& image : images) ToProto(image, response->add_images());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context, const api::CreateImageRequest* request,
                                   api::CreateImageResponse* response) override {
    return UnaryInNamespace(context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
      if (request->image().name().empty()) return InvalidArgumentError("Image.Name required");
      metadata::Image wanted = TRY(FromProto(request->image()));
      const metadata::Image image = TRY(store_->Create(scope, std::move(wanted), EpochOf(*request)));
      ToProto(image, response->mutable_image());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context, const api::UpdateImageRequest* request,
                                   api::UpdateImageResponse* response) override {
    return UnaryInNamespace(context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
      if (request->image().name().empty()) return InvalidArgumentError("Image.Name required");
      metadata::Image wanted = TRY(FromProto(request->image()));
      const metadata::Image image = TRY(store_->Update(scope, std::move(wanted), PathsOf(request->update_mask()), EpochOf(*request)));
      ToProto(image, response->mutable_image());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context, const api::DeleteImageRequest* request,
                                   google::protobuf::Empty*) override {
    // A synchronous delete waits for the collector: not on the short executor.
    Executor* executor = request->sync() ? executors_.bulk : executors_.quick;
    return UnaryInNamespace(context, executor, [this, request](const model::Scope& scope) -> Status {
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
