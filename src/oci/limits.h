// Bounds on what a container uses: CPU, memory, descriptors. Pure functions; any thread.
// Source: OCI runtime specification, config-linux.md and config.md.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "oci/json.h"

namespace corten::oci {

inline constexpr int64_t kCpuPeriodUs = 100000;  // what --cpus counts in

// SOFT[:HARD] of RLIMIT_NOFILE, replacing the entry that is there. kInvalidArgument.
Status SetOpenFileLimit(Json& process, std::string_view text);

void SetMemoryLimit(Json& linux, int64_t bytes);
// A quota in microseconds per period.
void SetCpuQuota(Json& linux, int64_t quota_us, uint64_t period_us);

}  // namespace corten::oci
