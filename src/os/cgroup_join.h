// Entering a control group: the calling process, with all of its threads.
//
// On a unified machine the group must exist already (whoever delegates it makes it). On a machine
// with v1 hierarchies it is made in each of them where it is missing, a cpuset with the processors
// and memory nodes of the group above, which it would lack otherwise; it also joins the cgroup2
// that may be mounted beside them if the group exists there. Threads: none but the caller's matter;
// call it once, early. On error the process may have joined some hierarchies. Source: cgroups(7);
// as containerd 2.3 does with `cgroup.path`.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "os/cgroup.h"

namespace corten::os {

// `path` is the group's place below the root of a hierarchy: "/system.slice/cortend". Errors:
// kInvalidArgument (".." in it, empty), kNotFound (unified: no such group; no cgroups at all),
// errno's, naming the hierarchy.
Status JoinCgroup(std::string_view path);

// The same for a mount table (text of mountinfo), a mode and a process; for tests.
Status JoinCgroupOf(std::string_view path, std::string_view mounts, CgroupMode mode, pid_t pid);

}  // namespace corten::os
