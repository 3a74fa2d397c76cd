#include "oci/default_spec.h"

#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "oci/capabilities.h"
#include "oci/mounts.h"

namespace corten::oci {

namespace {

constexpr const char* kVersion = "1.3.0";
constexpr const char* kMasked[] = {"/proc/acpi",          "/proc/asound",
                                   "/proc/kcore",         "/proc/keys",
                                   "/proc/latency_stats", "/proc/timer_list",
                                   "/proc/timer_stats",   "/proc/sched_debug",
                                   "/sys/firmware",       "/sys/devices/virtual/powercap",
                                   "/proc/scsi"};
constexpr const char* kReadOnly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                     "/proc/sysrq-trigger"};

bool UnifiedCgroups() {
  struct stat st = {};
  return stat("/sys/fs/cgroup/cgroup.controllers", &st) == 0;
}

}  // namespace

Json DefaultSpec(std::string_view ns, std::string_view id) {
  Json process;
  process["user"] = {{"uid", 0}, {"gid", 0}};
  process["cwd"] = "/";
  SetCapabilities(process, DefaultCapabilities());
  process["rlimits"] = Json::array({{{"type", "RLIMIT_NOFILE"}, {"hard", 1024}, {"soft", 1024}}});
  process["noNewPrivileges"] = true;
  Json linux;
  linux["resources"]["devices"] = Json::array({{{"allow", false}, {"access", "rwm"}}});
  linux["cgroupsPath"] = id.empty() ? StrCat("/", ns) : StrCat("/", ns, "/", id);
  Json namespaces = Json::array();
  for (const char* type : {"pid", "ipc", "uts", "mount", "network"})
    namespaces.push_back({{"type", type}});
  if (UnifiedCgroups()) namespaces.push_back({{"type", "cgroup"}});
  linux["namespaces"] = std::move(namespaces);
  linux["maskedPaths"] = kMasked;
  linux["readonlyPaths"] = kReadOnly;
  Json spec;
  spec["ociVersion"] = kVersion;
  spec["process"] = std::move(process);
  spec["root"] = {{"path", "rootfs"}};
  spec["mounts"] = DefaultMounts();
  spec["linux"] = std::move(linux);
  return spec;
}

void MakePrivileged(Json& spec, const std::vector<std::string>& capabilities) {
  Json& process = ObjectOf(spec, "process");
  SetCapabilities(process, capabilities);
  process.erase("selinuxLabel");
  process.erase("apparmorProfile");
  Json& linux = ObjectOf(spec, "linux");
  linux.erase("maskedPaths");
  linux.erase("readonlyPaths");
  linux.erase("seccomp");
  MakeWritable(ArrayOf(spec, "mounts"), "sysfs");
  MakeWritable(ArrayOf(spec, "mounts"), "cgroup");
}

void UseHostNamespace(Json& linux, std::string_view type) {
  Json& namespaces = ArrayOf(linux, "namespaces");
  Json kept = Json::array();
  for (Json& entry : namespaces) {
    if (String(entry, "type") != type) kept.push_back(std::move(entry));
  }
  namespaces = std::move(kept);
}

void JoinNamespace(Json& linux, const std::string& type, const std::string& path) {
  Json wanted = {{"type", type}};
  if (!path.empty()) wanted["path"] = path;
  Json& namespaces = ArrayOf(linux, "namespaces");
  for (Json& entry : namespaces) {
    if (String(entry, "type") != type) continue;
    entry = std::move(wanted);
    return;
  }
  namespaces.push_back(std::move(wanted));
}

}  // namespace corten::oci
