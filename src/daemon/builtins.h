// The one list of what this daemon is made of. Deleting an entry removes the feature and nothing
// else.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/meter.h"
#include "model/labels.h"
#include "plugin/graph.h"
#include "services/rpc.h"

namespace corten::daemon {

// Settings of io.containerd.server.v1.{grpc,ttrpc}, read by the daemon itself.
struct SocketConfig {
  std::string address;
  int64_t uid = 0;
  int64_t gid = 0;
  int64_t max_recv_message_size = 16 << 20;
  int64_t max_send_message_size = 16 << 20;
};

// Borrowed by the plugins; owned by the daemon, outlives the graph.
struct Environment {
  services::Executors executors;
  std::function<const std::vector<plugin::Record>&()> records;
  // What a plugin tells beside its record (services::IntrospectionSource).
  std::function<Result<model::Any>(const std::string& uri, const model::Any& options)> plugin_info;
  std::function<void()> collected;  // told after each garbage collection; must not block
  Meter* meter = nullptr;           // nullptr while only tables are wanted
  const Config* config = nullptr;   // for timeouts; nullptr while only tables are wanted
};

std::vector<plugin::Descriptor> Builtins(const Environment& environment);

}  // namespace corten::daemon
