#include "oci/spec.h"

#include <nlohmann/json.hpp>

#include "oci/capabilities.h"
#include "oci/default_spec.h"
#include "oci/environment.h"
#include "oci/json.h"
#include "oci/limits.h"
#include "oci/mounts.h"
#include "oci/seccomp.h"

namespace corten::oci {

namespace {

constexpr const char* kVersion = "1.0.2";
constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

void SetConsoleSize(Json& process, const std::optional<ConsoleSize>& size) {
  process.erase("consoleSize");
  if (size.has_value()) process["consoleSize"] = {{"height", size->rows}, {"width", size->columns}};
}

Status ApplyUser(const SpecRequest& request, const Json& image, Json& process) {
  std::string user = request.user;
  if (user.empty()) user = String(image, "User");
  if (user.empty()) user = "0:0";
  if (!request.with_root) {
    process["user"] = TRY(ParseUser(user));
    return Ok();
  }
  TRY(SetUser(process, user, request.with_root).Context(StrCat("user ", Quoted(user))));
  return SetAdditionalGroups(process, StrCat(process["user"]["uid"].get<uint32_t>()),
                             request.with_root);
}

Result<std::vector<std::string>> ArgsOf(const SpecRequest& request, const Json& image) {
  std::vector<std::string> args = Strings(image, "Entrypoint");
  std::vector<std::string> command = Strings(image, "Cmd");
  if (request.entrypoint.has_value()) {
    args.clear();
    command.clear();
    if (!request.entrypoint->empty()) args.push_back(*request.entrypoint);
  }
  if (!request.args.empty()) command = request.args;
  args.insert(args.end(), command.begin(), command.end());
  if (args.empty())
    return InvalidArgumentError("no command: neither the image nor the call says what to run");
  return args;
}

Status ApplyProcess(const SpecRequest& request, const Json& image, Json& process) {
  process["terminal"] = request.terminal;
  SetConsoleSize(process, request.console_size);
  TRY(ApplyUser(request, image, process));
  const std::vector<std::string> args = TRY(ArgsOf(request, image));
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
  return Ok();
}

Status ApplySeccomp(const SpecRequest& request, Json& spec) {
  if (request.privileged || !request.seccomp) return Ok();
  if (!request.seccomp_profile.empty()) {
    spec["linux"]["seccomp"] = TRY(ParseObject(request.seccomp_profile, "seccomp profile"));
    return Ok();
  }
  spec["linux"]["seccomp"] =
      DefaultSeccompProfile(Strings(spec["process"]["capabilities"], "bounding"));
  return Ok();
}

Status ApplyRights(const SpecRequest& request, Json& spec) {
  if (request.privileged) {
    const std::vector<std::string> all = TRY(CurrentCapabilities());
    MakePrivileged(spec, all);
    spec["process"]["noNewPrivileges"] = false;
    spec["linux"]["resources"]["devices"] = Json::array({{{"allow", true}, {"access", "rwm"}}});
  }
  Json& process = spec["process"];
  const std::vector<std::string> held = TRY(ChangedCapabilities(
      Strings(process["capabilities"], "bounding"), request.cap_add, request.cap_drop));
  SetCapabilities(process, held);
  return ApplySeccomp(request, spec);
}

}  // namespace

Result<std::string> MakeSpec(const SpecRequest& request) {
  Json image = Json::object();
  if (!request.image_config.empty()) {
    const Json parsed = TRY(ParseObject(request.image_config, "image config"));
    if (const auto config = parsed.find("config"); config != parsed.end() && config->is_object())
      image = *config;
  }
  Json spec = DefaultSpec(request.ns, request.id);
  spec["ociVersion"] = kVersion;
  TRY(ApplyProcess(request, image, spec["process"]));
  spec["root"]["readonly"] = request.read_only;
  spec["hostname"] = request.hostname.empty() ? request.id : request.hostname;
  TRY(ApplyRights(request, spec));
  for (const BindMount& mount : request.mounts) {
    spec["mounts"].push_back(
        MountEntry(mount.target, "bind", mount.source, {"rbind", mount.read_only ? "ro" : "rw"}));
  }
  Json& linux = spec["linux"];
  if (request.host_network) UseHostNamespace(linux, "network");
  if (request.memory_bytes.has_value()) SetMemoryLimit(linux, *request.memory_bytes);
  if (request.cpu_quota_us.has_value()) SetCpuQuota(linux, *request.cpu_quota_us, kCpuPeriodUs);
  for (const auto& [key, value] : request.annotations) spec["annotations"][key] = value;
  return Text(spec);
}

Result<std::string> MakeExecProcess(std::string_view spec, const std::vector<std::string>& args,
                                    const std::vector<std::string>& env, bool terminal,
                                    const std::string& cwd,
                                    std::optional<ConsoleSize> console_size) {
  if (args.empty()) return InvalidArgumentError("no command to execute");
  const Json parsed = TRY(ParseObject(spec, "container spec"));
  if (!parsed.contains("process") || !parsed["process"].is_object())
    return InvalidArgumentError("container spec: has no process");
  Json process = parsed["process"];
  process["args"] = args;
  process["terminal"] = terminal;
  SetConsoleSize(process, console_size);
  std::vector<std::string> all = Strings(process, "env");
  MergeEnv(all, env);
  process["env"] = all;
  if (!cwd.empty()) process["cwd"] = cwd;
  return Text(process);
}

}  // namespace corten::oci
