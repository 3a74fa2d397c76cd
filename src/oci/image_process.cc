#include "oci/image_process.h"

#include <nlohmann/json.hpp>

#include "oci/environment.h"

namespace corten::oci {

namespace {
constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

Status ApplyImage(Json& process, std::string_view config, const std::vector<std::string>& args,
                  const WithRoot& with_root) {
  const Json parsed = TRY(ParseObject(config, "image config"));
  const auto inner = parsed.find("config");
  const Json image = inner != parsed.end() && inner->is_object() ? *inner : Json::object();
  std::vector<std::string> env = Strings(image, "Env");
  if (env.empty()) env = {kPath};
  MergeEnv(env, Strings(process, "env"));
  process["env"] = env;
  std::vector<std::string> all = Strings(image, "Entrypoint");
  const std::vector<std::string> command = args.empty() ? Strings(image, "Cmd") : args;
  all.insert(all.end(), command.begin(), command.end());
  if (all.empty()) return InvalidArgumentError("no arguments specified");
  process["args"] = all;
  const std::string cwd = String(image, "WorkingDir");
  process["cwd"] = cwd.empty() ? std::string("/") : cwd;
  const std::string user = String(image, "User");
  if (user.empty()) return SetAdditionalGroups(process, "root", with_root);
  TRY(SetUser(process, user, with_root));
  return SetAdditionalGroups(process, StrCat(process["user"]["uid"].get<uint32_t>()), with_root);
}

}  // namespace corten::oci
