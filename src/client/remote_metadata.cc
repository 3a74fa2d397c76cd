#include "api/objects.h"
#include "api/values.h"
#include "client/remote.h"
#include "containerd/services/containers/v1/containers.grpc.pb.h"
#include "containerd/services/images/v1/images.grpc.pb.h"
#include "containerd/services/leases/v1/leases.grpc.pb.h"
#include "containerd/services/namespaces/v1/namespaces.grpc.pb.h"

namespace corten::client {

namespace {

using api::FromProto;
using api::ToProto;

namespace namespaces = containerd::services::namespaces::v1;
namespace containers = containerd::services::containers::v1;
namespace images = containerd::services::images::v1;
namespace leases = containerd::services::leases::v1;

// One unary call: method(context, request, response).
template <typename Stub, typename Request, typename Response>
Status CallUnary(const Connection& connection, const model::Scope& scope, Stub& stub,
                 grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                 const Request& request, Response* response) {
  grpc::ClientContext context;
  connection.Prepare(&context, scope);
  return FromGrpc((stub.*method)(&context, request, response));
}

void AddPaths(const std::vector<std::string>& paths, google::protobuf::FieldMask* mask) {
  for (const std::string& path : paths) mask->add_paths(path);
}

class Namespaces final : public metadata::NamespaceStore {
 public:
  explicit Namespaces(ConnectionPtr connection)
      : connection_(std::move(connection)),
        stub_(namespaces::Namespaces::NewStub(connection_->channel())) {}

  Status Create(const model::Namespace& ns, const model::Labels& labels) override {
    namespaces::CreateNamespaceRequest request;
    request.mutable_namespace_()->set_name(ns.str());
    ToProto(labels, request.mutable_namespace_()->mutable_labels());
    namespaces::CreateNamespaceResponse response;
    return CallUnary(*connection_, {}, *stub_, &Stub::Create, request, &response);
  }
  Result<model::Labels> GetLabels(const model::Namespace& ns) override {
    namespaces::GetNamespaceRequest request;
    request.set_name(ns.str());
    namespaces::GetNamespaceResponse response;
    TRY(CallUnary(*connection_, {}, *stub_, &Stub::Get, request, &response));
    return FromProto(response.namespace_().labels());
  }
  Result<model::Labels> Update(const model::Namespace& ns, const model::Labels& labels,
                               const metadata::FieldPaths& paths) override {
    namespaces::UpdateNamespaceRequest request;
    request.mutable_namespace_()->set_name(ns.str());
    ToProto(labels, request.mutable_namespace_()->mutable_labels());
    AddPaths(paths, request.mutable_update_mask());
    namespaces::UpdateNamespaceResponse response;
    TRY(CallUnary(*connection_, {}, *stub_, &Stub::Update, request, &response));
    return FromProto(response.namespace_().labels());
  }
  Result<std::vector<model::Namespace>> List() override {
    namespaces::ListNamespacesResponse response;
    TRY(CallUnary(*connection_, {}, *stub_, &Stub::List, namespaces::ListNamespacesRequest(),
                  &response));
    std::vector<model::Namespace> out;
    for (const namespaces::Namespace& ns : response.namespaces()) out.emplace_back(ns.name());
    return out;
  }
  Status Delete(const model::Namespace& ns) override {
    namespaces::DeleteNamespaceRequest request;
    request.set_name(ns.str());
    google::protobuf::Empty response;
    return CallUnary(*connection_, {}, *stub_, &Stub::Delete, request, &response);
  }

 private:
  using Stub = namespaces::Namespaces::Stub;
  ConnectionPtr connection_;
  std::unique_ptr<Stub> stub_;
};

class Containers final : public metadata::ContainerStore {
 public:
  explicit Containers(ConnectionPtr connection)
      : connection_(std::move(connection)),
        stub_(containers::Containers::NewStub(connection_->channel())) {}

  Result<metadata::Container> Get(const model::Namespace& ns,
                                  const model::ContainerId& id) override {
    containers::GetContainerRequest request;
    request.set_id(id.str());
    containers::GetContainerResponse response;
    TRY(CallUnary(*connection_, {ns, {}}, *stub_, &Stub::Get, request, &response));
    return FromProto(response.container());
  }
  // By the streaming call, so that no number of containers meets the message limit; by List where
  // the daemon lacks it.
  Result<std::vector<metadata::Container>> List(const model::Namespace& ns,
                                                const metadata::Filters& filters) override {
    containers::ListContainersRequest request;
    for (const std::string& filter : filters) request.add_filters(filter);
    std::vector<metadata::Container> out;
    {
      grpc::ClientContext context;
      connection_->Prepare(&context, {ns, {}});
      const auto reader = stub_->ListStream(&context, request);
      containers::ListContainerMessage message;
      while (reader->Read(&message)) out.push_back(FromProto(message.container()));
      const Status done = FromGrpc(reader->Finish());
      if (done.ok()) return out;
      if (!done.error().Is(Code::kUnimplemented)) return done.error().Clone();
    }
    containers::ListContainersResponse response;
    TRY(CallUnary(*connection_, {ns, {}}, *stub_, &Stub::List, request, &response));
    out.clear();
    for (const containers::Container& container : response.containers())
      out.push_back(FromProto(container));
    return out;
  }
  Result<metadata::Container> Create(const model::Scope& scope,
                                     metadata::Container container) override {
    containers::CreateContainerRequest request;
    ToProto(container, request.mutable_container());
    containers::CreateContainerResponse response;
    TRY(CallUnary(*connection_, scope, *stub_, &Stub::Create, request, &response));
    return FromProto(response.container());
  }
  Result<metadata::Container> Update(const model::Scope& scope, metadata::Container container,
                                     const metadata::FieldPaths& paths) override {
    containers::UpdateContainerRequest request;
    ToProto(container, request.mutable_container());
    AddPaths(paths, request.mutable_update_mask());
    containers::UpdateContainerResponse response;
    TRY(CallUnary(*connection_, scope, *stub_, &Stub::Update, request, &response));
    return FromProto(response.container());
  }
  Status Delete(const model::Scope& scope, const model::ContainerId& id) override {
    containers::DeleteContainerRequest request;
    request.set_id(id.str());
    google::protobuf::Empty response;
    return CallUnary(*connection_, scope, *stub_, &Stub::Delete, request, &response);
  }

 private:
  using Stub = containers::Containers::Stub;
  ConnectionPtr connection_;
  std::unique_ptr<Stub> stub_;
};

class Images final : public metadata::ImageStore {
 public:
  explicit Images(ConnectionPtr connection)
      : connection_(std::move(connection)),
        stub_(images::Images::NewStub(connection_->channel())) {}

  Result<metadata::Image> Get(const model::Namespace& ns, const std::string& name) override {
    images::GetImageRequest request;
    request.set_name(name);
    images::GetImageResponse response;
    TRY(CallUnary(*connection_, {ns, {}}, *stub_, &Stub::Get, request, &response));
    return FromProto(response.image());
  }
  Result<std::vector<metadata::Image>> List(const model::Namespace& ns,
                                            const metadata::Filters& filters) override {
    images::ListImagesRequest request;
    for (const std::string& filter : filters) request.add_filters(filter);
    images::ListImagesResponse response;
    TRY(CallUnary(*connection_, {ns, {}}, *stub_, &Stub::List, request, &response));
    std::vector<metadata::Image> out;
    for (const images::Image& message : response.images()) {
      metadata::Image image = TRY(FromProto(message));
      out.push_back(std::move(image));
    }
    return out;
  }
  Result<metadata::Image> Create(const model::Scope& scope, metadata::Image image,
                                 std::optional<Time> epoch) override {
    images::CreateImageRequest request;
    ToProto(image, request.mutable_image());
    if (epoch.has_value()) ToProto(*epoch, request.mutable_source_date_epoch());
    images::CreateImageResponse response;
    TRY(CallUnary(*connection_, scope, *stub_, &Stub::Create, request, &response));
    return FromProto(response.image());
  }
  Result<metadata::Image> Update(const model::Scope& scope, metadata::Image image,
                                 const metadata::FieldPaths& paths,
                                 std::optional<Time> epoch) override {
    images::UpdateImageRequest request;
    ToProto(image, request.mutable_image());
    AddPaths(paths, request.mutable_update_mask());
    if (epoch.has_value()) ToProto(*epoch, request.mutable_source_date_epoch());
    images::UpdateImageResponse response;
    TRY(CallUnary(*connection_, scope, *stub_, &Stub::Update, request, &response));
    return FromProto(response.image());
  }
  Status Delete(const model::Scope& scope, const std::string& name,
                const DeleteOptions& options) override {
    images::DeleteImageRequest request;
    request.set_name(name);
    request.set_sync(options.synchronous);
    if (options.target.has_value()) request.mutable_target()->set_digest(options.target->str());
    google::protobuf::Empty response;
    return CallUnary(*connection_, scope, *stub_, &Stub::Delete, request, &response);
  }

 private:
  using Stub = images::Images::Stub;
  ConnectionPtr connection_;
  std::unique_ptr<Stub> stub_;
};

class Leases final : public metadata::LeaseStore {
 public:
  explicit Leases(ConnectionPtr connection)
      : connection_(std::move(connection)),
        stub_(leases::Leases::NewStub(connection_->channel())) {}

  Result<metadata::Lease> Create(const model::Namespace& ns, metadata::Lease lease) override {
    leases::CreateRequest request;
    request.set_id(lease.id.str());
    ToProto(lease.labels, request.mutable_labels());
    leases::CreateResponse response;
    TRY(CallUnary(*connection_, {ns, {}}, *stub_, &Stub::Create, request, &response));
    return FromProto(response.lease());
  }
  Status Delete(const model::Namespace& ns, const model::LeaseId& id, bool synchronous) override {
    leases::DeleteRequest request;
    request.set_id(id.str());
    request.set_sync(synchronous);
    google::protobuf::Empty response;
    return CallUnary(*connection_, {ns, {}}, *stub_, &Stub::Delete, request, &response);
  }
  Result<std::vector<metadata::Lease>> List(const model::Namespace& ns,
                                            const metadata::Filters& filters) override {
    leases::ListRequest request;
    for (const std::string& filter : filters) request.add_filters(filter);
    leases::ListResponse response;
    TRY(CallUnary(*connection_, {ns, {}}, *stub_, &Stub::List, request, &response));
    std::vector<metadata::Lease> out;
    for (const leases::Lease& lease : response.leases()) out.push_back(FromProto(lease));
    return out;
  }
  Status AddResource(const model::Namespace& ns, const model::LeaseId& id,
                     const metadata::LeaseResource& resource) override {
    leases::AddResourceRequest request;
    request.set_id(id.str());
    request.mutable_resource()->set_id(resource.id);
    request.mutable_resource()->set_type(resource.type);
    google::protobuf::Empty response;
    return CallUnary(*connection_, {ns, {}}, *stub_, &Stub::AddResource, request, &response);
  }
  Status DeleteResource(const model::Namespace& ns, const model::LeaseId& id,
                        const metadata::LeaseResource& resource) override {
    leases::DeleteResourceRequest request;
    request.set_id(id.str());
    request.mutable_resource()->set_id(resource.id);
    request.mutable_resource()->set_type(resource.type);
    google::protobuf::Empty response;
    return CallUnary(*connection_, {ns, {}}, *stub_, &Stub::DeleteResource, request, &response);
  }
  Result<std::vector<metadata::LeaseResource>> ListResources(const model::Namespace& ns,
                                                             const model::LeaseId& id) override {
    leases::ListResourcesRequest request;
    request.set_id(id.str());
    leases::ListResourcesResponse response;
    TRY(CallUnary(*connection_, {ns, {}}, *stub_, &Stub::ListResources, request, &response));
    std::vector<metadata::LeaseResource> out;
    for (const leases::Resource& resource : response.resources())
      out.push_back({resource.id(), resource.type()});
    return out;
  }

 private:
  using Stub = leases::Leases::Stub;
  ConnectionPtr connection_;
  std::unique_ptr<Stub> stub_;
};

}  // namespace

std::unique_ptr<metadata::NamespaceStore> RemoteNamespaces(ConnectionPtr connection) {
  return std::make_unique<Namespaces>(std::move(connection));
}
std::unique_ptr<metadata::ContainerStore> RemoteContainers(ConnectionPtr connection) {
  return std::make_unique<Containers>(std::move(connection));
}
std::unique_ptr<metadata::ImageStore> RemoteImages(ConnectionPtr connection) {
  return std::make_unique<Images>(std::move(connection));
}
std::unique_ptr<metadata::LeaseStore> RemoteLeases(ConnectionPtr connection) {
  return std::make_unique<Leases>(std::move(connection));
}

}  // namespace corten::client
