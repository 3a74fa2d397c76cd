// The bundle directory as a shim sees it: facts from config.json, and the files the shim leaves
// there.
//
// Crash: options.json and `runtime` are written whole (rename) before the OCI runtime is called, so
// that `delete` can always find the runtime again. Threads: plain functions. Source: containerd 2.3
// runtime v2 bundles; OCI runtime specification 1.2.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::shim {

// What the shim needs of the OCI spec.
struct SpecFacts {
  std::string oci_version;
  bool terminal = false;
  // The container has a PID namespace of its own: the kernel ends all its processes with init.
  bool private_pid_namespace = false;
  bool poststop_hooks = false;  // they run in `runtime delete` and may want to see the rootfs
  std::string group;            // from the grouping annotations; empty: none
};
// kNotFound without config.json; kInvalidArgument if it is no JSON object or above 16 MiB.
Result<SpecFacts> ReadSpecFacts(const std::string& bundle);
Result<SpecFacts> ParseSpecFacts(std::string_view json);

// The options of a runc task, with their defaults filled in. One to one with
// containerd.runc.v1.Options.
struct RuntimeSettings {
  std::string binary = "runc";                // binary_name
  std::string root = "/run/containerd/runc";  // without the namespace
  bool systemd_cgroup = false;
  bool no_pivot_root = false;
  bool no_new_keyring = false;
  std::string shim_cgroup;
  uid_t io_uid = 0;
  gid_t io_gid = 0;
  bool operator==(const RuntimeSettings&) const = default;
};

// options.json (snake_case, default values left out) and `runtime` (the binary's name), both 0600.
Status WriteSettings(const std::string& bundle, const RuntimeSettings& settings);
// What WriteSettings wrote, or the Go shim; defaults for what is missing.
RuntimeSettings ReadSettings(const std::string& bundle);

// A decimal pid file; a trailing newline is tolerated. kNotFound, kInvalidArgument.
Result<pid_t> ReadPidFile(const std::string& path);

// The last path component; for `delete`, which finds its bundle beside the working directory.
std::string BaseName(const std::string& path);

}  // namespace corten::shim
