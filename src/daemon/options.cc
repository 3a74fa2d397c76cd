#include "daemon/options.h"

#include "base/nearest.h"

namespace corten::daemon {

namespace {

struct Flag {
  std::string_view name;
  std::string_view short_name;
  std::string Options::* text;
};

constexpr Flag kTextFlags[] = {
    {"log-level", "l", &Options::log_level},
    {"address", "a", &Options::address},
    {"root", "", &Options::root},
    {"state", "", &Options::state},
};

Error UnknownFlag(std::string_view name) {
  const std::string nearest =
      NearestName(name, {"config", "log-level", "address", "root", "state", "help", "version"});
  return InvalidArgumentError("flag provided but not defined: -", name,
                              nearest.empty() ? "" : StrCat(" (did you mean --", nearest, "?)"));
}

}  // namespace

Result<Options> ParseOptions(const std::vector<std::string>& args) {
  Options options;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& word = args[i];
    if (word.size() < 2 || word[0] != '-') {
      options.command.push_back(word);
      if (options.command[0] == "config") continue;  // knows the same flags, also behind it
      options.command.assign(args.begin() + static_cast<std::ptrdiff_t>(i), args.end());
      return options;
    }
    std::string name = word.substr(word[1] == '-' ? 2 : 1);
    std::optional<std::string> value;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    if (name == "help" || name == "h") {
      options.help = true;
      continue;
    }
    if (name == "version" || name == "v") {
      options.version = true;
      continue;
    }
    const Flag* known = nullptr;
    for (const Flag& flag : kTextFlags) {
      if (flag.name == name || (!flag.short_name.empty() && flag.short_name == name)) known = &flag;
    }
    const bool is_config = name == "config" || name == "c";
    if (known == nullptr && !is_config) return UnknownFlag(name);
    if (!value.has_value()) {
      if (i + 1 == args.size()) return InvalidArgumentError("flag needs an argument: -", name);
      value = args[++i];
    }
    if (is_config) {
      options.config = *value;
    } else {
      options.*(known->text) = *value;
    }
  }
  return options;
}

std::string HelpText() {
  return R"(NAME:
   cortend - container runtime daemon, a drop-in for containerd

USAGE:
   cortend [global options] command [command options] [arguments...]

COMMANDS:
   config default   print the default configuration
   config dump      print the configuration in force: file, drop-ins and defaults
   config migrate   print the configuration file in the newest version
   config check [FILE]
                    check the configuration file; exit 1 if something in it has no effect
   oci-hook         become another program as an OCI hook, with {{id}} and the like filled in
   publish          publish an event given on standard input (for shims)

GLOBAL OPTIONS:
   --config value, -c value     path to the configuration file (default: "/etc/containerd/config.toml")
   --log-level value, -l value  one of trace, debug, info, warn, error, fatal, panic
   --address value, -a value    address of the API socket
   --root value                 directory for persistent data
   --state value                directory for state that a reboot clears
   --help, -h                   show this text
   --version, -v                print the version
)";
}

}  // namespace corten::daemon
