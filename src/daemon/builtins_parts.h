// The sections of the list of built-ins; builtins.cc joins them.
#pragma once

#include "daemon/builtins.h"
#include "daemon/plugin_types.h"

namespace corten::daemon {

void AddStorage(const Environment& environment, std::vector<plugin::Descriptor>& list);
void AddDiffers(const Environment& environment, std::vector<plugin::Descriptor>& list);
void AddRuntime(const Environment& environment, std::vector<plugin::Descriptor>& list);
void AddServices(const Environment& environment, std::vector<plugin::Descriptor>& list);
void AddImages(std::vector<plugin::Descriptor>& list);
void AddProxies(const Environment& environment, std::vector<plugin::Descriptor>& list);
void AddServers(std::vector<plugin::Descriptor>& list);

// A number as introspection exports it: "0.02".
std::string ConfigText(double value);

}  // namespace corten::daemon
