// The friendly verbs of `corten` itself, docker-style; the ctr tree stands beside them.
#pragma once

#include "cli/command.h"
#include "cli/session.h"
#include "cli/verbs.h"

namespace corten::cli {

inline constexpr const char* kLogLabel =
    "corten.io/log-path";  // where a detached container's output goes

// The image of this name, tried as it is and in Docker's long form. kNotFound with a hint how to
// get it.
Result<metadata::Image> FindImage(Session& session, const std::string& name);

// The same, for a container that is to run: `pull` says whether it is fetched, with a picture on
// standard error. "missing": if it is not here; "always": first, in its present form; "never".
// Errors: of FindImage with "never"; those of a pull; kInvalidArgument: another word.
Result<metadata::Image> ImageToRun(Session& session, const std::string& name,
                                   const std::string& pull, const std::string& snapshotter);

Command RunCommandVerb();
Command ExecCommandVerb();
Command PsVerb();
Command StopVerb();
Command KillVerb();
Command RmVerb();
Command RmiVerb();
Command LogsVerb();
Command InspectVerb();
Command ImportVerb();
Command SaveVerb();
Command PullVerb();
Command ImageListVerb();
Command VersionVerb();
Command InfoVerb();
Command EventsVerb();

}  // namespace corten::cli
