// One factory per facade. A facade translates one gRPC service to contracts and holds no state and
// no policy.
//
// What a factory borrows must outlive the service. Every service is thread-safe; blocking work runs
// on the executors. Errors travel as services/rpc.h says. Source of the services: containerd
// API 2.3.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "events/exchange.h"
#include "metadata/changes.h"
#include "metadata/scoped_stores.h"
#include "metadata/stores.h"
#include "plugin/graph.h"

namespace grpc {
class Service;
}

namespace corten::diff {
class Differ;
}
namespace corten::image {
class Transfers;
}

namespace corten::services {

struct Executors;
using ServicePtr = std::unique_ptr<grpc::Service>;

ServicePtr MakeVersionService(std::string version, std::string revision);
// SERVING for "" while the daemon accepts calls; other names are NOT_FOUND.
ServicePtr MakeHealthService();

struct IntrospectionSource {
  // The identity of this installation, which the daemon keeps on disk; asked for when somebody
  // wants it, may block.
  std::function<Result<std::string>()> uuid;
  std::function<const std::vector<plugin::Record>&()> plugins;
  // Answers PluginInfo for plugins that tell more (the runtime's shim info); kUnimplemented
  // otherwise. May be empty.
  std::function<Result<model::Any>(const std::string& uri, const model::Any& options)> plugin_info;
};
ServicePtr MakeIntrospectionService(Executors executors, IntrospectionSource source);

ServicePtr MakeNamespacesService(Executors executors, metadata::NamespaceStore* store);
ServicePtr MakeContainersService(Executors executors, metadata::ContainerStore* store);
ServicePtr MakeImagesService(Executors executors, metadata::ImageStore* store);
ServicePtr MakeLeasesService(Executors executors, metadata::LeaseStore* store);
ServicePtr MakeContentService(Executors executors, metadata::ScopedStores* stores);
ServicePtr MakeSnapshotsService(Executors executors, metadata::ScopedStores* stores);
ServicePtr MakeEventsService(Executors executors, events::Exchange* exchange);

// Makes the differ that works in the caller's namespace and lease.
using DifferFactory = std::function<std::unique_ptr<diff::Differ>(const model::Scope& scope)>;
// Differs are tried in this order; kUnimplemented passes on to the next.
ServicePtr MakeDiffService(Executors executors, std::vector<DifferFactory> differs);

// Clients' named streams; who needs one takes it from the table.
class StreamTable;
ServicePtr MakeStreamingService(StreamTable* table);
// Image transfers over streams of the table; has threads of its own, since a transfer waits for its
// client.
ServicePtr MakeTransferService(image::Transfers* transfers, StreamTable* streams);

// Publishes metadata changes as containerd's events.
metadata::ChangeObserver MakeChangePublisher(events::Exchange* exchange);
// Reads string fields of known event messages for subscription filters.
events::FieldReader MakeEventFieldReader();

}  // namespace corten::services
