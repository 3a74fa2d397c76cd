// `corten`, and `ctr` when called by that name.
#include <string>

#include "cli/corten_verbs.h"
#include "cli/session.h"
#include "cli/verbs.h"

namespace {

// A group called alone does what its `list` does.
void MakeListTheDefault(corten::cli::Command& group) {
  for (const corten::cli::Command& command : group.commands) {
    if (command.names[0] != "list") continue;
    group.flags.insert(group.flags.end(), command.flags.begin(), command.flags.end());
    group.action = command.action;
  }
}

corten::cli::Command Program(const std::string& name) {
  using namespace corten::cli;
  Command root;
  root.names = {name};
  root.summary = name == "ctr" ? "an unsupported debug and administrative client for interacting "
                                 "with the containerd daemon"
                               : "command line of the Corten container runtime";
  root.flags = GlobalFlags();
  root.commands = {PluginsCommand(), VersionCommand(),      ContainersCommand(), ContentCommand(),
                   ImagesCommand(),  LeasesCommand(),       NamespacesCommand(), SnapshotsCommand(),
                   InfoCommand(),    DeprecationsCommand(), TasksCommand(),      OciCommand(),
                   ShimCommand()};
  if (name == "ctr") root.commands.push_back(RunCommand());
  if (name != "ctr") {
    // Docker's words first; `images` alone lists.
    std::vector<Command> friendly = {PullVerb(), RunCommandVerb(), ExecCommandVerb(), PsVerb(),
                                     LogsVerb(), StopVerb(),       KillVerb(),        RmVerb(),
                                     RmiVerb(),  InspectVerb(),    ImportVerb(),      SaveVerb()};
    root.commands.insert(root.commands.begin(), friendly.begin(), friendly.end());
    for (Command& command : root.commands) {
      if (command.names[0] == "images") MakeListTheDefault(command);
    }
  }
  return root;
}

}  // namespace

int main(int argc, char** argv) {
  std::string name = argc > 0 ? argv[0] : "corten";
  name = name.substr(name.rfind('/') + 1);
  const corten::cli::Command root = Program(name == "ctr" ? "ctr" : "corten");
  return corten::cli::RunProgram(root, {argv + 1, argv + argc});
}
