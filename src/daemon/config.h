// config.toml: reading every version that containerd ever wrote (none, 1 to 4), merging drop-ins,
// migrating, printing.
//
// What a file may say is described by the plugins' own tables (plugin/config_table.h) and the few
// top-level keys here. Unknown keys and tables are not fatal: each becomes a warning that names
// file, line and the nearest known name. Wrong types and broken syntax are errors that name file
// and line. Values; one thread. Source: containerd 2.3 (core.md 4).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "plugin/graph.h"

namespace corten::daemon {

inline constexpr int kConfigVersion = 4;
inline constexpr const char* kDefaultConfigPath = "/etc/containerd/config.toml";

struct ProxyPlugin {
  std::string type;
  std::string address;
  std::string platform;
  std::map<std::string, std::string> exports;
  std::vector<std::string> capabilities;
};

struct StreamProcessor {
  std::vector<std::string> accepts;
  std::string returns;
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
};

struct ConfigWarning {
  std::string text;
  std::map<std::string, std::string> fields;  // file, row, key ...
  bool effect = false;                        // all the same, what it speaks of has its effect
};

class PluginTables;  // what the files say under [plugins], opaque here

struct Config {
  int version = 0;  // of the root file as found; 0: no file
  std::string root = "/var/lib/containerd";
  std::string state = "/run/containerd";
  std::string temp;
  std::vector<std::string> disabled_plugins;
  std::vector<std::string> required_plugins;
  int64_t oom_score = 0;
  std::vector<std::string> imports = {"/etc/containerd/conf.d/*.toml"};
  std::string log_level;
  std::string log_format;  // "", "text" or "json"
  bool log_trace_id = false;
  std::string cgroup_path;
  std::map<std::string, std::string> timeouts;  // key -> duration text; defaults included
  std::map<std::string, ProxyPlugin> proxy_plugins;
  std::map<std::string, StreamProcessor> stream_processors;
  std::shared_ptr<PluginTables> plugins;  // shared: a dump may outlive the load
  std::vector<ConfigWarning> warnings;
  std::vector<std::string> files;  // read, in order

  // A timeout in nanoseconds; REQUIRES: a known key.
  int64_t TimeoutNanos(const std::string& key) const;
};

// Reads `path` and what it imports. A missing file is kNotFound unless `may_be_missing`: then the
// defaults hold. kInvalidArgument: syntax, wrong type, version above 4, an import with a higher
// version than the root file.
Result<Config> LoadConfig(const std::string& path, bool may_be_missing);

// Puts the [plugins] tables into the descriptors' config structs; unknown keys are added to
// config.warnings. kInvalidArgument: wrong type, with file and line.
Status ApplyPluginTables(Config& config, std::vector<plugin::Descriptor>& descriptors);

// The whole configuration as TOML, version 4, tables indented by two spaces, single-quoted strings:
// what `config default`, `config dump` and `config migrate` print.
std::string PrintConfig(const Config& config, const std::vector<plugin::Descriptor>& descriptors);

}  // namespace corten::daemon
