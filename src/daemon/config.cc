#include "daemon/config.h"

#include <glob.h>

#include <algorithm>
#include <deque>
#include <set>

#include "base/clock.h"
#include "base/dir.h"
#include "base/nearest.h"
#include "daemon/config_toml.h"

namespace corten::daemon {

namespace {

constexpr size_t kMaxConfigFile = size_t{4} << 20;
constexpr size_t kMaxConfigFiles = 1024;

const std::vector<std::string> kTopLevelKeys = {"version",
                                                "root",
                                                "state",
                                                "temp",
                                                "disabled_plugins",
                                                "required_plugins",
                                                "oom_score",
                                                "imports",
                                                "debug",
                                                "plugins",
                                                "cgroup",
                                                "proxy_plugins",
                                                "timeouts",
                                                "stream_processors",
                                                "grpc",
                                                "ttrpc",
                                                "metrics",
                                                "plugin_dir",
                                                "no_subreaper"};

const std::map<std::string, std::string> kDefaultTimeouts = {
    {"io.containerd.timeout.bolt.open", "0s"},
    {"io.containerd.timeout.cri.defercleanup", "1m0s"},
    {"io.containerd.timeout.metrics.shimstats", "2s"},
    {"io.containerd.timeout.shim.cleanup", "5s"},
    {"io.containerd.timeout.shim.load", "5s"},
    {"io.containerd.timeout.shim.shutdown", "3s"},
    {"io.containerd.timeout.task.state", "2s"}};

StreamProcessor OcicryptProcessor(const std::string& suffix) {
  StreamProcessor processor;
  processor.accepts = {StrCat("application/vnd.oci.image.layer.v1.tar", suffix, "+encrypted")};
  processor.returns = StrCat("application/vnd.oci.image.layer.v1.tar", suffix);
  processor.path = "ctd-decoder";
  processor.args = {"--decryption-keys-path", "/etc/containerd/ocicrypt/keys"};
  processor.env = {
      "OCICRYPT_KEYPROVIDER_CONFIG=/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf"};
  return processor;
}

Error TypeError(std::string_view key, const toml::node& node, std::string_view want) {
  return InvalidArgumentError(Where(node), ": key ", Quoted(key), ": want ", want);
}

// Reads one file's keys into the configuration. Later files win unless their value is empty, false
// or 0.
class Reader {
 public:
  Reader(Config& config, const ConfigFile& file) : config_(config), file_(file) {}

  Status Text(const toml::table& table, std::string_view key, std::string* out) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return Ok();
    const auto* text = node->as_string();
    if (text == nullptr) return TypeError(key, *node, "a string");
    if (!text->get().empty()) *out = text->get();
    return Ok();
  }
  Status Flag(const toml::table& table, std::string_view key, bool* out) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return Ok();
    const auto* flag = node->as_boolean();
    if (flag == nullptr) return TypeError(key, *node, "true or false");
    *out = *out || flag->get();
    return Ok();
  }
  Status Number(const toml::table& table, std::string_view key, int64_t* out) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return Ok();
    const auto* number = node->as_integer();
    if (number == nullptr) return TypeError(key, *node, "an integer");
    if (number->get() != 0) *out = number->get();
    return Ok();
  }
  // Appends what is not there yet.
  Status List(const toml::table& table, std::string_view key, std::vector<std::string>* out) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return Ok();
    const toml::array* list = node->as_array();
    if (list == nullptr) return TypeError(key, *node, "a list of strings");
    for (const toml::node& entry : *list) {
      const auto* text = entry.as_string();
      if (text == nullptr) return TypeError(key, entry, "a list of strings");
      if (std::find(out->begin(), out->end(), text->get()) == out->end())
        out->push_back(text->get());
    }
    return Ok();
  }
  Result<const toml::table*> Table(const toml::table& table, std::string_view key) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return static_cast<const toml::table*>(nullptr);
    const toml::table* inner = node->as_table();
    if (inner == nullptr) return TypeError(key, *node, "a table");
    return inner;
  }
  void WarnUnknown(const toml::table& table, const std::vector<std::string>& known,
                   const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      ConfigWarning warning{"Ignoring unknown key in TOML", {}};
      warning.fields["file"] = file_.path;
      warning.fields["row"] = StrCat(key.source().begin.line);
      warning.fields["column"] = StrCat(key.source().begin.column);
      warning.fields["key"] = StrCat(prefix, name);
      const std::string nearest = NearestName(name, known);
      if (!nearest.empty())
        warning.fields["hint"] = StrCat("did you mean ", Quoted(StrCat(prefix, nearest)), "?");
      config_.warnings.push_back(std::move(warning));
    }
  }

  Status Read() {
    const toml::table& tree = file_.tree;
    WarnUnknown(tree, kTopLevelKeys, "");
    TRY(Text(tree, "root", &config_.root));
    TRY(Text(tree, "state", &config_.state));
    TRY(Text(tree, "temp", &config_.temp));
    TRY(Number(tree, "oom_score", &config_.oom_score));
    TRY(List(tree, "disabled_plugins", &config_.disabled_plugins));
    TRY(List(tree, "required_plugins", &config_.required_plugins));
    TRY(List(tree, "imports", &config_.imports));
    if (const toml::table* debug = TRY(Table(tree, "debug")); debug != nullptr) {
      WarnUnknown(*debug, {"level", "format", "log_trace_id"}, "debug.");
      TRY(Text(*debug, "level", &config_.log_level));
      TRY(Text(*debug, "format", &config_.log_format));
      TRY(Flag(*debug, "log_trace_id", &config_.log_trace_id));
    }
    if (const toml::table* cgroup = TRY(Table(tree, "cgroup")); cgroup != nullptr) {
      WarnUnknown(*cgroup, {"path"}, "cgroup.");
      TRY(Text(*cgroup, "path", &config_.cgroup_path));
    }
    TRY(ReadTimeouts(tree));
    TRY(ReadProxyPlugins(tree));
    return ReadStreamProcessors(tree);
  }

 private:
  Status ReadTimeouts(const toml::table& tree) {
    const toml::table* timeouts = TRY(Table(tree, "timeouts"));
    if (timeouts == nullptr) return Ok();
    for (const auto& [key, node] : *timeouts) {
      const auto* text = node.as_string();
      if (text == nullptr || !ParseDuration(text->get()).ok())
        return TypeError(key.str(), node, "a duration such as '10s'");
      config_.timeouts[std::string(key.str())] = text->get();
    }
    return Ok();
  }

  Status ReadProxyPlugins(const toml::table& tree) {
    const toml::table* all = TRY(Table(tree, "proxy_plugins"));
    if (all == nullptr) return Ok();
    for (const auto& [key, node] : *all) {
      const toml::table* entry = node.as_table();
      if (entry == nullptr) return TypeError(key.str(), node, "a table");
      WarnUnknown(*entry, {"type", "address", "platform", "exports", "capabilities"},
                  StrCat("proxy_plugins.", key.str(), "."));
      ProxyPlugin proxy;
      TRY(Text(*entry, "type", &proxy.type));
      TRY(Text(*entry, "address", &proxy.address));
      TRY(Text(*entry, "platform", &proxy.platform));
      TRY(List(*entry, "capabilities", &proxy.capabilities));
      if (const toml::table* exports = TRY(Table(*entry, "exports")); exports != nullptr) {
        for (const auto& [name, value] : *exports)
          TRY(Text(*exports, name.str(), &proxy.exports[std::string(name.str())]));
      }
      config_.proxy_plugins[std::string(key.str())] = std::move(proxy);
    }
    return Ok();
  }

  Status ReadStreamProcessors(const toml::table& tree) {
    const toml::table* all = TRY(Table(tree, "stream_processors"));
    if (all == nullptr) return Ok();
    for (const auto& [key, node] : *all) {
      const toml::table* entry = node.as_table();
      if (entry == nullptr) return TypeError(key.str(), node, "a table");
      WarnUnknown(*entry, {"accepts", "returns", "path", "args", "env"},
                  StrCat("stream_processors.", key.str(), "."));
      StreamProcessor processor;
      TRY(List(*entry, "accepts", &processor.accepts));
      TRY(Text(*entry, "returns", &processor.returns));
      TRY(Text(*entry, "path", &processor.path));
      TRY(List(*entry, "args", &processor.args));
      TRY(List(*entry, "env", &processor.env));
      config_.stream_processors[std::string(key.str())] = std::move(processor);
    }
    return Ok();
  }

  Config& config_;
  const ConfigFile& file_;
};

// The files that an `imports` entry names: sorted for a pattern, one for a plain path.
std::vector<std::string> ExpandImport(const std::string& entry, const std::string& importer) {
  std::string path = entry;
  if (path.empty() || path[0] != '/') {
    const size_t slash = importer.rfind('/');
    path = StrCat(slash == std::string::npos ? "." : importer.substr(0, slash), "/", entry);
  }
  if (path.find('*') == std::string::npos) return {path};
  glob_t found = {};
  std::vector<std::string> out;
  if (glob(path.c_str(), 0, nullptr, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc; ++i) out.emplace_back(found.gl_pathv[i]);
  }
  globfree(&found);
  return out;
}

}  // namespace

std::string Where(const toml::node& node) {
  const toml::source_region& source = node.source();
  return StrCat(source.path ? *source.path : std::string("configuration"), ":", source.begin.line);
}

Result<ConfigFile> ReadConfigFile(const std::string& path) {
  const std::string text = TRY(ReadFileAt(path, kMaxConfigFile));
  toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    const toml::source_position at = parsed.error().source().begin;
    return InvalidArgumentError("failed to load TOML from ", path,
                                ": failed to unmarshal TOML at row ", at.line, " column ",
                                at.column, ": ", parsed.error().description());
  }
  ConfigFile file;
  file.path = path;
  file.tree = std::move(parsed).table();
  if (const toml::node* version = file.tree.get("version"); version != nullptr) {
    const auto* number = version->as_integer();
    if (number == nullptr || number->get() < 0)
      return TypeError("version", *version, "a number from 1 to 4");
    if (number->get() > kConfigVersion) {
      return InvalidArgumentError(path,
                                  ": expected containerd config version equal to or less than `",
                                  kConfigVersion, "`, got `", number->get(), "`");
    }
    file.version = static_cast<int>(number->get());
  }
  return file;
}

int64_t Config::TimeoutNanos(const std::string& key) const {
  const auto found = timeouts.find(key);
  CHECK(found != timeouts.end());
  return ParseDuration(found->second).value();  // checked when it was read
}

Result<Config> LoadConfig(const std::string& path, bool may_be_missing) {
  Config config;
  config.timeouts = kDefaultTimeouts;
  config.stream_processors["io.containerd.ocicrypt.decoder.v1.tar"] = OcicryptProcessor("");
  config.stream_processors["io.containerd.ocicrypt.decoder.v1.tar.gzip"] =
      OcicryptProcessor("+gzip");
  config.plugins = std::make_shared<PluginTables>();
  std::deque<std::string> queue = {path};
  std::set<std::string> seen;
  while (!queue.empty()) {
    const std::string next = queue.front();
    queue.pop_front();
    if (!seen.insert(next).second) continue;
    if (seen.size() > kMaxConfigFiles)
      return InvalidArgumentError(path, ": imports more than ", kMaxConfigFiles, " files");
    Result<ConfigFile> read = ReadConfigFile(next);
    if (!read.ok()) {
      if (next == path && may_be_missing && read.error().Is(Code::kNotFound)) break;
      return std::move(read).TakeError();
    }
    ConfigFile file = std::move(read).value();
    config.files.push_back(next);
    if (next == path) {
      config.version = file.version;
    } else if (file.version > config.version) {
      return InvalidArgumentError(next, ": drop-in config version ", file.version,
                                  " higher than root config version ", config.version);
    }
    if (file.version < kConfigVersion) {
      config.warnings.push_back({StrCat("Configuration migrated from version ", file.version,
                                        ", use `cortend config migrate` to avoid migration"),
                                 {{"file", next}},
                                 /*effect=*/true});
    }
    MigrateConfig(file, config.warnings);
    TRY(Reader(config, file).Read());
    if (const toml::array* imports = file.tree["imports"].as_array(); imports != nullptr) {
      for (const toml::node& entry : *imports) {
        for (std::string& found : ExpandImport(entry.value_or(std::string()), next))
          queue.push_back(std::move(found));
      }
    }
    if (toml::table* plugins = file.tree["plugins"].as_table(); plugins != nullptr) {
      for (auto&& [uri, node] : *plugins) {
        toml::table* table = node.as_table();
        if (table == nullptr) return TypeError(uri.str(), node, "a table");
        const auto present = config.plugins->tables.find(std::string(uri.str()));
        if (present == config.plugins->tables.end()) {
          config.plugins->tables.emplace(std::string(uri.str()), std::move(*table));
        } else {
          MergeTables(present->second, std::move(*table));
        }
      }
    }
  }
  return config;
}

}  // namespace corten::daemon
