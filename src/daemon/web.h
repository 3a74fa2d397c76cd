// What the daemon tells over HTTP: metrics at /v1/metrics, and facts for debugging.
//
// Both are off until an address is configured (io.containerd.server.v1.metrics and .debug).
// Threads: handlers on the web fronts' own threads, several at once.
#pragma once

#include <chrono>
#include <functional>

#include "daemon/http.h"
#include "daemon/meter.h"

namespace corten::runtime {
class Tasks;
}

namespace corten::daemon {

// Settings of io.containerd.server.v1.metrics, .debug, io.containerd.metrics.v1.grpc-prometheus and
// io.containerd.monitor.task.v1.cgroups.
struct MetricsConfig {
  std::string address;  // HOST:PORT
};
struct DebugConfig {
  std::string address;  // absolute path of a unix socket, or HOST:PORT
  int64_t uid = 0;
  int64_t gid = 0;
};
struct RpcMetricsConfig {
  bool grpc_histogram = false;
};
struct TaskMonitorConfig {
  bool no_prometheus = false;
};

struct MetricsSource {
  Meter* meter = nullptr;           // borrowed for life
  runtime::Tasks* tasks = nullptr;  // null: no containers' metrics
  bool rpc_histogram = false;
  std::chrono::milliseconds task_deadline{2000};  // io.containerd.timeout.metrics.shimstats
};

// GET /v1/metrics; everything else is 404. Tasks that do not answer in time are left out.
HttpHandler MetricsPage(MetricsSource source);

// GET /debug/vars and /debug/pprof/cmdline. Profiles are not in this build: 404 with those words.
HttpHandler DebugPage();

}  // namespace corten::daemon
