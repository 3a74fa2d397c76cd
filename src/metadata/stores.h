// Contracts: namespaces, containers, images, leases and sandboxes, as clients see them.
//
// Implementations: metadata_db (the daemon's database) and client (a remote daemon). Every call
// names its namespace. A write into an unknown namespace creates it. Threads: any. Each mutation is
// durable when it returns. Field masks: an empty mask replaces every mutable field; other paths are
// kInvalidArgument naming the field. Filters are expressions of model/filter.h, OR-ed; an empty
// list matches everything; bad ones are kInvalidArgument. Lists are in byte order of the key.
// Source: containerd API 2.3, metadata.md 1 to 7.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "model/descriptor.h"
#include "model/ids.h"
#include "model/labels.h"
#include "model/scope.h"

namespace corten::metadata {

using FieldPaths = std::vector<std::string>;
using Filters = std::vector<std::string>;

class NamespaceStore {
 public:
  virtual ~NamespaceStore() = default;
  // kAlreadyExists; kInvalidArgument (identifier rule, labels).
  virtual Status Create(const model::Namespace& ns, const model::Labels& labels) = 0;
  // An unknown namespace has no labels and is no error.
  virtual Result<model::Labels> GetLabels(const model::Namespace& ns) = 0;
  // paths: "labels.KEY" only; empty mask: all labels replaced. An empty value deletes the label.
  // Returns all labels.
  virtual Result<model::Labels> Update(const model::Namespace& ns, const model::Labels& labels,
                                       const FieldPaths& paths) = 0;
  virtual Result<std::vector<model::Namespace>> List() = 0;
  // kNotFound; kFailedPrecondition naming what is still in it (images, blobs, containers,
  // snapshots).
  virtual Status Delete(const model::Namespace& ns) = 0;
};

struct RuntimeInfo {
  std::string name;
  std::optional<model::Any> options;
  bool operator==(const RuntimeInfo&) const = default;
};

struct Container {
  model::ContainerId id;
  model::Labels labels;
  std::string image;
  RuntimeInfo runtime;
  std::optional<model::Any> spec;
  std::string snapshotter;
  std::string snapshot_key;
  Time created_at;
  Time updated_at;
  std::map<std::string, model::Any> extensions;
  model::SandboxId sandbox;
};

class ContainerStore {
 public:
  virtual ~ContainerStore() = default;
  virtual Result<Container> Get(const model::Namespace& ns,
                                const model::ContainerId& id) = 0;  // kNotFound
  virtual Result<std::vector<Container>> List(const model::Namespace& ns,
                                              const Filters& filters) = 0;
  // Sets the times. kAlreadyExists; kInvalidArgument.
  virtual Result<Container> Create(const model::Scope& scope, Container container) = 0;
  // The same for callers that have no thread to spare: `done` is called once, in any thread, the
  // caller's included, and must be short. A store that has no better way waits as Create does.
  virtual void CreateLater(const model::Scope& scope, Container container,
                           std::function<void(Result<Container>)> done) {
    done(Create(scope, std::move(container)));
  }
  // Mask paths: labels, labels.K, spec, extensions, extensions.K, image, snapshotkey. Without a
  // mask a differing snapshotter or runtime name is kInvalidArgument "immutable". kNotFound.
  virtual Result<Container> Update(const model::Scope& scope, Container container,
                                   const FieldPaths& paths) = 0;
  virtual Status Delete(const model::Scope& scope, const model::ContainerId& id) = 0;  // kNotFound
};

struct Image {
  std::string name;
  model::Labels labels;
  model::Descriptor target;
  Time created_at;
  Time updated_at;
};

class ImageStore {
 public:
  virtual ~ImageStore() = default;
  virtual Result<Image> Get(const model::Namespace& ns, const std::string& name) = 0;  // kNotFound
  virtual Result<std::vector<Image>> List(const model::Namespace& ns, const Filters& filters) = 0;
  // `epoch` overrides the times. An image with gc.expire joins the caller's lease. kAlreadyExists;
  // kInvalidArgument.
  virtual Result<Image> Create(const model::Scope& scope, Image image,
                               std::optional<Time> epoch) = 0;
  virtual void CreateLater(const model::Scope& scope, Image image, std::optional<Time> epoch,
                           std::function<void(Result<Image>)> done) {
    done(Create(scope, std::move(image), epoch));  // as ContainerStore::CreateLater
  }
  // Mask paths: labels, labels.K, target, annotations, annotations.K. kNotFound.
  virtual Result<Image> Update(const model::Scope& scope, Image image, const FieldPaths& paths,
                               std::optional<Time> epoch) = 0;
  struct DeleteOptions {
    bool synchronous = false;             // wait for a garbage collection
    std::optional<model::Digest> target;  // kNotFound unless the image still points there
  };
  virtual Status Delete(const model::Scope& scope, const std::string& name,
                        const DeleteOptions& options) = 0;  // kNotFound
};

struct Lease {
  model::LeaseId id;
  Time created_at;
  model::Labels labels;
};

struct LeaseResource {
  std::string id;
  std::string type;  // content, ingests, images, snapshots/NAME
  bool operator==(const LeaseResource&) const = default;
};

class LeaseStore {
 public:
  virtual ~LeaseStore() = default;
  virtual Result<Lease> Create(const model::Namespace& ns,
                               Lease lease) = 0;  // kAlreadyExists; an empty id is made up
  virtual Status Delete(const model::Namespace& ns, const model::LeaseId& id,
                        bool synchronous) = 0;  // kNotFound
  virtual Result<std::vector<Lease>> List(const model::Namespace& ns, const Filters& filters) = 0;
  // kNotFound (lease); kInvalidArgument or kUnimplemented (type). The resource itself need not
  // exist.
  virtual Status AddResource(const model::Namespace& ns, const model::LeaseId& id,
                             const LeaseResource& resource) = 0;
  virtual Status DeleteResource(const model::Namespace& ns, const model::LeaseId& id,
                                const LeaseResource& resource) = 0;
  // Order: content, images, ingests, snapshots.
  virtual Result<std::vector<LeaseResource>> ListResources(const model::Namespace& ns,
                                                           const model::LeaseId& id) = 0;
};

struct Sandbox {
  model::SandboxId id;
  model::Labels labels;
  RuntimeInfo runtime;
  std::optional<model::Any> spec;
  std::string sandboxer;
  Time created_at;
  Time updated_at;
  std::map<std::string, model::Any> extensions;
};

class SandboxStore {
 public:
  virtual ~SandboxStore() = default;
  virtual Result<Sandbox> Get(const model::Namespace& ns, const model::SandboxId& id) = 0;
  virtual Result<std::vector<Sandbox>> List(const model::Namespace& ns, const Filters& filters) = 0;
  virtual Result<Sandbox> Create(const model::Namespace& ns, Sandbox sandbox) = 0;
  virtual Result<Sandbox> Update(const model::Namespace& ns, Sandbox sandbox,
                                 const FieldPaths& paths) = 0;
  virtual Status Delete(const model::Namespace& ns, const model::SandboxId& id) = 0;
};

}  // namespace corten::metadata
