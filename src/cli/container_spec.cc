#include "cli/container_spec.h"

#include <limits.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/dir.h"
#include "base/log.h"
#include "oci/apparmor_profile.h"
#include "oci/block_io.h"
#include "oci/capabilities.h"
#include "oci/cdi.h"
#include "oci/default_spec.h"
#include "oci/devices.h"
#include "oci/environment.h"
#include "oci/image_process.h"
#include "oci/limits.h"
#include "oci/mounts.h"
#include "oci/seccomp.h"
#include "os/mount.h"

namespace corten::cli {

namespace {

constexpr size_t kMaxDocument = 4 << 20;  // bytes of a --config or --seccomp-profile file
constexpr const char* kTempDir = "/tmp";  // where the root is mounted for a look

using oci::Json;

// Environment and mounts, before the image has its say.
Status ApplyGiven(const Values& values, Json& spec) {
  std::vector<std::string> env;
  if (const std::string file = values.Text("env-file"); !file.empty())
    env = TRY(oci::ReadEnvFile(file));
  oci::MergeEnv(env, values.List("env"));
  if (!env.empty()) oci::ObjectOf(spec, "process")["env"] = env;
  for (const std::string& text : values.List("mount")) {
    Json mount = TRY(oci::ParseMount(text));
    oci::ArrayOf(spec, "mounts").push_back(std::move(mount));
  }
  return Ok();
}

Status ApplyProcess(const Values& values, const SpecInputs& inputs, Json& process) {
  if (!inputs.args.empty()) process["args"] = inputs.args;
  if (const std::string cwd = values.Text("cwd"); !cwd.empty()) process["cwd"] = cwd;
  if (const std::string user = values.Text("user"); !user.empty()) {
    TRY(oci::SetUser(process, user, inputs.with_root));
    TRY(oci::SetAdditionalGroups(process, user, inputs.with_root));
  }
  if (values.Bool("tty")) {
    process["terminal"] = true;
    std::vector<std::string> env = oci::Strings(process, "env");
    oci::MergeEnv(env, {"TERM=xterm"});
    process["env"] = env;
  }
  return Ok();
}

Status ApplyPrivileged(const Values& values, Json& spec) {
  if (!values.Bool("privileged")) return Ok();
  const std::vector<std::string> all = TRY(oci::CurrentCapabilities());
  oci::MakePrivileged(spec, all);
  if (values.Declared("privileged-without-host-devices") &&
      values.Bool("privileged-without-host-devices"))
    return Ok();
  Json& linux = oci::ObjectOf(spec, "linux");
  oci::ObjectOf(linux, "resources")["devices"] =
      Json::array({{{"allow", true}, {"access", "rwm"}}});
  Json devices = TRY(oci::DevicesBelow("/dev"));
  for (Json& device : devices) oci::ArrayOf(linux, "devices").push_back(std::move(device));
  return Ok();
}

Status ApplyHostNetwork(const Values& values, Json& spec) {
  if (!values.Bool("net-host")) return Ok();
  char name[HOST_NAME_MAX + 1] = {};
  if (gethostname(name, sizeof(name) - 1) != 0) return ErrnoError(errno, "get hostname");
  oci::UseHostNamespace(oci::ObjectOf(spec, "linux"), "network");
  for (const char* file : {"/etc/hosts", "/etc/resolv.conf"})
    oci::ArrayOf(spec, "mounts").push_back(oci::MountEntry(file, "bind", file, {"rbind", "ro"}));
  Json& process = oci::ObjectOf(spec, "process");
  std::vector<std::string> env = oci::Strings(process, "env");
  oci::MergeEnv(env, {StrCat("HOSTNAME=", name)});
  process["env"] = env;
  return Ok();
}

Status CheckCapabilities(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!name.starts_with("CAP_"))
      return InvalidArgumentError("capabilities must be specified with 'CAP_' prefix");
  }
  return Ok();
}

Status ApplyRights(const Values& values, Json& spec) {
  Json& process = oci::ObjectOf(spec, "process");
  TRY(CheckCapabilities(values.List("cap-add")));
  TRY(CheckCapabilities(values.List("cap-drop")));
  if (values.Has("cap-add")) oci::AddCapabilities(process, values.List("cap-add"));
  if (values.Has("cap-drop")) oci::DropCapabilities(process, values.List("cap-drop"));
  const std::string seccomp = values.Text("seccomp-profile");
  if (!seccomp.empty() && !values.Bool("seccomp"))
    return InvalidArgumentError("seccomp must be set to true, if using a custom seccomp-profile");
  Json& linux = oci::ObjectOf(spec, "linux");
  if (!seccomp.empty()) {
    const std::string text =
        TRY(ReadFileAt(seccomp, kMaxDocument)
                .Context(StrCat("cannot load seccomp profile ", Quoted(seccomp))));
    Json profile = TRY(oci::ParseObject(text, StrCat("seccomp profile ", seccomp)));
    linux["seccomp"] = std::move(profile);
  } else if (values.Bool("seccomp")) {
    linux["seccomp"] = oci::DefaultSeccompProfile(
        oci::Strings(oci::ObjectOf(process, "capabilities"), "bounding"));
  }
  const std::string own = values.Text("apparmor-default-profile");
  const std::string profile = values.Text("apparmor-profile");
  if (!own.empty() && !profile.empty())
    return InvalidArgumentError("apparmor-profile conflicts with apparmor-default-profile");
  if (!own.empty()) TRY(oci::EnsureAppArmorProfile(own));
  if (!own.empty() || !profile.empty()) process["apparmorProfile"] = own.empty() ? profile : own;
  if (values.Bool("allow-new-privs")) process.erase("noNewPrivileges");
  return Ok();
}

// What only `run` has; absent flags mean nothing.
Status ApplyRunLimits(const Values& values, Json& spec) {
  if (!values.Declared("cpus")) return Ok();
  Json& linux = oci::ObjectOf(spec, "linux");
  Json& resources = oci::ObjectOf(linux, "resources");
  if (values.Float("cpus") > 0) {
    oci::SetCpuQuota(
        linux, static_cast<int64_t>(values.Float("cpus") * static_cast<double>(oci::kCpuPeriodUs)),
        oci::kCpuPeriodUs);
  }
  if (values.Int("cpu-shares") > 0)
    oci::ObjectOf(resources, "cpu")["shares"] = values.Int("cpu-shares");
  if (const std::string cpus = values.Text("cpuset-cpus"); !cpus.empty())
    oci::ObjectOf(resources, "cpu")["cpus"] = cpus;
  if (const std::string mems = values.Text("cpuset-mems"); !mems.empty())
    oci::ObjectOf(resources, "cpu")["mems"] = mems;
  if (const std::string limit = values.Text("rlimit-nofile"); !limit.empty())
    TRY(oci::SetOpenFileLimit(oci::ObjectOf(spec, "process"), limit));
  if (values.Has("cgroup")) {
    if (values.Text("cgroup").empty()) {
      linux.erase("cgroupsPath");
    } else {
      linux["cgroupsPath"] = values.Text("cgroup");
    }
  }
  return Ok();
}

Status ApplyBlockIo(const Values& values, Json& linux) {
  oci::BlockIoClasses classes;
  if (const std::string file = values.Text("blockio-config-file"); !file.empty()) {
    classes = TRY(oci::BlockIoClasses::Load(file).Context("blockio-config-file error"));
    for (const std::string& warning : classes.warnings()) log::Warn(warning);
  }
  const std::string name = values.Text("blockio-class");
  if (name.empty()) return Ok();
  Json block = TRY(classes.Find(name).Context("blockio-class error"));
  oci::ObjectOf(linux, "resources")["blockIO"] = std::move(block);
  return Ok();
}

Status ApplyLimits(const Values& values, Json& spec) {
  Json& linux = oci::ObjectOf(spec, "linux");
  const int64_t quota = values.Int("cpu-quota");
  const int64_t period = values.Int("cpu-period");
  if (quota != -1 || period != 0) {
    if (values.Declared("cpus") && values.Float("cpus") > 0)
      return InvalidArgumentError("cpus and quota/period should be used separately");
    oci::SetCpuQuota(linux, quota, static_cast<uint64_t>(period));
  }
  TRY(ApplyRunLimits(values, spec));
  if (const int64_t memory = values.Int("memory-limit"); memory != 0)
    oci::SetMemoryLimit(linux, memory);
  if (const std::string rdt = values.Text("rdt-class"); !rdt.empty())
    linux["intelRdt"] = {{"closID", rdt}};
  TRY(ApplyBlockIo(values, linux));
  return Ok();
}

Status ApplyNamespaces(const Values& values, const SpecInputs& inputs, Json& spec) {
  Json& linux = oci::ObjectOf(spec, "linux");
  for (const std::string& text : values.List("with-ns")) {
    const size_t colon = text.find(':');
    if (colon == std::string::npos)
      return InvalidArgumentError(
          "joining a Linux namespace using --with-ns requires the format 'nstype:path'");
    const std::string type = text.substr(0, colon);
    bool known = false;
    for (const char* name : {"cgroup", "ipc", "mount", "network", "pid", "user", "uts"})
      known |= type == name;
    if (!known)
      return InvalidArgumentError("the Linux namespace type specified in --with-ns is not valid: ",
                                  type);
    oci::JoinNamespace(linux, type, text.substr(colon + 1));
  }
  if (!inputs.uids.empty()) oci::SetUserNamespace(linux, inputs.uids, inputs.gids);
  return Ok();
}

// Paths of this machine first, then devices by CDI name.
Status ApplyDevices(const Values& values, Json& spec) {
  std::vector<std::string> names;
  for (const std::string& device : values.List("device")) {
    if (oci::IsCdiName(device)) {
      names.push_back(device);
    } else {
      TRY(oci::AddDevice(oci::ObjectOf(spec, "linux"), device));
    }
  }
  if (names.empty()) return Ok();
  const oci::CdiRegistry registry = oci::CdiRegistry::Load(oci::CdiRegistry::DefaultDirs());
  for (const std::string& problem : registry.problems()) log::Warn(StrCat("CDI: ", problem));
  return registry.Inject(names, spec).Context("CDI device injection failed");
}

Status ApplyAnnotations(const Values& values, Json& spec) {
  for (const std::string& text : values.List("annotation")) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos)
      return InvalidArgumentError("invalid key=value format annotation: ", text);
    oci::ObjectOf(spec, "annotations")[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const auto& [key, value] : FlagLabels(values, "label"))
    oci::ObjectOf(spec, "annotations")[key] = value;
  return Ok();
}

}  // namespace

Result<Json> SpecOf(Session& session, const Values& values, const SpecInputs& inputs) {
  if (!values.List("gpus").empty()) return UnimplementedError("--gpus: not in this build");
  if (values.Declared("cni") && values.Bool("cni"))
    return UnimplementedError("--cni: not in this build");
  Json spec = oci::DefaultSpec(session.ns().str(), inputs.id);
  Json& process = oci::ObjectOf(spec, "process");
  Json& rules = oci::ArrayOf(oci::ObjectOf(oci::ObjectOf(spec, "linux"), "resources"), "devices");
  for (Json& rule : oci::DefaultDeviceRules()) rules.push_back(std::move(rule));
  TRY(ApplyGiven(values, spec));
  if (inputs.image_config.empty()) {
    spec["root"]["path"] = inputs.rootfs;
  } else {
    TRY(oci::ApplyImage(process, inputs.image_config, inputs.args, inputs.with_root));
  }
  if (values.Bool("read-only")) spec["root"]["readonly"] = true;
  TRY(ApplyProcess(values, inputs, process));
  TRY(ApplyPrivileged(values, spec));
  TRY(ApplyHostNetwork(values, spec));
  TRY(ApplyRights(values, spec));
  TRY(ApplyLimits(values, spec));
  TRY(ApplyNamespaces(values, inputs, spec));
  TRY(ApplyDevices(values, spec));
  if (const std::string how = values.Text("rootfs-propagation"); !how.empty())
    spec["linux"]["rootfsPropagation"] = how;
  if (const std::string name = values.Text("hostname"); !name.empty()) spec["hostname"] = name;
  TRY(ApplyAnnotations(values, spec));
  return spec;
}

Result<Json> SpecFromFile(const Values& values) {
  const std::string path = values.Text("config");
  const std::string text =
      TRY(ReadFileAt(path, kMaxDocument).Context("cannot load spec config file"));
  Json spec = TRY(oci::ParseObject(text, path));
  TRY(ApplyAnnotations(values, spec));
  return spec;
}

model::Labels FlagLabels(const Values& values, const char* flag) {
  std::vector<std::string> words = values.List(flag);
  for (std::string& word : words) {
    if (word.find('=') == std::string::npos) word += "=true";
  }
  return ParseLabels(words);
}

Result<oci::IdMaps> IdMapsOf(const Values& values, const char* flag) {
  oci::IdMaps maps;
  if (!values.Declared(flag)) return maps;
  for (const std::string& text : values.List(flag)) {
    const Result<oci::IdMaps> more = os::ParseIdMap(text);
    if (!more.ok())
      return UnknownError("user namespace mappings require the format `container-id:host-id:size`");
    maps.insert(maps.end(), more->begin(), more->end());
  }
  return maps;
}

oci::WithRoot RootOfMounts(std::vector<model::Mount> mounts) {
  return [mounts = std::move(mounts)](const std::function<Status(const Dir& root)>& body) {
    return os::WithReadOnlyTempMount(kTempDir, mounts, [&](const std::string& path) -> Status {
      const Dir root = TRY(Dir::Open(path));
      return body(root);
    });
  };
}

Result<oci::WithRoot> RootOf(Session& session, const metadata::Container& container) {
  if (!container.snapshot_key.empty()) {
    const std::unique_ptr<snapshot::Snapshotter> snapshots =
        TRY(session.stores().Snapshots(session.scope(), container.snapshotter));
    std::vector<model::Mount> mounts = TRY(snapshots->Mounts(container.snapshot_key));
    return RootOfMounts(std::move(mounts));
  }
  const Json spec = TRY(oci::ParseObject(
      container.spec.has_value() ? std::string_view(container.spec->value) : "", "container spec"));
  const auto root = spec.find("root");
  std::string path = root != spec.end() && root->is_object() ? oci::String(*root, "path") : "";
  if (path.empty() || path[0] != '/')
    return FailedPreconditionError("container ", container.id.str(),
                                   ": has no root filesystem of its own");
  return oci::WithRoot([path](const std::function<Status(const Dir& root)>& body) -> Status {
    const Dir dir = TRY(Dir::Open(path));
    return body(dir);
  });
}

}  // namespace corten::cli
