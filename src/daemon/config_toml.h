// The part of configuration loading that works on TOML trees. Private to daemon/config*.cc: the
// TOML library's header is heavy, so nothing else includes this.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/toml.h"
#include "daemon/config.h"

namespace corten::daemon {

// [plugins.'URI'] of all files, merged. Nodes are moved, never copied: only moving keeps their file
// and line.
class PluginTables {
 public:
  std::map<std::string, toml::table> tables;
};

struct ConfigFile {
  std::string path;
  int version = 0;
  toml::table tree;
};

// "FILE:LINE" of a node.
std::string Where(const toml::node& node);

// Reads and parses one file. kNotFound; kInvalidArgument with file, row and column.
Result<ConfigFile> ReadConfigFile(const std::string& path);

// Brings `file.tree` from its version to version 4 in place: plugin names become URIs, moved keys
// move, the grpc, ttrpc, debug and metrics sections become server plugins. Never fails: what it
// does not know stays where it is.
void MigrateConfig(ConfigFile& file, std::vector<ConfigWarning>& warnings);

// Lays `from` over `into`: tables merge by key, everything else replaces.
void MergeTables(toml::table& into, toml::table&& from);

}  // namespace corten::daemon
