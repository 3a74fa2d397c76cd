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

// The name that `word` stands for: any case, with or without "CAP_"; "ALL" for all of them.
// kInvalidArgument: no capability this build knows, with the nearest that is.
Result<std::string> CapabilityOfWord(std::string_view word);

// What a process gets that would have `given`, with words added and dropped: one named in both is
// added; "ALL" added are those of this thread less the dropped ones, "ALL" dropped leave what is
// added. Errors: of CapabilityOfWord and CurrentCapabilities.
Result<std::vector<std::string>> ChangedCapabilities(const std::vector<std::string>& given,
                                                     const std::vector<std::string>& add,
                                                     const std::vector<std::string>& drop);

// Each set the bounding, effective and permitted sets of `process` (an OCI process object).
void SetCapabilities(Json& process, const std::vector<std::string>& names);
// Adds at the end those that are missing; takes away.
void AddCapabilities(Json& process, const std::vector<std::string>& names);
void DropCapabilities(Json& process, const std::vector<std::string>& names);

}  // namespace corten::oci
