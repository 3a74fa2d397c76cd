#include "daemon/oci_hook.h"

#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/dir.h"
#include "base/fd.h"

namespace corten::daemon {

namespace {

using nlohmann::json;

constexpr size_t kMaxState = size_t{1} << 20;
constexpr size_t kMaxSpec = size_t{16} << 20;

Result<json> ParseObject(std::string_view text, std::string_view what) {
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return InvalidArgumentError(what, ": not a JSON object");
  return parsed;
}

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string_view TrimmedView(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// What stands between {{ and }}.
Result<std::string> Evaluate(std::string_view call, const HookFacts& facts) {
  call = TrimmedView(call);
  if (call == "id") return facts.id;
  if (call == "bundle") return facts.bundle;
  if (call == "rootfs") return facts.rootfs;
  if (call == "pid") return facts.pid;
  if (call == "status") return facts.status;
  constexpr std::string_view kAnnotation = "annotation";
  if (call.starts_with(kAnnotation)) {
    const std::string_view key = TrimmedView(call.substr(kAnnotation.size()));
    const bool quoted = key.size() >= 2 && key.front() == key.back() &&
                        (key.front() == '"' || key.front() == '`') &&
                        key.find(key.front(), 1) == key.size() - 1 &&
                        key.find('\\') == std::string_view::npos;
    if (quoted) {
      const auto found = facts.annotations.find(std::string(key.substr(1, key.size() - 2)));
      return found == facts.annotations.end() ? std::string() : found->second;
    }
  }
  return InvalidArgumentError("template {{", call, "}}: want id, bundle, rootfs, pid, status or ",
                              "annotation \"KEY\"");
}

}  // namespace

Result<HookFacts> ReadHookFacts(std::string_view state_text) {
  const json state = TRY(ParseObject(state_text, "state on standard input"));
  HookFacts facts;
  facts.id = TextOf(state, "id");
  facts.bundle = TextOf(state, "bundle");
  facts.status = TextOf(state, "status");
  const auto pid = state.find("pid");
  facts.pid = StrCat(pid != state.end() && pid->is_number_integer() ? pid->get<int64_t>() : 0);
  const auto annotations = state.find("annotations");
  if (annotations != state.end() && annotations->is_object()) {
    for (const auto& [key, value] : annotations->items()) {
      if (value.is_string()) facts.annotations[key] = value.get<std::string>();
    }
  }
  const std::string spec_text = TRY(ReadFileAt(StrCat(facts.bundle, "/config.json"), kMaxSpec));
  const json spec = TRY(ParseObject(spec_text, StrCat(facts.bundle, "/config.json")));
  const auto root = spec.find("root");
  if (root != spec.end() && root->is_object()) facts.rootfs = TextOf(*root, "path");
  if (!facts.rootfs.empty() && facts.rootfs[0] != '/')
    facts.rootfs = StrCat(facts.bundle, "/", facts.rootfs);
  return facts;
}

Result<std::string> ExpandHookText(std::string_view text, const HookFacts& facts) {
  std::string out;
  while (true) {
    const size_t begin = text.find("{{");
    out += text.substr(0, begin);
    if (begin == std::string_view::npos) return out;
    const size_t end = text.find("}}", begin);
    if (end == std::string_view::npos)
      return InvalidArgumentError("template ", Quoted(text), ": {{ without }}");
    const std::string value = TRY(Evaluate(text.substr(begin + 2, end - begin - 2), facts));
    out += value;
    text.remove_prefix(end + 2);
  }
}

Error BecomeHook(const std::vector<std::string>& args) {
  if (args.empty()) return InvalidArgumentError("oci-hook: want a program and its arguments");
  Result<std::string> state = ReadAll(FdRef(0), kMaxState, "standard input");
  if (!state.ok()) return std::move(state).TakeError();
  Result<HookFacts> facts = ReadHookFacts(*state);
  if (!facts.ok()) return std::move(facts).TakeError();
  std::vector<std::string> words;
  size_t arguments = 0;
  const auto expand = [&](std::string_view text) -> Status {
    std::string expanded = TRY(ExpandHookText(text, *facts));
    words.push_back(std::move(expanded));
    return Ok();
  };
  for (const std::string& arg : args) {
    if (Status expanded = expand(arg); !expanded.ok()) return std::move(expanded).TakeError();
  }
  arguments = words.size();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (Status expanded = expand(*entry); !expanded.ok()) return std::move(expanded).TakeError();
  }
  std::vector<char*> argv;
  std::vector<char*> env;
  for (size_t i = 0; i < words.size(); ++i) (i < arguments ? argv : env).push_back(words[i].data());
  argv.push_back(nullptr);
  env.push_back(nullptr);
  (void)execve(argv[0], argv.data(), env.data());
  return ErrnoError(errno, "execute ", words[0]);
}

}  // namespace corten::daemon
