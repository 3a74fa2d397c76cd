#include "daemon/builtins.h"

#include "daemon/builtins_parts.h"

namespace corten::daemon {

std::vector<plugin::Descriptor> Builtins(const Environment& environment) {
  std::vector<plugin::Descriptor> list;
  AddProxies(environment, list);
  AddStorage(environment, list);
  AddRuntime(environment, list);
  AddServices(environment, list);
  AddImages(list);
  AddServers(list);
  return list;
}

}  // namespace corten::daemon
