#include "daemon/web_servers.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "daemon/plugin_types.h"
#include "daemon/server.h"
#include "daemon/web.h"
#include "runtime/tasks.h"

namespace corten::daemon {

namespace {

// Ids of the gRPC plugins, and what they serve.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kServices = {{
    {"containers", "containerd.services.containers.v1.Containers"},
    {"content", "containerd.services.content.v1.Content"},
    {"diff", "containerd.services.diff.v1.Diff"},
    {"events", "containerd.services.events.v1.Events"},
    {"healthcheck", "grpc.health.v1.Health"},
    {"images", "containerd.services.images.v1.Images"},
    {"introspection", "containerd.services.introspection.v1.Introspection"},
    {"leases", "containerd.services.leases.v1.Leases"},
    {"namespaces", "containerd.services.namespaces.v1.Namespaces"},
    {"snapshots", "containerd.services.snapshots.v1.Snapshots"},
    {"streaming", "containerd.services.streaming.v1.Streaming"},
    {"tasks", "containerd.services.tasks.v1.Tasks"},
    {"transfer", "containerd.services.transfer.v1.Transfer"},
    {"version", "containerd.services.version.v1.Version"},
}};

// The settings of a plugin that was built; nullptr: it is disabled, or skipped itself.
template <typename C>
const C* SettingsOf(plugin::Graph& graph, std::string_view type, std::string_view id) {
  if (graph.Find(type, id) == nullptr) return nullptr;
  for (const plugin::Descriptor& descriptor : graph.descriptors()) {
    if (descriptor.type == type && descriptor.id == id)
      return static_cast<const C*>(descriptor.config.get());
  }
  return nullptr;
}

MetricsSource SourceOf(plugin::Graph& graph, const Config& config, Meter* meter) {
  MetricsSource source;
  source.meter = meter;
  const auto* monitor = SettingsOf<TaskMonitorConfig>(graph, kTaskMonitor.name, "cgroups");
  if (monitor != nullptr && !monitor->no_prometheus) source.tasks = graph.Get(kRuntime, "task");
  const auto* rpc = SettingsOf<RpcMetricsConfig>(graph, kMetrics.name, "grpc-prometheus");
  source.rpc_histogram = rpc != nullptr && rpc->grpc_histogram;
  source.task_deadline = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::nanoseconds(config.TimeoutNanos("io.containerd.timeout.metrics.shimstats")));
  return source;
}

}  // namespace

bool MetricsWanted(plugin::Graph& graph) { return graph.Find(kServer.name, "metrics") != nullptr; }

void AddRpcRows(plugin::Graph& graph, RpcMeter* meter) {
  for (const auto& [id, name] : kServices) {
    if (graph.Find(kGrpc.name, id) != nullptr) meter->AddService(std::string(name));
  }
}

Result<std::unique_ptr<WebServers>> WebServers::Start(Loop* loop, plugin::Graph& graph,
                                                      const Config& config, Meter* meter) {
  auto servers = std::unique_ptr<WebServers>(new WebServers());
  if (const auto* metrics = SettingsOf<MetricsConfig>(graph, kServer.name, "metrics");
      metrics != nullptr) {
    Result<Fd> listener = ListenTcp(metrics->address);
    if (!listener.ok()) return std::move(listener).TakeError().Context("metrics");
    log::Info("serving metrics", {{"address", TcpAddressOf(*listener)}});
    servers->metrics_ =
        std::make_unique<HttpServer>("metrics", MetricsPage(SourceOf(graph, config, meter)));
    TRY(servers->metrics_->Serve(loop, std::move(*listener)));
  }
  if (const auto* debug = SettingsOf<DebugConfig>(graph, kServer.name, "debug"); debug != nullptr) {
    Result<Fd> listener = debug->address[0] == '/'
                              ? ListenAt({debug->address, static_cast<uid_t>(debug->uid),
                                          static_cast<gid_t>(debug->gid)})
                              : ListenTcp(debug->address);
    if (!listener.ok()) return std::move(listener).TakeError().Context("debug");
    log::Info("serving debug information", {{"address", debug->address}});
    servers->debug_ = std::make_unique<HttpServer>("debug", DebugPage());
    TRY(servers->debug_->Serve(loop, std::move(*listener)));
  }
  return servers;
}

void WebServers::Stop() {
  if (metrics_ != nullptr) metrics_->Stop();
  if (debug_ != nullptr) debug_->Stop();
}

}  // namespace corten::daemon
