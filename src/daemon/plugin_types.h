// The plugin types of this daemon: containerd's names, our C++ types. Only daemon/ includes this.
#pragma once

#include "content/store.h"
#include "diff/differ.h"
#include "events/exchange.h"
#include "metadata/db/database.h"
#include "metadata/gc_scheduler.h"
#include "plugin/graph.h"
#include "services/facades.h"
#include "snapshot/driver.h"

namespace corten::runtime {
class Tasks;
}

namespace corten::daemon {

// A plugin that is only there to be configured or to be seen by introspection.
struct Presence {};

// A gRPC service that the server registers.
struct ServiceHolder {
  services::ServicePtr service;
};

// Makes differs in a caller's scope.
struct DifferMaker {
  services::DifferFactory make;
  std::shared_ptr<diff::StreamApplier>
      engine;  // shared with differs in use; null for a remote differ
};

// The database as facades see it.
class Stores final : public metadata::ScopedStores {
 public:
  explicit Stores(std::unique_ptr<metadata::Database> database) : database_(std::move(database)) {}
  metadata::Database& database() { return *database_; }
  std::unique_ptr<content::Store> Content(const model::Scope& scope) override {
    return database_->Content(scope);
  }
  Result<std::unique_ptr<snapshot::Snapshotter>> Snapshots(
      const model::Scope& scope, const std::string& snapshotter) override {
    return database_->Snapshots(scope, snapshotter);
  }

 private:
  std::unique_ptr<metadata::Database> database_;
};

inline constexpr plugin::PluginType<content::Store> kContent{"io.containerd.content.v1"};
inline constexpr plugin::PluginType<snapshot::Driver> kSnapshotter{"io.containerd.snapshotter.v1"};
inline constexpr plugin::PluginType<events::Exchange> kEvent{"io.containerd.event.v1"};
inline constexpr plugin::PluginType<Stores> kMetadata{"io.containerd.metadata.v1"};
inline constexpr plugin::PluginType<metadata::GcScheduler> kGc{"io.containerd.gc.v1"};
inline constexpr plugin::PluginType<DifferMaker> kDiffer{"io.containerd.differ.v1"};
inline constexpr plugin::PluginType<runtime::Tasks> kRuntime{"io.containerd.runtime.v2"};
inline constexpr plugin::PluginType<Presence> kShimManager{"io.containerd.shim.v1"};
inline constexpr plugin::PluginType<Presence> kLease{"io.containerd.lease.v1"};
inline constexpr plugin::PluginType<Presence> kService{"io.containerd.service.v1"};
inline constexpr plugin::PluginType<Presence> kServer{"io.containerd.server.v1"};
inline constexpr plugin::PluginType<Presence> kSandboxController{
    "io.containerd.sandbox.controller.v1"};
inline constexpr plugin::PluginType<Presence> kMetrics{"io.containerd.metrics.v1"};
inline constexpr plugin::PluginType<Presence> kHttp{"io.containerd.http.v1"};
inline constexpr plugin::PluginType<Presence> kTaskMonitor{"io.containerd.monitor.task.v1"};
inline constexpr plugin::PluginType<ServiceHolder> kGrpc{"io.containerd.grpc.v1"};

}  // namespace corten::daemon
