// Any bytes as a filter expression: no crash, no hang, and an accepted filter can be asked.
#include <cstddef>
#include <cstdint>
#include <string>

#include "model/filter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  const auto filter =
      corten::model::Filter::Parse({std::string(reinterpret_cast<const char*>(data), size)});
  if (!filter.ok()) {
    if (!filter.error().Is(corten::Code::kInvalidArgument)) __builtin_trap();
    return 0;
  }
  (void)filter->Matches([](const std::vector<std::string>& path) -> std::optional<std::string> {
    if (path.empty()) __builtin_trap();
    return path.size() > 1 ? std::optional<std::string>(path[1]) : std::nullopt;
  });
  return 0;
}
