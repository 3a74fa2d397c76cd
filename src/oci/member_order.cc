#include "oci/member_order.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

namespace corten::oci {

namespace {

using Names = std::span<const std::string_view>;

constexpr std::string_view kSpec[] = {"ociVersion", "process",     "root",
                                      "hostname",   "domainname",  "mounts",
                                      "hooks",      "annotations", "linux"};
constexpr std::string_view kProcess[] = {"terminal",
                                         "consoleSize",
                                         "user",
                                         "args",
                                         "commandLine",
                                         "env",
                                         "cwd",
                                         "capabilities",
                                         "rlimits",
                                         "noNewPrivileges",
                                         "apparmorProfile",
                                         "oomScoreAdj",
                                         "scheduler",
                                         "selinuxLabel",
                                         "ioPriority"};
constexpr std::string_view kUser[] = {"uid", "gid", "umask", "additionalGids", "username"};
constexpr std::string_view kCapabilities[] = {"bounding", "effective", "inheritable", "permitted",
                                              "ambient"};
constexpr std::string_view kRlimit[] = {"type", "hard", "soft"};
constexpr std::string_view kRoot[] = {"path", "readonly"};
constexpr std::string_view kMount[] = {"destination", "type",        "source",
                                       "options",     "uidMappings", "gidMappings"};
constexpr std::string_view kHooks[] = {"prestart",       "createRuntime", "createContainer",
                                       "startContainer", "poststart",     "poststop"};
constexpr std::string_view kHook[] = {"path", "args", "env", "timeout"};
constexpr std::string_view kLinux[] = {
    "uidMappings", "gidMappings",   "sysctl",     "resources", "cgroupsPath",
    "namespaces",  "devices",       "netDevices", "seccomp",   "rootfsPropagation",
    "maskedPaths", "readonlyPaths", "mountLabel", "intelRdt",  "memoryPolicy",
    "personality", "timeOffsets"};
constexpr std::string_view kIdMap[] = {"containerID", "hostID", "size"};
constexpr std::string_view kResources[] = {"devices",        "memory",  "cpu",  "pids",   "blockIO",
                                           "hugepageLimits", "network", "rdma", "unified"};
constexpr std::string_view kDeviceRule[] = {"allow", "type", "major", "minor", "access"};
constexpr std::string_view kCpu[] = {
    "shares",         "quota", "burst", "period", "realtimeRuntime",
    "realtimePeriod", "cpus",  "mems",  "idle"};
constexpr std::string_view kBlockIo[] = {"weight",
                                         "leafWeight",
                                         "weightDevice",
                                         "throttleReadBpsDevice",
                                         "throttleWriteBpsDevice",
                                         "throttleReadIOPSDevice",
                                         "throttleWriteIOPSDevice"};
constexpr std::string_view kBlockDevice[] = {"major", "minor", "weight", "leafWeight", "rate"};
constexpr std::string_view kNamespace[] = {"type", "path"};
constexpr std::string_view kDevice[] = {"path", "type", "major", "minor", "fileMode", "uid", "gid"};
constexpr std::string_view kSeccomp[] = {"defaultAction", "defaultErrnoRet", "architectures",
                                         "flags",         "listenerPath",    "listenerMetadata",
                                         "syscalls"};
constexpr std::string_view kSyscall[] = {"names", "action", "errnoRet", "args"};
constexpr std::string_view kIntelRdt[] = {"closID", "schemata", "l3CacheSchema", "memBwSchema",
                                          "enableMonitoring"};

// An object, or each object of an array.
struct Place {
  std::string_view path;  // from the specification, levels by '/'
  Names names;
};

constexpr Place kPlaces[] = {
    {"", kSpec},
    {"process", kProcess},
    {"process/user", kUser},
    {"process/capabilities", kCapabilities},
    {"process/rlimits", kRlimit},
    {"root", kRoot},
    {"mounts", kMount},
    {"mounts/uidMappings", kIdMap},
    {"mounts/gidMappings", kIdMap},
    {"hooks", kHooks},
    {"hooks/prestart", kHook},
    {"hooks/createRuntime", kHook},
    {"hooks/createContainer", kHook},
    {"hooks/startContainer", kHook},
    {"hooks/poststart", kHook},
    {"hooks/poststop", kHook},
    {"linux", kLinux},
    {"linux/uidMappings", kIdMap},
    {"linux/gidMappings", kIdMap},
    {"linux/resources", kResources},
    {"linux/resources/devices", kDeviceRule},
    {"linux/resources/cpu", kCpu},
    {"linux/resources/blockIO", kBlockIo},
    {"linux/resources/blockIO/weightDevice", kBlockDevice},
    {"linux/resources/blockIO/throttleReadBpsDevice", kBlockDevice},
    {"linux/resources/blockIO/throttleWriteBpsDevice", kBlockDevice},
    {"linux/resources/blockIO/throttleReadIOPSDevice", kBlockDevice},
    {"linux/resources/blockIO/throttleWriteIOPSDevice", kBlockDevice},
    {"linux/namespaces", kNamespace},
    {"linux/devices", kDevice},
    {"linux/seccomp", kSeccomp},
    {"linux/seccomp/syscalls", kSyscall},
    {"linux/intelRdt", kIntelRdt},
};

void Sort(Json& object, Names names) {
  Json sorted = Json::object();
  for (const std::string_view name : names) {
    const std::string key(name);
    if (const auto found = object.find(key); found != object.end()) sorted[key] = std::move(*found);
  }
  for (const auto& [key, value] : object.items()) {
    if (std::find(names.begin(), names.end(), key) == names.end()) sorted[key] = std::move(value);
  }
  object = std::move(sorted);
}

void SortAt(Json& json, std::string_view path, Names names) {
  if (json.is_array()) {
    for (Json& entry : json) {
      if (!entry.is_array()) SortAt(entry, path, names);
    }
    return;
  }
  if (!json.is_object()) return;
  if (path.empty()) return Sort(json, names);
  const size_t slash = path.find('/');
  const auto next = json.find(std::string(path.substr(0, slash)));
  if (next == json.end()) return;
  SortAt(*next, slash == std::string_view::npos ? "" : path.substr(slash + 1), names);
}

}  // namespace

void SetMembersInOrder(Json& spec) {
  for (const Place& place : kPlaces) SortAt(spec, place.path, place.names);
}

}  // namespace corten::oci
