#include "api/objects.h"
#include "api/values.h"
#include "containerd/services/leases/v1/leases.grpc.pb.h"
#include "services/facades.h"
#include "services/rpc.h"

namespace corten::services {

namespace wire_api = containerd::services::leases::v1;

namespace {

using api::FromProto;
using api::PathsOf;
using api::ToProto;

class LeasesService final : public wire_api::Leases::CallbackService {
 public:
  LeasesService(Executors executors, metadata::LeaseStore* store)
      : executors_(executors), store_(store) {}

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context,
                                   const wire_api::CreateRequest* request,
                                   wire_api::CreateResponse* response) override {
    return UnaryInNamespace(
        context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
          metadata::Lease wanted;
          wanted.id = model::LeaseId(request->id());
          wanted.labels = FromProto(request->labels());
          const metadata::Lease lease = TRY(store_->Create(scope.ns, std::move(wanted)));
          ToProto(lease, response->mutable_lease());
          return Ok();
        });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const wire_api::DeleteRequest* request,
                                   google::protobuf::Empty*) override {
    Executor* executor =
        request->sync() ? executors_.bulk : executors_.quick;  // waits for the collector
    return UnaryInNamespace(context, executor, [this, request](const model::Scope& scope) {
      return store_->Delete(scope.ns, model::LeaseId(request->id()), request->sync());
    });
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const wire_api::ListRequest* request,
                                 wire_api::ListResponse* response) override {
    return UnaryInNamespace(context, executors_.quick,
                            [this, request, response](const model::Scope& scope) -> Status {
                              const std::vector<metadata::Lease> leases =
                                  TRY(store_->List(scope.ns, FromProto(request->filters())));
                              for (const metadata::Lease& lease : leases)
                                ToProto(lease, response->add_leases());
                              return Ok();
                            });
  }

  grpc::ServerUnaryReactor* AddResource(grpc::CallbackServerContext* context,
                                        const wire_api::AddResourceRequest* request,
                                        google::protobuf::Empty*) override {
    return UnaryInNamespace(context, executors_.quick, [this, request](const model::Scope& scope) {
      return store_->AddResource(scope.ns, model::LeaseId(request->id()),
                                 {request->resource().id(), request->resource().type()});
    });
  }

  grpc::ServerUnaryReactor* DeleteResource(grpc::CallbackServerContext* context,
                                           const wire_api::DeleteResourceRequest* request,
                                           google::protobuf::Empty*) override {
    return UnaryInNamespace(context, executors_.quick, [this, request](const model::Scope& scope) {
      return store_->DeleteResource(scope.ns, model::LeaseId(request->id()),
                                    {request->resource().id(), request->resource().type()});
    });
  }

  grpc::ServerUnaryReactor* ListResources(grpc::CallbackServerContext* context,
                                          const wire_api::ListResourcesRequest* request,
                                          wire_api::ListResourcesResponse* response) override {
    return UnaryInNamespace(
        context, executors_.quick, [this, request, response](const model::Scope& scope) -> Status {
          const std::vector<metadata::LeaseResource> resources =
              TRY(store_->ListResources(scope.ns, model::LeaseId(request->id())));
          for (const metadata::LeaseResource& resource : resources) {
            wire_api::Resource* out = response->add_resources();
            out->set_id(resource.id);
            out->set_type(resource.type);
          }
          return Ok();
        });
  }

 private:
  const Executors executors_;
  metadata::LeaseStore* const store_;
};

}  // namespace

ServicePtr MakeLeasesService(Executors executors, metadata::LeaseStore* store) {
  return std::make_unique<LeasesService>(executors, store);
}

}  // namespace corten::services
