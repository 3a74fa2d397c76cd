// Cgroup figures as containerd's metrics messages. Threads: plain functions; read kernel files, do
// not wait.
#pragma once

#include "base/error.h"
#include "google/protobuf/any.pb.h"
#include "os/cgroup.h"

namespace corten::shim {

// Fills `out` with io.containerd.cgroups.v2.Metrics on a unified machine, otherwise with
// v1.Metrics. kNotFound when the cgroup is gone (or was never found).
Status ReadStats(const os::CgroupPlace& place, google::protobuf::Any* out);

}  // namespace corten::shim
