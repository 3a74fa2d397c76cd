// Signals by name or number, as a user types them. Pure; any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace corten::cli {

// "SIGTERM", "term", "15", "SIGRTMIN+3". kInvalidArgument "unknown signal ...".
Result<uint32_t> ParseSignal(std::string_view text);

}  // namespace corten::cli
