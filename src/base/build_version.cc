#include "base/build_version.h"

namespace corten {

std::string_view BuildVersion() { return "v2.3.4+corten." CORTEN_VERSION; }
std::string_view BuildRevision() { return CORTEN_REVISION; }

}  // namespace corten
