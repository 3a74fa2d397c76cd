// The verbs of the ctr tree, one function per group; each stands in a file of its own.
#pragma once

#include "cli/command.h"

namespace corten::cli {

Command PluginsCommand();
Command VersionCommand();
Command InfoCommand();
Command DeprecationsCommand();
Command NamespacesCommand();
Command LeasesCommand();
Command ContentCommand();
Command SnapshotsCommand();
Command ImagesCommand();
Command ContainersCommand();
Command RunCommand();
Command TasksCommand();
Command TaskMetricsCommand();  // stands below tasks
Command OciCommand();
Command ShimCommand();
Command EventsCommand();

// Shared groups of flags.
Flag SnapshotterFlag();
// Says, for a verb that this build lacks, what it would take; exit 1.
Action NotInThisBuild(std::string what);

}  // namespace corten::cli
