// The verbs of `ctr images` that stand in files of their own. One thread each.
#pragma once

#include <string>

#include "base/fd.h"
#include "cli/command.h"
#include "cli/session.h"

namespace corten::cli {

Command ImagesPullCommand();
Command ImagesImportCommand();
Command ImagesExportCommand();
Command ImagesMountCommand();
Command ImagesUnmountCommand();
Command ImagesInspectCommand();
Command ImagesUsageCommand();

// Names in an archive that are only tags are put behind this: --base-name, or one made of the date.
std::string BaseName(const Values& values);

// By the daemon's transfer service. `archive` is borrowed.
Result<int> TransferPull(Session& session, const Values& values);
Result<int> TransferImport(Session& session, const Values& values, FdRef archive);
Result<int> TransferExport(Session& session, const Values& values, FdRef archive);
Status TransferTag(Session& session, const std::string& from, const std::string& to);

}  // namespace corten::cli
