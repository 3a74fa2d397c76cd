// OCI runtime specifications: containerd's defaults, and what an image and a user change in them.
//
// A SpecBuilder collects; Build gives the JSON that goes into a container's record. Values; one
// thread. The version written is the oldest one that says everything used here, so that every
// runtime accepts it (crun of Debian 12 refuses 1.1 and newer). Source: OCI runtime
// specification 1.0.2, config.md and config-linux.md; containerd's default spec (ctr.md 2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/users.h"

namespace corten::oci {

inline constexpr std::string_view kSpecType =
    "types.containerd.io/opencontainers/runtime-spec/1/Spec";
inline constexpr std::string_view kProcessType =
    "types.containerd.io/opencontainers/runtime-spec/1/Process";

struct BindMount {
  std::string source;
  std::string target;
  bool read_only = false;
};

struct ConsoleSize {
  uint16_t rows = 0;
  uint16_t columns = 0;
};

struct SpecRequest {
  std::string ns;  // for the cgroup path /NS/ID
  std::string id;
  std::string image_config;  // JSON of the image's configuration; empty: none
  std::vector<std::string>
      args;  // empty: the image's entrypoint and command; else the command after the entrypoint
  std::vector<std::string> env;  // KEY=VALUE, over the image's
  std::string cwd;               // empty: the image's, else "/"
  std::string user;              // USER[:GROUP]; empty: the image's, else root
  // Where names of users and groups are looked up, and further groups; empty: only numbers are
  // understood.
  WithRoot with_root;
  std::optional<std::string> entrypoint;  // instead of the image's, whose command goes then too
  std::string hostname;                   // empty: the id
  bool terminal = false;
  std::optional<ConsoleSize> console_size;  // that the terminal is made with
  bool read_only = false;
  bool host_network = false;
  bool privileged = false;      // all capabilities, all devices, nothing masked, no seccomp profile
  bool seccomp = false;         // a profile: seccomp_profile, or containerd's default one
  std::string seccomp_profile;  // JSON; empty: the default one
  std::vector<std::string> cap_add;   // words of ChangedCapabilities: "net_admin", "ALL"
  std::vector<std::string> cap_drop;  // the same
  std::vector<BindMount> mounts;
  std::optional<int64_t> memory_bytes;
  std::optional<int64_t> cpu_quota_us;  // per 100 ms
  std::vector<std::pair<std::string, std::string>> annotations;
};

// kInvalidArgument: neither image nor request says what to run, a user that cannot be one, image
// configuration that is not JSON; kNotFound: a user or group that the root does not know.
Result<std::string> MakeSpec(const SpecRequest& request);

// The process of an exec: the container's own process with other arguments. `spec` is the
// container's. kInvalidArgument: spec is not JSON, no arguments.
Result<std::string> MakeExecProcess(std::string_view spec, const std::vector<std::string>& args,
                                    const std::vector<std::string>& env, bool terminal,
                                    const std::string& cwd,
                                    std::optional<ConsoleSize> console_size = std::nullopt);

}  // namespace corten::oci
