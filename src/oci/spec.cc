#include "oci/spec.h"

#include <nlohmann/json.hpp>

#include "oci/capabilities.h"
#include "oci/default_spec.h"
#include "oci/environment.h"
#include "oci/json.h"
#include "oci/limits.h"
#include "oci/mounts.h"

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

Status ApplyProcess(const SpecRequest& request, const Json& image, Json& process) {
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
  return Ok();
}

Status ApplyRights(const SpecRequest& request, Json& spec) {
  if (!request.privileged) return Ok();
  const std::vector<std::string> all = TRY(CurrentCapabilities());
  MakePrivileged(spec, all);
  spec["process"]["noNewPrivileges"] = false;
  spec["linux"]["resources"]["devices"] = Json::array({{{"allow", true}, {"access", "rwm"}}});
  return Ok();
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
                                    const std::string& cwd) {
  if (args.empty()) return InvalidArgumentError("no command to execute");
  const Json parsed = TRY(ParseObject(spec, "container spec"));
  if (!parsed.contains("process") || !parsed["process"].is_object())
    return InvalidArgumentError("container spec: has no process");
  Json process = parsed["process"];
  process["args"] = args;
  process["terminal"] = terminal;
  std::vector<std::string> all = Strings(process, "env");
  MergeEnv(all, env);
  process["env"] = all;
  if (!cwd.empty()) process["cwd"] = cwd;
  return Text(process);
}

}  // namespace corten::oci
