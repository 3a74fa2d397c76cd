// The command line of cortend: containerd's flags and subcommands.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace corten::daemon {

struct Options {
  std::optional<std::string>
      config;             // --config, -c; nullopt: the default path, which may be missing
  std::string log_level;  // --log-level, -l
  std::string address;    // --address, -a
  std::string root;       // --root
  std::string state;      // --state
  bool help = false;
  bool version = false;
  std::vector<std::string> command;  // what follows the global flags
};

// Global flags up to the first word that is none; of `config`, behind it too. kInvalidArgument:
// unknown flag (the text names the nearest), missing value.
Result<Options> ParseOptions(const std::vector<std::string>& args);

std::string HelpText();

}  // namespace corten::daemon
