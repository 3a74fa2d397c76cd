#include "oci/mounts.h"

#include <nlohmann/json.hpp>

namespace corten::oci {

namespace {

// The fields of one line of comma-separated values. kInvalidArgument: a quote that does not end.
Result<std::vector<std::string>> SplitFields(std::string_view line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      out.back().push_back('"');
      ++i;
    } else if (c == '"' && (quoted || out.back().empty())) {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      out.emplace_back();
    } else {
      out.back().push_back(c);
    }
  }
  if (quoted) return InvalidArgumentError("mount ", Quoted(line), ": a quote does not end");
  return out;
}

std::vector<std::string> SplitColons(std::string_view text) {
  std::vector<std::string> out;
  while (true) {
    const size_t at = text.find(':');
    out.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 1);
  }
}

}  // namespace

Json MountEntry(const std::string& target, const std::string& type, const std::string& source,
                const std::vector<std::string>& options) {
  Json mount = {{"destination", target}};
  if (!type.empty()) mount["type"] = type;
  if (!source.empty()) mount["source"] = source;
  if (!options.empty()) mount["options"] = options;
  return mount;
}

Json DefaultMounts() {
  Json mounts = Json::array();
  mounts.push_back(MountEntry("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  mounts.push_back(
      MountEntry("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  mounts.push_back(
      MountEntry("/dev/pts", "devpts", "devpts",
                 {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}));
  mounts.push_back(MountEntry("/dev/shm", "tmpfs", "shm",
                              {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}));
  mounts.push_back(MountEntry("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  mounts.push_back(MountEntry("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}));
  mounts.push_back(
      MountEntry("/run", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  return mounts;
}

Result<Json> ParseMount(std::string_view text) {
  if (text.empty()) return InvalidArgumentError("EOF");
  const std::vector<std::string> fields = TRY(SplitFields(text));
  std::string type;
  std::string source;
  std::string target;
  std::vector<std::string> options;
  for (const std::string& field : fields) {
    const size_t equals = field.find('=');
    if (equals == std::string::npos)
      return InvalidArgumentError("invalid mount specification: expected key=val");
    const std::string key = field.substr(0, equals);
    const std::string value = field.substr(equals + 1);
    if (key == "type") {
      type = value;
    } else if (key == "source" || key == "src") {
      source = value;
    } else if (key == "destination" || key == "dst") {
      target = value;
    } else if (key == "options") {
      options = SplitColons(value);
    } else {
      return InvalidArgumentError("mount option ", Quoted(key), " not supported");
    }
  }
  return MountEntry(target, type, source, options);
}

void MakeWritable(Json& mounts, std::string_view type) {
  if (!mounts.is_array()) return;
  for (Json& mount : mounts) {
    if (!mount.is_object() || String(mount, "type") != type) continue;
    std::vector<std::string> options = Strings(mount, "options");
    for (std::string& option : options) {
      if (option == "ro") option = "rw";
    }
    mount["options"] = options;
  }
}

}  // namespace corten::oci
