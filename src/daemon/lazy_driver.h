// A snapshotter that is opened when it is first used: a new root then need not have all of its
// databases made, and flushed, before the first client is served.
//
// Only for directories that hold nothing yet; what exists is opened at the start, so that its
// damage is told there. A failed opening is the error of the call and is tried again by the next.
// Threads: as the driver's; the first call waits for the opening.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "snapshot/driver.h"

namespace corten::daemon {

using OpenDriver = std::function<Result<std::unique_ptr<snapshot::Driver>>()>;

// Opens now if `root` has a metadata.db, else at the first call.
Result<std::unique_ptr<snapshot::Driver>> OpenWhenUsed(const std::string& root, OpenDriver open);

}  // namespace corten::daemon
