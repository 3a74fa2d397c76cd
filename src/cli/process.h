// One process of a container in the foreground: its stdio is ours, signals go to it, its exit code
// becomes ours.
#pragma once

#include <string>

#include "base/error.h"
#include "cli/stdio.h"
#include "client/tasks.h"

namespace corten::cli {

// Blocks the signals that a foreground process is to get. Call before any thread exists (before a
// connection is opened).
void BlockForwardedSignals();

// kCanceled once the user has asked to stop (SIGINT, SIGTERM, SIGHUP) and nothing runs yet that the
// signal could go to. For the steps between BlockForwardedSignals and the foreground.
Status NotInterrupted();

// REQUIRES: the process exists with stdio.io(), not started. Starts it, copies, forwards signals
// and window sizes, waits. Returns the exit code.
Result<int> RunInForeground(client::Tasks& tasks, const model::ContainerId& id,
                            const model::ExecId& exec, Stdio& stdio);

// The same for a process that runs already.
// REQUIRES: stdio was made by Attach, or the process runs with stdio.io().
Result<int> AttachInForeground(client::Tasks& tasks, const model::ContainerId& id,
                               const model::ExecId& exec, Stdio& stdio);

}  // namespace corten::cli
