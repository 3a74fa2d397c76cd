// A small SHA-256 for a few short strings, so that the shim needs no crypto library. Bulk data:
// base/hash.h.
#pragma once

#include <string>
#include <string_view>

namespace corten {

// Lower-case hex digest of `data` (FIPS 180-4).
std::string SmallSha256Hex(std::string_view data);

}  // namespace corten
