// Plugin tables into config structs, and the whole configuration as text.
#include <algorithm>

#include "base/nearest.h"
#include "daemon/config_toml.h"

namespace corten::daemon {

namespace {

// nullopt: a table or a mixed list, which no field takes.
std::optional<plugin::ConfigTable::Value> ToValue(const toml::node& node) {
  if (const auto* flag = node.as_boolean(); flag != nullptr) return flag->get();
  if (const auto* number = node.as_integer(); number != nullptr) return number->get();
  if (const auto* number = node.as_floating_point(); number != nullptr) return number->get();
  if (const auto* text = node.as_string(); text != nullptr) return text->get();
  const toml::array* list = node.as_array();
  if (list == nullptr) return std::nullopt;
  std::vector<std::string> words;
  for (const toml::node& entry : *list) {
    const auto* text = entry.as_string();
    if (text == nullptr) return std::nullopt;
    words.push_back(text->get());
  }
  return words;
}

Status ApplyTable(Config& config, const std::string& uri, const toml::table& from,
                  plugin::ConfigTable& table) {
  for (const auto& [key, node] : from) {
    const std::optional<plugin::ConfigTable::Value> value = ToValue(node);
    Status set = value.has_value() ? table.Set(key.str(), *value)
                                   : Status(NotFoundError("unknown key ", Quoted(key.str())));
    if (set.ok()) continue;
    if (!set.error().Is(Code::kNotFound))
      return std::move(set).TakeError().Context(Where(node)).Context(uri);
    config.warnings.push_back({"Ignoring unknown key in TOML for plugin",
                               {{"plugin", uri},
                                {"key", std::string(key.str())},
                                {"file", Where(node)},
                                {"error", set.error().text()}}});
  }
  return Ok();
}

std::string TomlString(std::string_view text) {
  const bool plain = std::none_of(text.begin(), text.end(), [](char c) {
    return c == '\'' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (plain) return StrCat("'", text, "'");
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += StrCat('\\', c);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += StrCat("\\u00", Hex(std::string_view(&c, 1)));
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}

std::string TomlList(const std::vector<std::string>& words) {
  std::string out = "[";
  for (size_t i = 0; i < words.size(); ++i) out += StrCat(i > 0 ? ", " : "", TomlString(words[i]));
  return out + "]";
}

struct Printer {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return StrCat(value); }
  std::string operator()(double value) const {
    char buffer[32];
    (void)snprintf(buffer, sizeof(buffer), "%.15g", value);
    const std::string text = buffer;
    return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
  }
  std::string operator()(const std::string& value) const { return TomlString(value); }
  std::string operator()(const std::vector<std::string>& value) const { return TomlList(value); }
};

}  // namespace

Status ApplyPluginTables(Config& config, std::vector<plugin::Descriptor>& descriptors) {
  std::vector<std::string> uris;
  for (const plugin::Descriptor& descriptor : descriptors) uris.push_back(descriptor.uri());
  for (const auto& [uri, table] : config.plugins->tables) {
    const auto found =
        std::find_if(descriptors.begin(), descriptors.end(),
                     [&](const auto& descriptor) { return descriptor.uri() == uri; });
    if (found == descriptors.end()) {
      ConfigWarning warning{"Ignoring table of a plugin that is not in this build",
                            {{"plugin", uri}}};
      if (!table.empty()) warning.fields["file"] = Where(table.cbegin()->second);
      if (const std::string nearest = NearestName(uri, uris); !nearest.empty()) {
        warning.fields["hint"] = StrCat("did you mean ", Quoted(nearest), "?");
      }
      config.warnings.push_back(std::move(warning));
      continue;
    }
    plugin::ConfigTable none;
    TRY(ApplyTable(config, uri, table, found->table != nullptr ? *found->table : none));
  }
  return Ok();
}

std::string PrintConfig(const Config& config, const std::vector<plugin::Descriptor>& descriptors) {
  std::string out =
      StrCat("version = ", kConfigVersion, "\nroot = ", TomlString(config.root),
             "\nstate = ", TomlString(config.state), "\ntemp = ", TomlString(config.temp),
             "\ndisabled_plugins = ", TomlList(config.disabled_plugins),
             "\nrequired_plugins = ", TomlList(config.required_plugins),
             "\noom_score = ", config.oom_score, "\nimports = ", TomlList(config.imports),
             "\n\n[debug]\n  level = ", TomlString(config.log_level),
             "\n  format = ", TomlString(config.log_format),
             "\n  log_trace_id = ", config.log_trace_id, "\n\n[plugins]\n");
  std::vector<const plugin::Descriptor*> sorted;
  for (const plugin::Descriptor& descriptor : descriptors) {
    const bool disabled = std::find(config.disabled_plugins.begin(), config.disabled_plugins.end(),
                                    descriptor.uri()) != config.disabled_plugins.end();
    if (descriptor.table != nullptr && !disabled) sorted.push_back(&descriptor);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const auto* a, const auto* b) { return a->uri() < b->uri(); });
  for (const plugin::Descriptor* descriptor : sorted) {
    out += StrCat("  [plugins.", TomlString(descriptor->uri()), "]\n");
    for (const plugin::ConfigTable::Field& field : descriptor->table->fields()) {
      out += StrCat("    ", field.name, " = ",
                    std::visit(Printer(), plugin::ConfigTable::Get(field)), "\n");
    }
    out += "\n";
  }
  out += StrCat("[cgroup]\n  path = ", TomlString(config.cgroup_path), "\n\n[proxy_plugins]\n");
  for (const auto& [name, proxy] : config.proxy_plugins) {
    out += StrCat("  [proxy_plugins.", TomlString(name), "]\n    type = ", TomlString(proxy.type),
                  "\n    address = ", TomlString(proxy.address),
                  "\n    platform = ", TomlString(proxy.platform),
                  "\n    capabilities = ", TomlList(proxy.capabilities), "\n");
    if (!proxy.exports.empty())
      out += StrCat("    [proxy_plugins.", TomlString(name), ".exports]\n");
    for (const auto& [key, value] : proxy.exports)
      out += StrCat("      ", TomlString(key), " = ", TomlString(value), "\n");
  }
  out += "\n[timeouts]\n";
  for (const auto& [key, value] : config.timeouts)
    out += StrCat("  ", TomlString(key), " = ", TomlString(value), "\n");
  out += "\n[stream_processors]\n";
  for (const auto& [id, processor] : config.stream_processors) {
    out += StrCat(
        "  [stream_processors.", TomlString(id), "]\n    accepts = ", TomlList(processor.accepts),
        "\n    returns = ", TomlString(processor.returns),
        "\n    path = ", TomlString(processor.path), "\n    args = ", TomlList(processor.args),
        "\n    env = ", TomlList(processor.env), "\n\n");
  }
  return out;
}

}  // namespace corten::daemon
