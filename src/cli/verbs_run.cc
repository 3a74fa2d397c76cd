// ctr run.
#include "base/log.h"
#include "cli/container_flags.h"
#include "cli/container_making.h"
#include "cli/stdio.h"
#include "cli/task_making.h"
#include "cli/verbs.h"

namespace corten::cli {

namespace {

Result<int> Run(Session& session, const Values& values) {
  const bool remove = values.Bool("rm");
  if (!values.Text("config").empty()) {
    if (values.args.size() > 1)
      return UnknownError("with spec config file, only container id should be provided");
  } else {
    if (values.Arg(0).empty()) return UnknownError("image ref must be provided");
    if (values.Arg(1).empty()) return UnknownError("container id must be provided");
  }
  if (remove && values.Bool("detach"))
    return UnknownError("flags --detach and --rm cannot be specified together");
  const MadeContainer made = TRY(MakeContainer(session, values));
  TaskOptions options = TaskOptionsOf(values, values.Bool("tty"));
  if (!made.uids.empty()) options.io_uid = made.uids[0].host;
  if (!made.gids.empty()) options.io_gid = made.gids[0].host;
  Result<int> code = RunTask(session, made.container, made.rootfs, options);
  if (remove) {
    const Status removed = RemoveContainer(session, made.container.id, /*keep_snapshot=*/false);
    if (!removed.ok())
      log::Error("failed to clean up container", {{"error", removed.error().WireText()}});
  }
  return code;
}

}  // namespace

Command RunCommand() {
  Command command;
  command.names = {"run"};
  command.summary = "run a container";
  command.arguments = "[flags] Image|RootFS ID [COMMAND] [ARG...]";
  command.flags = RunFlags();
  const std::vector<Flag> container = ContainerFlags();
  command.flags.insert(command.flags.end(), container.begin(), container.end());
  command.action = InForeground(&Run);
  return command;
}

}  // namespace corten::cli
