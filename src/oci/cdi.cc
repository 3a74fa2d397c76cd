#include "oci/cdi.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/dir.h"
#include "oci/environment.h"

namespace corten::oci {

namespace {

constexpr size_t kMaxFile = 4 << 20;  // bytes
constexpr size_t kMaxFiles = 1000;    // of a directory

void RemoveWith(Json& array, const char* member, const std::string& value) {
  for (auto it = array.begin(); it != array.end();)
    it = it->is_object() && String(*it, member) == value ? array.erase(it) : it + 1;
}

// What a file does not say of a node is as on this machine.
Status CompleteNode(Json& node) {
  const std::string path =
      node.contains("hostPath") ? String(node, "hostPath") : String(node, "path");
  const std::string type = String(node, "type");
  const auto number = node.find("major");
  if (!type.empty() && (type == "p" || (number != node.end() && *number != 0))) return Ok();
  struct stat st = {};
  if (stat(path.c_str(), &st) != 0) {
    return UnknownError("failed to stat CDI host device ", Quoted(path), ": ",
                        errno == ENOENT ? "no such file or directory" : strerror(errno));
  }
  const char* actual = S_ISBLK(st.st_mode)    ? "b"
                       : S_ISCHR(st.st_mode)  ? "c"
                       : S_ISFIFO(st.st_mode) ? "p"
                                              : "";
  if (*actual == '\0') return UnknownError("CDI host device ", Quoted(path), ": not a device node");
  if (type.empty()) node["type"] = actual;
  if (String(node, "type") != actual && !(type == "u" && *actual == 'c'))
    return UnknownError("CDI device (", Quoted(String(node, "path")), ", ", Quoted(path),
                        "), host type mismatch (", type, ", ", actual, ")");
  if (*actual != 'p') {
    node["major"] = major(st.st_rdev);
    node["minor"] = minor(st.st_rdev);
  }
  if (!node.contains("fileMode")) node["fileMode"] = st.st_mode & 07777;
  return Ok();
}

// The user of the process owns its devices, unless a file says otherwise.
void GiveToUser(Json& node, const Json& spec) {
  const auto process = spec.find("process");
  if (process == spec.end() || !process->is_object()) return;
  const auto user = process->find("user");
  if (user == process->end() || !user->is_object()) return;
  for (const char* id : {"uid", "gid"}) {
    const auto own = user->find(id);
    if (!node.contains(id) && own != user->end() && own->is_number_integer() && *own > 0)
      node[id] = *own;
  }
}

Status AddNode(Json node, Json& spec) {
  TRY(CompleteNode(node));
  GiveToUser(node, spec);
  const std::string access =
      String(node, "permissions").empty() ? std::string("rwm") : String(node, "permissions");
  node.erase("hostPath");
  node.erase("permissions");
  for (const char* number : {"major", "minor"}) {
    if (!node.contains(number)) node[number] = 0;
  }
  const std::string type = String(node, "type");
  Json& linux = ObjectOf(spec, "linux");
  if (type == "b" || type == "c") {
    Json rule = {{"allow", true}, {"type", type}};
    for (const char* number : {"major", "minor"}) rule[number] = node[number];
    rule["access"] = access;
    ArrayOf(ObjectOf(linux, "resources"), "devices").push_back(std::move(rule));
  }
  Json& devices = ArrayOf(linux, "devices");
  RemoveWith(devices, "path", String(node, "path"));
  devices.push_back(std::move(node));
  return Ok();
}

void AddMount(const Json& mount, Json& spec) {
  Json entry = {{"destination", mount["containerPath"]}};
  if (!String(mount, "type").empty()) entry["type"] = mount["type"];
  entry["source"] = mount["hostPath"];
  if (mount.contains("options") && !mount["options"].empty()) entry["options"] = mount["options"];
  Json& mounts = ArrayOf(spec, "mounts");
  RemoveWith(mounts, "destination", String(mount, "containerPath"));
  mounts.push_back(std::move(entry));
}

void AddHook(const Json& hook, Json& spec) {
  Json entry = {{"path", hook["path"]}};
  for (const char* member : {"args", "env", "timeout"}) {
    if (hook.contains(member)) entry[member] = hook[member];
  }
  ArrayOf(ObjectOf(spec, "hooks"), String(hook, "hookName").c_str()).push_back(std::move(entry));
}

void AddGroups(const Json& gids, Json& spec) {
  Json& groups = ArrayOf(ObjectOf(ObjectOf(spec, "process"), "user"), "additionalGids");
  for (const Json& gid : gids) {
    if (gid != 0 && std::find(groups.begin(), groups.end(), gid) == groups.end())
      groups.push_back(gid);
  }
}

// A mount that lies below another comes after it.
void SortMounts(Json& mounts) {
  const auto depth = [](const Json& mount) {
    const std::string path = mount.is_object() ? String(mount, "destination") : std::string();
    return std::count(path.begin(), path.end(), '/') - (path.size() > 1 && path.ends_with('/'));
  };
  std::stable_sort(mounts.begin(), mounts.end(),
                   [&](const Json& a, const Json& b) { return depth(a) < depth(b); });
}

const Json& Each(const Json& edits, const char* member) {
  static const Json& none = *new Json(Json::array());
  const auto found = edits.find(member);
  return found == edits.end() ? none : *found;
}

Status Apply(const Json& edits, Json& spec) {
  for (const Json& node : Each(edits, "deviceNodes")) TRY(AddNode(node, spec));
  for (const Json& net : Each(edits, "netDevices")) {
    ObjectOf(ObjectOf(spec, "linux"),
             "netDevices")[String(net, "hostInterfaceName")] = {{"name", net["name"]}};
  }
  for (const Json& mount : Each(edits, "mounts")) AddMount(mount, spec);
  for (const Json& hook : Each(edits, "hooks")) AddHook(hook, spec);
  if (edits.contains("intelRdt")) ObjectOf(spec, "linux")["intelRdt"] = edits["intelRdt"];
  if (edits.contains("additionalGids")) AddGroups(edits["additionalGids"], spec);
  return Ok();
}

}  // namespace

CdiRegistry CdiRegistry::Load(const std::vector<std::string>& dirs) {
  CdiRegistry registry;
  for (size_t i = 0; i < dirs.size(); ++i) {
    const Result<Dir> dir = Dir::Open(dirs[i]);
    if (!dir.ok()) continue;  // nothing is installed there
    Result<std::vector<std::string>> names = dir->List();
    if (!names.ok()) {
      registry.problems_.push_back(names.error().text());
      continue;
    }
    std::sort(names->begin(), names->end());
    size_t files = 0;
    for (const std::string& name : *names) {
      if (!name.ends_with(".json") && !name.ends_with(".yaml")) continue;
      if (++files > kMaxFiles) {
        registry.problems_.push_back(StrCat(dirs[i], ": more than ", kMaxFiles, " files"));
        break;
      }
      registry.Add(StrCat(dirs[i], "/", name), i);
    }
  }
  return registry;
}

void CdiRegistry::Add(const std::string& path, size_t dir) {
  const Result<std::string> text = ReadFileAt(path, kMaxFile);
  if (!text.ok()) {
    problems_.push_back(text.error().text());
    return;
  }
  Result<CdiSpec> parsed = ParseCdiSpec(*text);
  if (!parsed.ok()) {
    problems_.push_back(StrCat(path, ": ", parsed.error().text()));
    return;
  }
  const auto spec = std::make_shared<const CdiSpec>(*std::move(parsed));
  for (const CdiDevice& device : spec->devices) {
    const std::string name = StrCat(spec->kind, "=", device.name);
    Entry& entry = devices_[name];
    if (entry.spec == nullptr || entry.dir < dir) {
      entry = {spec, &device, dir, path};
    } else {
      entry.device = nullptr;
      problems_.push_back(StrCat("conflicting device ", Quoted(name), " (specs ", Quoted(path),
                                 ", ", Quoted(entry.file), ")"));
    }
  }
}

Status CdiRegistry::Inject(const std::vector<std::string>& names, Json& spec) const {
  std::string missing;
  std::vector<const Json*> edits;
  std::set<const CdiSpec*> seen;
  for (const std::string& name : names) {
    const auto found = devices_.find(name);
    if (found == devices_.end() || found->second.device == nullptr) {
      missing += StrCat(missing.empty() ? "" : ", ", name);
      continue;
    }
    const Entry& entry = found->second;
    if (seen.insert(entry.spec.get()).second) edits.push_back(entry.spec->edits.get());
    edits.push_back(entry.device->edits.get());
  }
  if (!missing.empty()) return UnknownError("unresolvable CDI devices ", missing);
  Json changed = spec;
  bool mounts = false;
  std::vector<std::string> env;  // the devices' own; what the container had before stays, and loses
  for (const Json* edit : edits) {
    for (const std::string& entry : Strings(*edit, "env")) MergeEnv(env, {entry});
    TRY(Apply(*edit, changed).Context("failed to inject devices"));
    mounts |= !Each(*edit, "mounts").empty();
  }
  if (!env.empty()) {
    Json& all = ArrayOf(ObjectOf(changed, "process"), "env");
    for (std::string& entry : env) all.push_back(std::move(entry));
  }
  if (mounts) SortMounts(ArrayOf(changed, "mounts"));
  spec = std::move(changed);
  return Ok();
}

}  // namespace corten::oci
