// What the daemon does with the runtime plugin beside building it.
#pragma once

#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "model/labels.h"
#include "plugin/graph.h"

namespace corten::daemon {

// Serves shims' events on `ttrpc_listener` and takes over what an earlier daemon left. Without a
// runtime plugin nothing happens.
Status StartRuntime(plugin::Graph& graph, Fd ttrpc_listener);

// PluginInfo of io.containerd.runtime.v2.task: the shim's own description of a runtime.
// kUnimplemented for others.
Result<model::Any> RuntimePluginInfo(plugin::Graph& graph, const std::string& uri,
                                     const model::Any& options);

}  // namespace corten::daemon
