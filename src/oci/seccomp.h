// The system call filter a container gets by --seccomp, as OCI JSON. Pure but for a look at the
// kernel's release; any thread. Source: kernel system call tables, capabilities(7), seccomp(2).
#pragma once

#include <string>
#include <vector>

#include "oci/json.h"

namespace corten::oci {

// Everything is refused (EPERM) but what an ordinary process needs, and what the capabilities it
// holds are for.
Json DefaultSeccompProfile(const std::vector<std::string>& capabilities);

}  // namespace corten::oci
