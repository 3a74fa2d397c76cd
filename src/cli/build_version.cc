#include "cli/build_version.h"

namespace corten::cli {

std::string_view BuildRevision() { return CORTEN_REVISION; }

}  // namespace corten::cli
