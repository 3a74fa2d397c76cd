// The web fronts that the configuration asks for: metrics over TCP, debugging over a unix socket or
// TCP. None by default.
//
// Life: Start after the plugins are there, Stop (or the destructor) before they go. Threads: the
// daemon's main thread calls; pages are answered on the fronts' own threads.
#pragma once

#include <memory>
#include <vector>

#include "base/loop.h"
#include "daemon/config.h"
#include "daemon/http.h"
#include "daemon/meter.h"
#include "plugin/graph.h"

namespace corten::daemon {

// Whether somebody can ask for metrics; then the gRPC server counts calls.
bool MetricsWanted(plugin::Graph& graph);
// A row for every method of the services that are loaded.
void AddRpcRows(plugin::Graph& graph, RpcMeter* meter);

class WebServers {
 public:
  // Errors: as ListenTcp and ListenAt, with the plugin's name.
  static Result<std::unique_ptr<WebServers>> Start(Loop* loop, plugin::Graph& graph,
                                                   const Config& config, Meter* meter);
  void Stop();

 private:
  WebServers() = default;
  std::unique_ptr<HttpServer> metrics_;
  std::unique_ptr<HttpServer> debug_;
};

}  // namespace corten::daemon
