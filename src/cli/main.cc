// `corten`, and `ctr` when called by that name.
#include <string>

#include "cli/session.h"
#include "cli/verbs.h"

namespace {

corten::cli::Command Program(const std::string& name) {
  using namespace corten::cli;
  Command root;
  root.names = {name};
  root.summary = name == "ctr" ? "an unsupported debug and administrative client for interacting with the containerd daemon"
                               : "command line of the Corten container runtime";
  root.flags = GlobalFlags();
  root.commands = {PluginsCommand(),   VersionCommand(), ContainersCommand(), ContentCommand(),   ImagesCommand(), LeasesCommand(),
                   NamespacesCommand(), SnapshotsCommand(), InfoCommand(),    DeprecationsCommand()};
  return root;
}

}  // namespace

int main(int argc, char** argv) {
  std::string name = argc > 0 ? argv[0] : "corten";
  name = name.substr(name.rfind('/') + 1);
  const corten::cli::Command root = Program(name == "ctr" ? "ctr" : "corten");
  return corten::cli::RunProgram(root, {argv + 1, argv + argc});
}
