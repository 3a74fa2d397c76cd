#include "daemon/version.h"

#include "base/strcat.h"

#ifndef CORTEN_REVISION
#define CORTEN_REVISION "unknown"
#endif

namespace corten::daemon {

std::string ApiVersion() { return "v2.3.4+corten." CORTEN_VERSION; }
std::string Revision() { return CORTEN_REVISION; }
std::string VersionLine() { return StrCat("cortend corten ", ApiVersion(), " ", Revision()); }

}  // namespace corten::daemon
