#include "oci/cdi_spec.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "oci/yaml_document.h"

namespace corten::oci {

namespace {

enum class Kind { kText, kTexts, kNumber, kNumbers, kBool, kTextMap, kObject, kObjects };

// A member that the specification knows, since its version `since` (1.1.0 is 101 * 10).
struct Member {
  std::string_view name;
  Kind kind;
  int since = 0;
};

constexpr int kFirst = 30;  // 0.3.0; what was there before came with it
constexpr std::pair<std::string_view, int> kVersions[] = {
    {"0.1.0", kFirst}, {"0.2.0", kFirst}, {"0.3.0", kFirst}, {"0.4.0", 40},   {"0.5.0", 50},
    {"0.6.0", 60},     {"0.7.0", 70},     {"0.8.0", 80},     {"1.0.0", 1000}, {"1.1.0", 1010}};

constexpr Member kSpecMembers[] = {{"cdiVersion", Kind::kText},
                                   {"kind", Kind::kText},
                                   {"annotations", Kind::kTextMap, 60},
                                   {"devices", Kind::kObjects},
                                   {"containerEdits", Kind::kObject}};
constexpr Member kDeviceMembers[] = {
    {"name", Kind::kText}, {"annotations", Kind::kTextMap, 60}, {"containerEdits", Kind::kObject}};
constexpr Member kEditMembers[] = {{"env", Kind::kTexts},
                                   {"deviceNodes", Kind::kObjects},
                                   {"netDevices", Kind::kObjects, 1010},
                                   {"hooks", Kind::kObjects},
                                   {"mounts", Kind::kObjects},
                                   {"intelRdt", Kind::kObject, 70},
                                   {"additionalGids", Kind::kNumbers, 70}};
constexpr Member kNodeMembers[] = {
    {"path", Kind::kText},        {"hostPath", Kind::kText, 50}, {"type", Kind::kText},
    {"major", Kind::kNumber},     {"minor", Kind::kNumber},      {"fileMode", Kind::kNumber},
    {"permissions", Kind::kText}, {"uid", Kind::kNumber},        {"gid", Kind::kNumber}};
constexpr Member kNetMembers[] = {{"hostInterfaceName", Kind::kText}, {"name", Kind::kText}};
constexpr Member kMountMembers[] = {{"hostPath", Kind::kText},
                                    {"containerPath", Kind::kText},
                                    {"options", Kind::kTexts},
                                    {"type", Kind::kText, 40}};
constexpr Member kHookMembers[] = {{"hookName", Kind::kText},
                                   {"path", Kind::kText},
                                   {"args", Kind::kTexts},
                                   {"env", Kind::kTexts},
                                   {"timeout", Kind::kNumber}};
constexpr Member kRdtMembers[] = {{"closID", Kind::kText},
                                  {"l3CacheSchema", Kind::kText},
                                  {"memBwSchema", Kind::kText},
                                  {"schemata", Kind::kTexts, 1010},
                                  {"enableMonitoring", Kind::kBool, 1010}};
constexpr std::string_view kHookNames[] = {"prestart",       "createRuntime", "createContainer",
                                           "startContainer", "poststart",     "poststop"};

bool IsKind(const Json& value, Kind kind) {
  const auto each = [&](bool (*good)(const Json&)) {
    return std::all_of(value.begin(), value.end(), good);
  };
  switch (kind) {
    case Kind::kText:
      return value.is_string();
    case Kind::kTexts:
      return value.is_array() && each([](const Json& entry) { return entry.is_string(); });
    case Kind::kNumber:
      return value.is_number_integer();
    case Kind::kNumbers:
      return value.is_array() && each([](const Json& entry) { return entry.is_number_integer(); });
    case Kind::kBool:
      return value.is_boolean();
    case Kind::kTextMap:
      return value.is_object() && each([](const Json& entry) { return entry.is_string(); });
    case Kind::kObject:
      return value.is_object();
    case Kind::kObjects:
      return value.is_array() && each([](const Json& entry) { return entry.is_object(); });
  }
  return false;
}

// A number in place of a text is read as one: YAML writes both the same way.
void ReadAsTexts(Json& value, Kind kind) {
  if (kind == Kind::kText && (value.is_number() || value.is_boolean())) value = value.dump();
  if (kind == Kind::kTexts && value.is_array()) {
    for (Json& entry : value) ReadAsTexts(entry, Kind::kText);
  }
}

Status CheckMembers(Json& object, std::span<const Member> members, int version) {
  for (auto it = object.begin(); it != object.end();) {
    const auto known = std::find_if(members.begin(), members.end(),
                                    [&](const Member& member) { return member.name == it.key(); });
    if (known == members.end()) return InvalidArgumentError("unknown field ", Quoted(it.key()));
    if (it->is_null()) {  // as good as not there
      it = object.erase(it);
      continue;
    }
    ReadAsTexts(*it, known->kind);
    if (!IsKind(*it, known->kind))
      return InvalidArgumentError("field ", Quoted(it.key()), ": of another type");
    if (known->since > version) {
      const auto since =
          std::find_if(std::begin(kVersions), std::end(kVersions),
                       [&](const auto& entry) { return entry.second == known->since; });
      return InvalidArgumentError("the spec version must be at least v", since->first);
    }
    ++it;
  }
  return Ok();
}

bool IsWord(std::string_view text, bool digit_first, std::string_view marks) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.empty()) return false;
  if (!letter(text.front()) && !(digit_first && digit(text.front()))) return false;
  if (!letter(text.back()) && !digit(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return letter(c) || digit(c) || marks.find(c) != std::string_view::npos;
  });
}

bool IsCdiKind(std::string_view kind) {
  const size_t slash = kind.find('/');
  return slash != std::string_view::npos && IsWord(kind.substr(0, slash), false, "_-.") &&
         IsWord(kind.substr(slash + 1), false, "_-.");
}

bool IsDeviceName(std::string_view name) { return IsWord(name, true, "_-.:"); }

Status CheckNode(Json& node, int version) {
  TRY(CheckMembers(node, kNodeMembers, version));
  if (String(node, "path").empty()) return InvalidArgumentError("invalid (empty) device path");
  const std::string type = String(node, "type");
  if (!type.empty() && type != "b" && type != "c" && type != "u" && type != "p")
    return InvalidArgumentError("device ", Quoted(String(node, "path")), ": invalid type ",
                                Quoted(type));
  if (String(node, "permissions").find_first_not_of("rwm") != std::string::npos)
    return InvalidArgumentError("device ", Quoted(String(node, "path")), ": invalid permissions ",
                                Quoted(String(node, "permissions")));
  return Ok();
}

Status CheckMount(Json& mount, int version) {
  TRY(CheckMembers(mount, kMountMembers, version));
  if (String(mount, "hostPath").empty())
    return InvalidArgumentError("invalid mount, empty host path");
  if (String(mount, "containerPath").empty())
    return InvalidArgumentError("invalid mount, empty container path");
  return Ok();
}

Status CheckHook(Json& hook, int version) {
  TRY(CheckMembers(hook, kHookMembers, version));
  const std::string name = String(hook, "hookName");
  if (std::find(std::begin(kHookNames), std::end(kHookNames), name) == std::end(kHookNames))
    return InvalidArgumentError("invalid hook name ", Quoted(name));
  if (String(hook, "path").empty())
    return InvalidArgumentError("invalid hook ", Quoted(name), " with empty path");
  return Ok();
}

Status CheckNet(Json& net, int version) {
  TRY(CheckMembers(net, kNetMembers, version));
  if (String(net, "hostInterfaceName").empty() || String(net, "name").empty())
    return InvalidArgumentError("invalid network device, empty name");
  return Ok();
}

Status CheckEach(Json& edits, const char* member, Status (*check)(Json&, int), int version) {
  const auto found = edits.find(member);
  if (found == edits.end()) return Ok();
  for (Json& entry : *found) TRY(check(entry, version));
  return Ok();
}

Status CheckEdits(Json& edits, int version) {
  TRY(CheckMembers(edits, kEditMembers, version));
  for (const std::string& entry : Strings(edits, "env")) {
    if (entry.find('=') == std::string::npos || entry[0] == '=')
      return InvalidArgumentError("invalid environment variable ", Quoted(entry));
  }
  TRY(CheckEach(edits, "deviceNodes", &CheckNode, version));
  TRY(CheckEach(edits, "netDevices", &CheckNet, version));
  TRY(CheckEach(edits, "hooks", &CheckHook, version));
  TRY(CheckEach(edits, "mounts", &CheckMount, version));
  if (const auto rdt = edits.find("intelRdt"); rdt != edits.end())
    TRY(CheckMembers(*rdt, kRdtMembers, version));
  return Ok();
}

bool SaysNothing(const Json& edits) {
  return std::all_of(edits.begin(), edits.end(), [](const Json& member) { return member.empty(); });
}

Result<CdiDevice> DeviceOf(Json& json, int version) {
  TRY(CheckMembers(json, kDeviceMembers, version));
  Json edits = json.value("containerEdits", Json::object());
  CdiDevice device;
  device.name = String(json, "name");
  const std::string where = StrCat("device ", Quoted(device.name));
  if (!IsDeviceName(device.name)) return InvalidArgumentError("invalid name of ", where);
  if (device.name[0] >= '0' && device.name[0] <= '9' && version < 50)
    return InvalidArgumentError(where, ": the spec version must be at least v0.5.0");
  TRY(CheckEdits(edits, version).Context(where));
  if (SaysNothing(edits)) return InvalidArgumentError(where, ": empty device edits");
  device.edits = std::make_shared<const Json>(std::move(edits));
  return device;
}

}  // namespace

bool IsCdiName(std::string_view name) {
  const size_t equals = name.find('=');
  return equals != std::string_view::npos && IsCdiKind(name.substr(0, equals)) &&
         IsDeviceName(name.substr(equals + 1));
}

Result<CdiSpec> ParseCdiSpec(const std::string& text) {
  Json json = TRY(ParseYaml(text));
  if (json.is_null()) return InvalidArgumentError("no Spec data");
  if (!json.is_object()) return InvalidArgumentError("not an object");
  const std::string said = String(json, "cdiVersion");
  const auto version = std::find_if(std::begin(kVersions), std::end(kVersions),
                                    [&](const auto& entry) { return entry.first == said; });
  if (version == std::end(kVersions)) return InvalidArgumentError("invalid version ", Quoted(said));
  TRY(CheckMembers(json, kSpecMembers, version->second));
  CdiSpec spec;
  spec.kind = String(json, "kind");
  if (!IsCdiKind(spec.kind)) return InvalidArgumentError("invalid kind ", Quoted(spec.kind));
  if (spec.kind.find('.', spec.kind.find('/')) != std::string::npos && version->second < 60)
    return InvalidArgumentError("kind ", Quoted(spec.kind),
                                ": the spec version must be at least v0.6.0");
  Json edits = json.value("containerEdits", Json::object());
  TRY(CheckEdits(edits, version->second));
  spec.edits = std::make_shared<const Json>(std::move(edits));
  std::set<std::string> names;
  for (Json& entry : ArrayOf(json, "devices")) {
    CdiDevice device = TRY(DeviceOf(entry, version->second));
    if (!names.insert(device.name).second)
      return InvalidArgumentError("invalid spec, multiple device ", Quoted(device.name));
    spec.devices.push_back(std::move(device));
  }
  if (spec.devices.empty()) return InvalidArgumentError("invalid spec, no devices");
  return spec;
}

}  // namespace corten::oci
