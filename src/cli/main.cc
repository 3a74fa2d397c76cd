// `corten`, and `ctr` when called by that name.
#include <string>

#include "cli/corten_verbs.h"
#include "cli/session.h"
#include "cli/verbs.h"

namespace {

// The group lists in its own way, and does so when it is called alone.
void SetList(corten::cli::Command& group, const corten::cli::Command& list) {
  for (corten::cli::Command& command : group.commands) {
    if (command.names[0] == "list") command = list;
  }
  group.flags.insert(group.flags.end(), list.flags.begin(), list.flags.end());
  group.action = list.action;
}

// Docker's words stand before the ctr tree's, and instead of those that are called the same.
void AddFriendly(corten::cli::Command& root, std::vector<corten::cli::Command> friendly) {
  for (corten::cli::Command& command : friendly) {
    // What follows a container or image of these two is another program's line.
    command.flags_anywhere = command.names[0] != "run" && command.names[0] != "exec";
    std::erase_if(root.commands, [&](const corten::cli::Command& other) {
      return other.names[0] == command.names[0];
    });
  }
  root.commands.insert(root.commands.begin(), friendly.begin(), friendly.end());
}

corten::cli::Command Program(const std::string& name) {
  using namespace corten::cli;
  Command root;
  root.names = {name};
  root.summary = name == "ctr" ? "an unsupported debug and administrative client for interacting "
                                 "with the containerd daemon"
                               : "command line of the Corten container runtime";
  root.flags = GlobalFlags(/*friendly=*/name != "ctr");
  root.commands = {PluginsCommand(), VersionCommand(),      ContainersCommand(), ContentCommand(),
                   ImagesCommand(),  LeasesCommand(),       NamespacesCommand(), SnapshotsCommand(),
                   InfoCommand(),    DeprecationsCommand(), TasksCommand(),      OciCommand(),
                   ShimCommand(),    EventsCommand()};
  if (name == "ctr") root.commands.push_back(RunCommand());
  if (name != "ctr") {
    AddFriendly(root, {PullVerb(), RunCommandVerb(), ExecCommandVerb(), PsVerb(), LogsVerb(),
                       StopVerb(), KillVerb(), RmVerb(), RmiVerb(), InspectVerb(), ImportVerb(),
                       SaveVerb(), EventsVerb(), InfoVerb(), VersionVerb()});
    for (Command& command : root.commands) {
      if (command.names[0] == "images") SetList(command, ImageListVerb());
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
