// What this program was built from. Any thread.
#pragma once

#include <string_view>

namespace corten::cli {

std::string_view BuildRevision();  // of the tree; "unknown" outside a checkout

}  // namespace corten::cli
