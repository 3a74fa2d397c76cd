// Containers' metrics in Prometheus' form, under the names that containerd gives them.
//
// What a shim of runc's kind reports (io.containerd.cgroups.v1 or v2 Metrics) is spread into
// gauges; metrics of other types are left out, as containerd leaves them. Threads: plain functions.
// Source: scrapes of containerd 2.3 (core.md 7).
#pragma once

#include <string>
#include <vector>

#include "daemon/exposition.h"
#include "model/labels.h"

namespace corten::daemon {

struct ContainerFigures {
  std::string ns;
  std::string id;
  model::Any data;  // as Tasks::Metrics gives it
};

void WriteContainerFigures(const std::vector<ContainerFigures>& containers, Exposition* out);

}  // namespace corten::daemon
