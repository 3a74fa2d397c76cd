#include "daemon/commands.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/fd.h"
#include "base/log.h"
#include "containerd/services/events/v1/events.grpc.pb.h"
#include "daemon/builtins.h"
#include "daemon/daemon.h"
#include "daemon/oci_hook.h"

namespace corten::daemon {

namespace {

constexpr size_t kMaxEvent = size_t{4} << 20;
constexpr std::chrono::seconds kPublishDeadline(10);

int Complain(const Error& error) {
  (void)fprintf(stderr, "cortend: %s\n", error.text().c_str());
  return 1;
}

void PrintWarnings(const Config& config) {
  for (const ConfigWarning& warning : config.warnings) {
    std::string text = warning.text;
    for (const auto& [key, value] : warning.fields) text += StrCat(" ", key, "=", Quoted(value));
    log::Warn(text);
  }
}

// "good: a.toml, b.toml" names what was read, so that nobody takes another file's check for his.
int TellCheck(const Config& config) {
  std::string files;
  for (const std::string& file : config.files) files += StrCat(files.empty() ? "" : ", ", file);
  if (files.empty()) files = StrCat("no ", kDefaultConfigPath, ", the defaults hold");
  const bool good = std::all_of(config.warnings.begin(), config.warnings.end(),
                                [](const ConfigWarning& warning) { return warning.effect; });
  (void)printf("configuration %s: %s\n", good ? "is good" : "has parts without effect, see above",
               files.c_str());
  return good ? 0 : 1;
}

// The command of options.command, whose first word is `config`. `config check` may name the file.
int ConfigCommand(Options options) {
  const std::vector<std::string>& words = options.command;
  const std::string verb = words.size() > 1 ? words[1] : "";
  if (verb != "default" && verb != "dump" && verb != "migrate" && verb != "check") {
    (void)fprintf(stderr, "cortend config: want default, dump, migrate or check\n");
    return verb.empty() ? 0 : 3;
  }
  if (verb == "check" && words.size() == 3 && !options.config.has_value()) {
    options.config = words[2];
  } else if (words.size() > 2) {
    return Complain(InvalidArgumentError("config ", verb, ": unexpected argument ",
                                         Quoted(words.back()),
                                         "; name the file with --config FILE"));
  }
  Environment nothing;
  std::vector<plugin::Descriptor> descriptors = Builtins(nothing);
  if (verb == "default") {
    Result<Config> config = LoadConfig("/nonexistent", /*may_be_missing=*/true);
    (void)fputs(PrintConfig(*config, descriptors).c_str(), stdout);
    return 0;
  }
  Result<Settings> settings = LoadSettings(options);
  if (!settings.ok()) return Complain(settings.error());
  const Status applied = ApplyPluginTables(settings->config, descriptors);
  if (!applied.ok()) return Complain(applied.error());
  PrintWarnings(settings->config);
  if (verb == "check") return TellCheck(settings->config);
  (void)fputs(PrintConfig(settings->config, descriptors).c_str(), stdout);
  return 0;
}

Result<std::string> FlagValue(const std::vector<std::string>& words, const std::string& name) {
  for (size_t i = 1; i < words.size(); ++i) {
    for (const std::string& form : {StrCat("--", name), StrCat("-", name)}) {
      if (words[i] == form && i + 1 < words.size()) return words[i + 1];
      if (words[i].starts_with(form + "=")) return words[i].substr(form.size() + 1);
    }
  }
  return NotFoundError("flag --", name);
}

// How shims of older generations hand in their events.
Status Publish(const Options& options) {
  const Result<std::string> topic = FlagValue(options.command, "topic");
  if (!topic.ok() || topic->empty()) return InvalidArgumentError("topic required to publish event");
  const Result<std::string> ns = FlagValue(options.command, "namespace");
  const std::string payload = TRY(ReadAll(FdRef(0), kMaxEvent, "standard input"));
  containerd::services::events::v1::PublishRequest request;
  request.set_topic(*topic);
  if (!request.mutable_event()->ParseFromString(payload))
    return InvalidArgumentError("standard input: not a google.protobuf.Any");
  const std::string address =
      options.address.empty() ? "/run/containerd/containerd.sock" : options.address;
  grpc::ChannelArguments arguments;
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  const auto channel = grpc::CreateCustomChannel(StrCat("unix:", address),
                                                 grpc::InsecureChannelCredentials(), arguments);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPublishDeadline);
  if (ns.ok()) context.AddMetadata("containerd-namespace", *ns);
  google::protobuf::Empty nothing;
  const grpc::Status sent = containerd::services::events::v1::Events::NewStub(channel)->Publish(
      &context, request, &nothing);
  if (!sent.ok())
    return Error(static_cast<Code>(sent.error_code()),
                 StrCat("publish to ", address, ": ", sent.error_message()));
  return Ok();
}

}  // namespace

int RunCommand(const Options& options) {
  const std::vector<std::string>& words = options.command;
  if (words[0] == "config") return ConfigCommand(options);
  if (words[0] == "publish") {
    const Status published = Publish(options);
    return published.ok() ? 0 : Complain(published.error());
  }
  if (words[0] == "oci-hook") return Complain(BecomeHook({words.begin() + 1, words.end()}));
  (void)fprintf(stderr, "No help topic for '%s'\n", words[0].c_str());
  return 3;
}

}  // namespace corten::daemon
