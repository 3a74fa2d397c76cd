// A cgroup's figures as containerd's metrics message: the same bytes from a shim and from the
// daemon.
//
// Compiled twice, against the lite and the full messages (corten::cgroup_message_lite and
// corten::cgroup_message): a program links the one that goes with its other messages. Threads:
// plain functions; read kernel files, do not wait.
#pragma once

#include <string>

#include "base/error.h"
#include "os/cgroup.h"

namespace corten::os {
class CgroupParents;
}

namespace corten::wire {

struct CgroupMessage {
  std::string type_url;
  std::string value;  // serialised
};

// io.containerd.cgroups.v2.Metrics on a unified machine, otherwise v1.Metrics. kNotFound when the
// cgroup is gone (or was never found). `parents`: see os::CgroupParents; borrowed for the call.
Result<CgroupMessage> ReadCgroupMessage(const os::CgroupPlace& place,
                                        os::CgroupParents* parents = nullptr);

}  // namespace corten::wire
