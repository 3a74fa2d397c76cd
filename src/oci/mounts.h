// The mounts of a specification: the ones every container has, the ones a user asks for. Pure
// functions; any thread. Source: OCI runtime specification, config.md; containerd 2.3's defaults.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/json.h"

namespace corten::oci {

// /proc, /dev and what is below, /sys, /run.
Json DefaultMounts();

Json MountEntry(const std::string& target, const std::string& type, const std::string& source,
                const std::vector<std::string>& options);

// `type=bind,src=/a,dst=/b,options=rbind:ro`; also `source` and `destination`. A field may be
// quoted as in a line of CSV. kInvalidArgument names the part that is not understood.
Result<Json> ParseMount(std::string_view text);

// Makes every mount of `type` writable: `ro` becomes `rw`.
void MakeWritable(Json& mounts, std::string_view type);

}  // namespace corten::oci
