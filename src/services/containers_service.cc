#include "containerd/services/containers/v1/containers.grpc.pb.h"
#include "services/convert.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace api = containerd::services::containers::v1;

namespace {

metadata::Container FromProto(const api::Container& container) {
  metadata::Container out;
  out.id = model::ContainerId(container.id());
  out.labels = services::FromProto(container.labels());
  out.image = container.image();
  out.runtime.name = container.runtime().name();
  if (container.runtime().has_options()) out.runtime.options = services::FromProto(container.runtime().options());
  if (container.has_spec()) out.spec = services::FromProto(container.spec());
  out.snapshotter = container.snapshotter();
  out.snapshot_key = container.snapshot_key();
  for (const auto& [name, any] : container.extensions()) out.extensions[name] = services::FromProto(any);
  out.sandbox = model::SandboxId(container.sandbox());
  return out;
}

void ToProto(const metadata::Container& container, api::Container* out) {
  out->set_id(container.id.str());
  services::ToProto(container.labels, out->mutable_labels());
  out->set_image(container.image);
  out->mutable_runtime()->set_name(container.runtime.name);
  if (container.runtime.options.has_value()) services::ToProto(*container.runtime.options, out->mutable_runtime()->mutable_options());
  if (container.spec.has_value()) services::ToProto(*container.spec, out->mutable_spec());
  out->set_snapshotter(container.snapshotter);
  out->set_snapshot_key(container.snapshot_key);
  services::ToProto(container.created_at, out->mutable_created_at());
  services::ToProto(container.updated_at, out->mutable_updated_at());
  for (const auto& [name, any] : container.extensions) services::ToProto(any, &(*out->mutable_extensions())[name]);
  out->set_sandbox(container.sandbox.str());
}

class ContainersService final : public api::Containers::CallbackService {
 public:
  ContainersService(Executors executors, metadata::ContainerStore* store) : executors_(executors), store_(store) {}

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const api::GetContainerRequest* request,
                                api::GetContainerResponse* response) override {
    return UnaryInNamespace(context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
      const metadata::Container container = TRY(store_->Get(scope.ns, model::ContainerId(request->id())));
      ToProto(container, response->mutable_container());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const api::ListContainersRequest* request,
                                 api::ListContainersResponse* response) override {
    return UnaryInNamespace(context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
      const std::vector<metadata::Container> containers = TRY(store_->List(scope.ns, services::FromProto(request->filters())));
      for (const metadata::Container& container : containers) ToProto(container, response->add_containers());
      return Ok();
    });
  }

  grpc::ServerWriteReactor<api::ListContainerMessage>* ListStream(grpc::CallbackServerContext* context,
                                                                  const api::ListContainersRequest* request) override {
    using Stream = PullStream<api::ListContainerMessage>;
    const Result<model::Scope> scope = RequireScope(*context);
    if (!scope.ok()) return Stream::Fail(scope.error());
    struct State {
      bool listed = false;
      size_t next = 0;
      std::vector<metadata::Container> containers;
    };
    auto state = std::make_shared<State>();  // owned by the stream's function, which must be copyable
    return Stream::Start(executors_.quick, [this, state, ns = scope->ns, filters = services::FromProto(request->filters())](
                                               api::ListContainerMessage* message) -> Result<bool> {
      if (!state->listed) {
        state->containers = TRY(store_->List(ns, filters));
        state->listed = true;
      }
      if (state->next == state->containers.size()) return false;
      ToProto(state->containers[state->next++], message->mutable_container());
      return true;
    });
  }

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context, const api::CreateContainerRequest* request,
                                   api::CreateContainerResponse* response) override {
    return UnaryInNamespace(context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
      const metadata::Container container = TRY(store_->Create(scope, FromProto(request->container())));
      ToProto(container, response->mutable_container());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context, const api::UpdateContainerRequest* request,
                                   api::UpdateContainerResponse* response) override {
    return UnaryInNamespace(context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
      if (request->container().id().empty()) return InvalidArgumentError("Container.ID required");
      const metadata::Container container =
          TRY(store_->Update(scope, FromProto(request->container()), PathsOf(request->update_mask())));
      ToProto(container, response->mutable_container());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context, const api::DeleteContainerRequest* request,
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
