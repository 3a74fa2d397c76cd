#include "oci/limits.h"

#include <nlohmann/json.hpp>

namespace corten::oci {

Status SetOpenFileLimit(Json& process, std::string_view text) {
  const size_t colon = text.find(':');
  uint64_t soft = 0;
  uint64_t hard = 0;
  const auto bad = [&](std::string_view part) {
    return InvalidArgumentError("failed to parse rlimit-nofile ", Quoted(text),
                                ": strconv.ParseUint: parsing ", Quoted(part), ": invalid syntax");
  };
  if (!ParseU64(text.substr(0, colon), &soft)) return bad(text.substr(0, colon));
  hard = soft;
  if (colon != std::string_view::npos && !ParseU64(text.substr(colon + 1), &hard))
    return bad(text.substr(colon + 1));
  Json wanted = {{"type", "RLIMIT_NOFILE"}, {"hard", hard}, {"soft", soft}};
  Json& limits = ArrayOf(process, "rlimits");
  for (Json& limit : limits) {
    if (String(limit, "type") != "RLIMIT_NOFILE") continue;
    limit = std::move(wanted);
    return Ok();
  }
  limits.push_back(std::move(wanted));
  return Ok();
}

void SetMemoryLimit(Json& linux, int64_t bytes) {
  ObjectOf(ObjectOf(linux, "resources"), "memory")["limit"] = bytes;
}

void SetCpuQuota(Json& linux, int64_t quota_us, uint64_t period_us) {
  Json& cpu = ObjectOf(ObjectOf(linux, "resources"), "cpu");
  cpu["quota"] = quota_us;
  cpu["period"] = period_us;
}

}  // namespace corten::oci
