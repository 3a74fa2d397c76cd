#include "api/objects.h"
#include "api/values.h"
#include "containerd/services/containers/v1/containers.grpc.pb.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace wire_api = containerd::services::containers::v1;

namespace {

using api::FromProto;
using api::PathsOf;
using api::ToProto;

class ContainersService final : public wire_api::Containers::CallbackService {
 public:
  ContainersService(Executors executors, metadata::ContainerStore* store)
      : executors_(executors), store_(store) {}

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context,
                                const wire_api::GetContainerRequest* request,
                                wire_api::GetContainerResponse* response) override {
    return UnaryAtOnce(context, [&](const model::Scope& scope) -> Status {
      const metadata::Container container =
          TRY(store_->Get(scope.ns, model::ContainerId(request->id())));
      ToProto(container, response->mutable_container());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const wire_api::ListContainersRequest* request,
                                 wire_api::ListContainersResponse* response) override {
    return UnaryInNamespace(context, executors_.quick,
                            [this, request, response](const model::Scope& scope) -> Status {
                              const std::vector<metadata::Container> containers =
                                  TRY(store_->List(scope.ns, FromProto(request->filters())));
                              for (const metadata::Container& container : containers)
                                ToProto(container, response->add_containers());
                              return Ok();
                            });
  }

  grpc::ServerWriteReactor<wire_api::ListContainerMessage>* ListStream(
      grpc::CallbackServerContext* context,
      const wire_api::ListContainersRequest* request) override {
    return ListStreamInNamespace<wire_api::ListContainerMessage, metadata::Container>(
        context, executors_.quick, /*batch=*/1,
        [this, filters = FromProto(request->filters())](const model::Scope& scope) {
          return store_->List(scope.ns, filters);
        },
        [](const metadata::Container& container, wire_api::ListContainerMessage* message) {
          ToProto(container, message->mutable_container());
        });
  }

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context,
                                   const wire_api::CreateContainerRequest* request,
                                   wire_api::CreateContainerResponse* response) override {
    return UnaryLater(context, [&](const model::Scope& scope, std::function<void(Status)> done) {
      store_->CreateLater(scope, FromProto(request->container()),
                          [response, done = std::move(done)](Result<metadata::Container> made) {
                            if (!made.ok()) return done(std::move(made).TakeError());
                            ToProto(*made, response->mutable_container());
                            done(Ok());
                          });
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context,
                                   const wire_api::UpdateContainerRequest* request,
                                   wire_api::UpdateContainerResponse* response) override {
    return UnaryInNamespace(
        context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
          if (request->container().id().empty())
            return InvalidArgumentError("Container.ID required");
          const metadata::Container container = TRY(store_->Update(
              scope, FromProto(request->container()), PathsOf(request->update_mask())));
          ToProto(container, response->mutable_container());
          return Ok();
        });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const wire_api::DeleteContainerRequest* request,
                                   google::protobuf::Empty*) override {
    return UnaryInNamespace(context, executors_.quick, [this, request](const model::Scope& scope) {
      return store_->Delete(scope, model::ContainerId(request->id()));
    });
  }

 private:
  const Executors executors_;
  metadata::ContainerStore* const store_;
};

}  // namespace

ServicePtr MakeContainersService(Executors executors, metadata::ContainerStore* store) {
  return std::make_unique<ContainersService>(executors, store);
}

}  // namespace corten::services
