#include "oci/spec.h"

#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace corten::oci {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kVersion = "1.0.2";
constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int64_t kCpuPeriodUs = 100000;

const std::vector<std::string> kDefaultCapabilities = {
    "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
    "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
    "CAP_KILL",    "CAP_AUDIT_WRITE"};

const std::vector<std::string> kAllCapabilities = {"CAP_CHOWN",
                                                   "CAP_DAC_OVERRIDE",
                                                   "CAP_DAC_READ_SEARCH",
                                                   "CAP_FOWNER",
                                                   "CAP_FSETID",
                                                   "CAP_KILL",
                                                   "CAP_SETGID",
                                                   "CAP_SETUID",
                                                   "CAP_SETPCAP",
                                                   "CAP_LINUX_IMMUTABLE",
                                                   "CAP_NET_BIND_SERVICE",
                                                   "CAP_NET_BROADCAST",
                                                   "CAP_NET_ADMIN",
                                                   "CAP_NET_RAW",
                                                   "CAP_IPC_LOCK",
                                                   "CAP_IPC_OWNER",
                                                   "CAP_SYS_MODULE",
                                                   "CAP_SYS_RAWIO",
                                                   "CAP_SYS_CHROOT",
                                                   "CAP_SYS_PTRACE",
                                                   "CAP_SYS_PACCT",
                                                   "CAP_SYS_ADMIN",
                                                   "CAP_SYS_BOOT",
                                                   "CAP_SYS_NICE",
                                                   "CAP_SYS_RESOURCE",
                                                   "CAP_SYS_TIME",
                                                   "CAP_SYS_TTY_CONFIG",
                                                   "CAP_MKNOD",
                                                   "CAP_LEASE",
                                                   "CAP_AUDIT_WRITE",
                                                   "CAP_AUDIT_CONTROL",
                                                   "CAP_SETFCAP"};

Json Mount(const char* target, const char* type, const char* source,
           std::vector<std::string> options) {
  return {
      {"destination", target}, {"type", type}, {"source", source}, {"options", std::move(options)}};
}

Json DefaultMounts(bool privileged) {
  Json mounts = Json::array();
  const char* ro = privileged ? "rw" : "ro";
  mounts.push_back(Mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  mounts.push_back(
      Mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  mounts.push_back(
      Mount("/dev/pts", "devpts", "devpts",
            {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}));
  mounts.push_back(
      Mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}));
  mounts.push_back(Mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  mounts.push_back(Mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", ro}));
  mounts.push_back(
      Mount("/run", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  return mounts;
}

bool UnifiedCgroups() {
  struct stat st = {};
  return stat("/sys/fs/cgroup/cgroup.controllers", &st) == 0;
}

Json Linux(const SpecRequest& request) {
  Json linux;
  Json namespaces = Json::array();
  for (const char* type : {"pid", "ipc", "uts", "mount"}) namespaces.push_back({{"type", type}});
  if (!request.host_network) namespaces.push_back({{"type", "network"}});
  if (UnifiedCgroups()) namespaces.push_back({{"type", "cgroup"}});
  linux["resources"]["devices"] = Json::array({{{"allow", request.privileged}, {"access", "rwm"}}});
  if (request.memory_bytes.has_value())
    linux["resources"]["memory"]["limit"] = *request.memory_bytes;
  if (request.cpu_quota_us.has_value())
    linux["resources"]["cpu"] = {{"quota", *request.cpu_quota_us}, {"period", kCpuPeriodUs}};
  linux["cgroupsPath"] = StrCat("/", request.ns, "/", request.id);
  linux["namespaces"] = std::move(namespaces);
  if (!request.privileged) {
    linux["maskedPaths"] = {"/proc/acpi",
                            "/proc/asound",
                            "/proc/interrupts",
                            "/proc/kcore",
                            "/proc/keys",
                            "/proc/latency_stats",
                            "/proc/timer_list",
                            "/proc/timer_stats",
                            "/proc/sched_debug",
                            "/sys/firmware",
                            "/sys/devices/virtual/powercap",
                            "/proc/scsi"};
    linux["readonlyPaths"] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                              "/proc/sysrq-trigger"};
  }
  return linux;
}

// "uid[:gid]" in numbers.
Result<Json> ParseUser(std::string_view text) {
  uint64_t uid = 0;
  uint64_t gid = 0;
  const size_t colon = text.find(':');
  const bool good = ParseU64(text.substr(0, colon), &uid) &&
                    (colon == std::string_view::npos || ParseU64(text.substr(colon + 1), &gid)) &&
                    uid <= UINT32_MAX && gid <= UINT32_MAX;
  if (!good) return InvalidArgumentError("user ", Quoted(text), ": give it in numbers, uid[:gid]");
  return Json{{"uid", uid}, {"gid", gid}};
}

std::vector<std::string> Strings(const Json& json, const char* key) {
  std::vector<std::string> out;
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array()) return out;
  for (const Json& entry : *found) {
    if (entry.is_string()) out.push_back(entry.get<std::string>());
  }
  return out;
}

std::string String(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Later entries replace earlier ones of the same name.
void MergeEnv(std::vector<std::string>& env, const std::vector<std::string>& over) {
  for (const std::string& entry : over) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    const auto same = std::find_if(env.begin(), env.end(), [&](const std::string& old) {
      return !name.empty() && old.starts_with(name);
    });
    if (same != env.end()) {
      *same = entry;
    } else {
      env.push_back(entry);
    }
  }
}

Result<Json> Process(const SpecRequest& request, const Json& image) {
  Json process;
  process["terminal"] = request.terminal;
  std::string user = request.user;
  if (user.empty()) user = String(image, "User");
  process["user"] = TRY(ParseUser(user.empty() ? std::string_view("0:0") : std::string_view(user)));
  std::vector<std::string> args = Strings(image, "Entrypoint");
  const std::vector<std::string> command =
      request.args.empty() ? Strings(image, "Cmd") : request.args;
  args.insert(args.end(), command.begin(), command.end());
  if (args.empty())
    return InvalidArgumentError("no command: neither the image nor the call says what to run");
  process["args"] = args;
  std::vector<std::string> env = {kPath};
  MergeEnv(env, Strings(image, "Env"));
  if (request.terminal) MergeEnv(env, {"TERM=xterm"});
  MergeEnv(env, request.env);
  process["env"] = env;
  const std::string image_cwd = String(image, "WorkingDir");
  process["cwd"] = !request.cwd.empty() ? request.cwd
                   : !image_cwd.empty() ? image_cwd
                                        : std::string("/");
  const std::vector<std::string>& capabilities =
      request.privileged ? kAllCapabilities : kDefaultCapabilities;
  process["capabilities"] = {
      {"bounding", capabilities}, {"effective", capabilities}, {"permitted", capabilities}};
  process["rlimits"] = Json::array({{{"type", "RLIMIT_NOFILE"}, {"hard", 1024}, {"soft", 1024}}});
  process["noNewPrivileges"] = !request.privileged;
  return process;
}

}  // namespace

Result<std::string> MakeSpec(const SpecRequest& request) {
  Json image = Json::object();
  if (!request.image_config.empty()) {
    const Json parsed = Json::parse(request.image_config, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_object()) return InvalidArgumentError("image config: not valid JSON");
    if (const auto config = parsed.find("config"); config != parsed.end() && config->is_object())
      image = *config;
  }
  Json spec;
  spec["ociVersion"] = kVersion;
  spec["process"] = TRY(Process(request, image));
  spec["root"] = {{"path", "rootfs"}, {"readonly", request.read_only}};
  spec["hostname"] = request.hostname.empty() ? request.id : request.hostname;
  Json mounts = DefaultMounts(request.privileged);
  for (const BindMount& mount : request.mounts) {
    mounts.push_back(Mount(mount.target.c_str(), "bind", mount.source.c_str(),
                           {"rbind", mount.read_only ? "ro" : "rw"}));
  }
  spec["mounts"] = std::move(mounts);
  for (const auto& [key, value] : request.annotations) spec["annotations"][key] = value;
  spec["linux"] = Linux(request);
  return spec.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> MakeExecProcess(std::string_view spec, const std::vector<std::string>& args,
                                    const std::vector<std::string>& env, bool terminal,
                                    const std::string& cwd) {
  if (args.empty()) return InvalidArgumentError("no command to execute");
  const Json parsed = Json::parse(spec, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object() || !parsed.contains("process") || !parsed["process"].is_object())
    return InvalidArgumentError("container spec: has no process");
  Json process = parsed["process"];
  process["args"] = args;
  process["terminal"] = terminal;
  std::vector<std::string> all = Strings(process, "env");
  MergeEnv(all, env);
  process["env"] = all;
  if (!cwd.empty()) process["cwd"] = cwd;
  return process.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace corten::oci
