// The verbs of `ctr snapshots` that move layers. One thread each.
#pragma once

#include "cli/command.h"

namespace corten::cli {

Command SnapshotsDiffCommand();
Command SnapshotsUnpackCommand();

}  // namespace corten::cli
