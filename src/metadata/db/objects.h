// The stores of plain objects: everything but content and snapshots. Contracts: metadata/stores.h.
// Internal to metadata/db; each holds nothing but the core.
#pragma once

#include <memory>
#include <string>

#include "metadata/db/core.h"

namespace corten::metadata {

class Namespaces final : public NamespaceStore {
 public:
  explicit Namespaces(DbCore* core) : core_(core) {}
  Status Create(const model::Namespace& ns, const model::Labels& labels) override;
  Result<model::Labels> GetLabels(const model::Namespace& ns) override;
  Result<model::Labels> Update(const model::Namespace& ns, const model::Labels& labels,
                               const FieldPaths& paths) override;
  Result<std::vector<model::Namespace>> List() override;
  Status Delete(const model::Namespace& ns) override;

 private:
  DbCore* core_;
};

class Containers final : public ContainerStore {
 public:
  explicit Containers(DbCore* core) : core_(core) {}
  Result<Container> Get(const model::Namespace& ns, const model::ContainerId& id) override;
  Result<std::vector<Container>> List(const model::Namespace& ns, const Filters& filters) override;
  Result<Container> Create(const model::Scope& scope, Container container) override;
  void CreateLater(const model::Scope& scope, Container container,
                   std::function<void(Result<Container>)> done) override;
  Result<Container> Update(const model::Scope& scope, Container container,
                           const FieldPaths& paths) override;
  Status Delete(const model::Scope& scope, const model::ContainerId& id) override;

 private:
  Status WriteNew(Mutation& mutation, const model::Scope& scope, Container& container);
  DbCore* core_;
};

class Images final : public ImageStore {
 public:
  explicit Images(DbCore* core) : core_(core) {}
  Result<Image> Get(const model::Namespace& ns, const std::string& name) override;
  Result<std::vector<Image>> List(const model::Namespace& ns, const Filters& filters) override;
  Result<Image> Create(const model::Scope& scope, Image image, std::optional<Time> epoch) override;
  void CreateLater(const model::Scope& scope, Image image, std::optional<Time> epoch,
                   std::function<void(Result<Image>)> done) override;
  Result<Image> Update(const model::Scope& scope, Image image, const FieldPaths& paths,
                       std::optional<Time> epoch) override;
  Status Delete(const model::Scope& scope, const std::string& name,
                const DeleteOptions& options) override;

 private:
  Status WriteNew(Mutation& mutation, const model::Scope& scope, Image& image,
                  std::optional<Time> epoch);
  DbCore* core_;
};

class Leases final : public LeaseStore {
 public:
  explicit Leases(DbCore* core) : core_(core) {}
  Result<Lease> Create(const model::Namespace& ns, Lease lease) override;
  Status Delete(const model::Namespace& ns, const model::LeaseId& id, bool synchronous) override;
  Result<std::vector<Lease>> List(const model::Namespace& ns, const Filters& filters) override;
  Status AddResource(const model::Namespace& ns, const model::LeaseId& id,
                     const LeaseResource& resource) override;
  Status DeleteResource(const model::Namespace& ns, const model::LeaseId& id,
                        const LeaseResource& resource) override;
  Result<std::vector<LeaseResource>> ListResources(const model::Namespace& ns,
                                                   const model::LeaseId& id) override;

 private:
  DbCore* core_;
};

class Sandboxes final : public SandboxStore {
 public:
  explicit Sandboxes(DbCore* core) : core_(core) {}
  Result<Sandbox> Get(const model::Namespace& ns, const model::SandboxId& id) override;
  Result<std::vector<Sandbox>> List(const model::Namespace& ns, const Filters& filters) override;
  Result<Sandbox> Create(const model::Namespace& ns, Sandbox sandbox) override;
  Result<Sandbox> Update(const model::Namespace& ns, Sandbox sandbox,
                         const FieldPaths& paths) override;
  Status Delete(const model::Namespace& ns, const model::SandboxId& id) override;

 private:
  DbCore* core_;
};

}  // namespace corten::metadata
