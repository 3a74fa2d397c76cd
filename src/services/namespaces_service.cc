#include "api/values.h"
#include "containerd/services/namespaces/v1/namespaces.grpc.pb.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace wire_api = containerd::services::namespaces::v1;

namespace {

using api::FromProto;
using api::PathsOf;
using api::ToProto;

void Fill(const model::Namespace& ns, const model::Labels& labels, wire_api::Namespace* out) {
  out->set_name(ns.str());
  ToProto(labels, out->mutable_labels());
}

class NamespacesService final : public wire_api::Namespaces::CallbackService {
 public:
  NamespacesService(Executors executors, metadata::NamespaceStore* store)
      : executors_(executors), store_(store) {}

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context,
                                const wire_api::GetNamespaceRequest* request,
                                wire_api::GetNamespaceResponse* response) override {
    return Unary(context, executors_.quick, [this, request, response]() -> Status {
      const model::Namespace ns(request->name());
      const model::Labels labels = TRY(store_->GetLabels(ns));
      Fill(ns, labels, response->mutable_namespace_());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const wire_api::ListNamespacesRequest*,
                                 wire_api::ListNamespacesResponse* response) override {
    return Unary(context, executors_.quick, [this, response]() -> Status {
      const std::vector<model::Namespace> namespaces = TRY(store_->List());
      for (const model::Namespace& ns : namespaces) {
        const model::Labels labels = TRY(store_->GetLabels(ns));
        Fill(ns, labels, response->add_namespaces());
      }
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context,
                                   const wire_api::CreateNamespaceRequest* request,
                                   wire_api::CreateNamespaceResponse* response) override {
    return Unary(context, executors_.quick, [this, request, response]() -> Status {
      const model::Namespace ns(request->namespace_().name());
      const model::Labels labels = FromProto(request->namespace_().labels());
      TRY(store_->Create(ns, labels));
      Fill(ns, labels, response->mutable_namespace_());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context,
                                   const wire_api::UpdateNamespaceRequest* request,
                                   wire_api::UpdateNamespaceResponse* response) override {
    return Unary(context, executors_.quick, [this, request, response]() -> Status {
      const model::Namespace ns(request->namespace_().name());
      const model::Labels labels = TRY(store_->Update(ns, FromProto(request->namespace_().labels()),
                                                      PathsOf(request->update_mask())));
      Fill(ns, labels, response->mutable_namespace_());
      return Ok();
    });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const wire_api::DeleteNamespaceRequest* request,
                                   google::protobuf::Empty*) override {
    return Unary(context, executors_.quick,
                 [this, request] { return store_->Delete(model::Namespace(request->name())); });
  }

 private:
  const Executors executors_;
  metadata::NamespaceStore* const store_;
};

}  // namespace

ServicePtr MakeNamespacesService(Executors executors, metadata::NamespaceStore* store) {
  return std::make_unique<NamespacesService>(executors, store);
}

}  // namespace corten::services
