// The specification every container starts from, as containerd writes it. Pure but for one look at
// the cgroup mount; any thread. Source: `ctr oci spec` of containerd 2.3.
#pragma once

#include <string>
#include <string_view>

#include "oci/json.h"

namespace corten::oci {

// Runs nothing yet: `process` has no args. The cgroup path is /NS/ID.
Json DefaultSpec(std::string_view ns, std::string_view id);

// Nothing masked, nothing read-only, /sys and cgroups writable, no profiles, `capabilities` held.
void MakePrivileged(Json& spec, const std::vector<std::string>& capabilities);

// The namespace of `type` is the one at `path` (empty: a new one); added when it is not there.
void JoinNamespace(Json& linux, const std::string& type, const std::string& path);
// The host's namespace of `type`: no entry.
void UseHostNamespace(Json& linux, std::string_view type);

}  // namespace corten::oci
