// Linux capabilities by name, and what a process of a specification has of them. Pure functions but
// CurrentCapabilities; any thread. Source: linux/capability.h, capabilities(7).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/json.h"

namespace corten::oci {

// What a container has unless told otherwise, in the order containerd writes them.
const std::vector<std::string>& DefaultCapabilities();
// The names of the bits of `mask`, by number; bits this build has no name for are left out.
std::vector<std::string> CapabilityNames(uint64_t mask);
// The effective capabilities of this thread: the most that a container of ours can have.
Result<std::vector<std::string>> CurrentCapabilities();

// Each set the bounding, effective and permitted sets of `process` (an OCI process object).
void SetCapabilities(Json& process, const std::vector<std::string>& names);
// Adds at the end those that are missing; takes away.
void AddCapabilities(Json& process, const std::vector<std::string>& names);
void DropCapabilities(Json& process, const std::vector<std::string>& names);

}  // namespace corten::oci
