// Tasks and execs from the command line: where their stdio goes, in the foreground or left alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/session.h"
#include "client/tasks.h"

namespace corten::cli {

// Flags of `tasks start`, which `run` has too.
std::vector<Flag> TaskFlags();

struct TaskOptions {
  bool terminal = false;
  bool detach = false;
  bool null_io = false;
  bool no_pivot = false;
  std::string log_uri;
  std::string fifo_dir;  // empty: containerd's
  std::string pid_file;
  std::string io_name;             // names the FIFOs; empty: the container's id
  std::optional<uint32_t> io_uid;  // owner of the stdio on the host, when ids are mapped
  std::optional<uint32_t> io_gid;
};
// Flags that the command does not have count as not given.
TaskOptions TaskOptionsOf(const Values& values, bool terminal);

bool SpecHasTerminal(const metadata::Container& container);

// An action that may run a process in the foreground: signals that are to be forwarded are blocked
// before any thread exists.
Action InForeground(SessionAction action);

// Creates a task and starts it. `rootfs` nullopt: the mounts of the container's snapshot. In the
// foreground it waits, deletes the task and returns the process's exit code; detached it returns 0
// at once and a task that could not be started stays. On an error in the foreground the task is
// gone.
Result<int> RunTask(Session& session, const metadata::Container& container,
                    const std::optional<std::vector<model::Mount>>& rootfs,
                    const TaskOptions& options);

// The same for a further process of a task; without a pid file.
Result<int> RunExec(client::Tasks& tasks, const model::ContainerId& id, const model::ExecId& exec,
                    const model::Any& process, const TaskOptions& options);

}  // namespace corten::cli
