// Version, plugins, info, deprecations: what the daemon says of itself.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "api/values.h"
#include "base/build_version.h"
#include "base/clock.h"
#include "cli/container_flags.h"
#include "cli/container_making.h"
#include "cli/message_json.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "containerd/runc/v1/options.pb.h"
#include "containerd/services/introspection/v1/introspection.grpc.pb.h"
#include "containerd/services/version/v1/version.grpc.pb.h"
#include "containerd/types/introspection.pb.h"

namespace corten::cli {

namespace {

namespace introspection = containerd::services::introspection::v1;

Result<introspection::ServerResponse> AskServer(Session& session) {
  const auto stub = introspection::Introspection::NewStub(session.connection()->channel());
  grpc::ClientContext context;
  session.connection()->Prepare(&context, {});
  introspection::ServerResponse response;
  TRY(client::FromGrpc(stub->Server(&context, google::protobuf::Empty(), &response)));
  return response;
}

Result<int> Version(const Values& values) {
  PrintLine("Client:");
  PrintLine(StrCat("  Version:  ", BuildVersion()));
  PrintLine(StrCat("  Revision: ", BuildRevision()));
  PrintLine("  Go version: none");  // a line that scripts may count on
  PrintLine("");
  TRY(FlushOutput());
  const std::unique_ptr<Session> opened = TRY(Session::Open(values));
  Session& session = *opened;
  const auto stub =
      containerd::services::version::v1::Version::NewStub(session.connection()->channel());
  grpc::ClientContext context;
  session.connection()->Prepare(&context, {});
  containerd::services::version::v1::VersionResponse response;
  TRY(client::FromGrpc(stub->Version(&context, google::protobuf::Empty(), &response)));
  const introspection::ServerResponse server = TRY(AskServer(session));
  if (response.version() != BuildVersion()) (void)fputs("WARNING: version mismatch\n", stderr);
  if (response.revision() != BuildRevision()) (void)fputs("WARNING: revision mismatch\n", stderr);
  PrintLine("Server:");
  PrintLine(StrCat("  Version:  ", response.version()));
  PrintLine(StrCat("  Revision: ", response.revision()));
  PrintLine(StrCat("  UUID: ", server.uuid()));
  return 0;
}

std::string PlatformText(const introspection::Plugin& plugin) {
  std::string out;
  for (const auto& platform : plugin.platforms())
    out += StrCat(out.empty() ? "" : ",", model::FormatPlatform(api::FromProto(platform)));
  return out.empty() ? "-" : out;
}

void PrintDetails(const introspection::Plugin& plugin) {
  Table table(kWide);
  const auto row = [&](std::vector<std::string> cells) {
    table.Row(std::move(cells), /*trailing=*/false);
  };
  row({"Type:", StrCat(" ", plugin.type())});
  row({"ID:", StrCat(" ", plugin.id())});
  if (plugin.requires__size() > 0) row({"Requires:", ""});
  for (const std::string& type : plugin.requires_()) row({"", StrCat(" ", type)});
  if (plugin.platforms_size() > 0) row({"Platforms:", StrCat(" ", PlatformText(plugin))});
  if (plugin.exports_size() > 0) row({"Exports:", ""});
  for (const auto& [key, value] :
       std::map<std::string, std::string>(plugin.exports().begin(), plugin.exports().end())) {
    row({"", StrCat(" ", key), StrCat("  ", value)});
  }
  std::string capabilities;
  for (const std::string& capability : plugin.capabilities())
    capabilities += StrCat(capabilities.empty() ? "" : ",", capability);
  if (!capabilities.empty()) row({"Capabilities:", StrCat(" ", capabilities)});
  if (plugin.has_init_err()) {
    row({"Error:", ""});
    row({"", " Code:", StrCat("  ", plugin.init_err().code())});
    row({"", " Message:", StrCat("  ", plugin.init_err().message())});
  }
  table.Print();
}

Result<int> Plugins(Session& session, const Values& values) {
  const auto stub = introspection::Introspection::NewStub(session.connection()->channel());
  grpc::ClientContext context;
  session.connection()->Prepare(&context, {});
  introspection::PluginsRequest request;
  for (const std::string& filter : values.args) request.add_filters(filter);
  introspection::PluginsResponse response;
  TRY(client::FromGrpc(stub->Plugins(&context, request, &response)));
  Table table(kWide);
  table.Row({"TYPE", "ID", "PLATFORMS", "STATUS"});
  for (const introspection::Plugin& plugin : response.plugins()) {
    if (values.Bool("quiet")) {
      PrintLine(plugin.id());
    } else if (values.Bool("detailed")) {
      PrintDetails(plugin);
    } else {
      const std::string& why = plugin.init_err().message();
      const bool skipped = why.ends_with("skip plugin");
      table.Row({plugin.type(), plugin.id(), PlatformText(plugin),
                 !plugin.has_init_err() ? "ok"
                 : skipped              ? "skip"
                                        : "error"});
    }
  }
  if (!values.Bool("quiet") && !values.Bool("detailed")) table.Print();
  return 0;
}

// What the daemon learned from the runtime, its options and features as JSON where they are known.
nlohmann::ordered_json RuntimeJson(const containerd::types::RuntimeInfo& info) {
  nlohmann::ordered_json out;
  out["Name"] = info.name();
  out["Version"] = {{"Version", info.version().version()}, {"Revision", info.version().revision()}};
  for (const auto& [name, any] :
       {std::pair("Options", &info.options()), std::pair("Features", &info.features())}) {
    if (any->type_url().empty()) {
      out[name] = nullptr;
      continue;
    }
    containerd::runc::v1::Options options;
    nlohmann::ordered_json value = nlohmann::ordered_json::parse(any->value(), nullptr, false);
    if (any->type_url().ends_with(options.GetTypeName()) && options.ParseFromString(any->value()))
      value = MessageTree(options);
    out[name] = value.is_discarded() ? nlohmann::ordered_json(nullptr) : value;
  }
  out["Annotations"] = info.annotations_size() == 0
                           ? nlohmann::ordered_json(nullptr)
                           : nlohmann::ordered_json(std::map<std::string, std::string>(
                                 info.annotations().begin(), info.annotations().end()));
  return out;
}

Result<int> InspectRuntime(Session& session, const Values& values) {
  containerd::types::RuntimeRequest wanted;
  wanted.set_runtime_path(values.Text("runtime"));
  if (const std::optional<model::Any> options = RuntimeOptionsOf(values); options.has_value())
    api::ToProto(*options, wanted.mutable_options());
  introspection::PluginInfoRequest request;
  request.set_type("io.containerd.runtime.v2");
  request.set_id("task");
  request.mutable_options()->set_type_url(wanted.GetTypeName());
  request.mutable_options()->set_value(wanted.SerializeAsString());
  const auto stub = introspection::Introspection::NewStub(session.connection()->channel());
  grpc::ClientContext context;
  session.connection()->Prepare(&context, session.scope());
  introspection::PluginInfoResponse response;
  TRY(client::FromGrpc(stub->PluginInfo(&context, request, &response)));
  containerd::types::RuntimeInfo info;
  if (!info.ParseFromString(response.extra().value()))
    return InvalidArgumentError("runtime info: not understood");
  PrintLine(RuntimeJson(info).dump(4));
  return 0;
}

Result<int> Info(Session& session, const Values&) {
  const introspection::ServerResponse server = TRY(AskServer(session));
  nlohmann::ordered_json inner;
  inner["uuid"] = server.uuid();
  inner["pid"] = server.pid();
  inner["pidns"] = server.pidns();
  for (const auto& warning : server.deprecations()) {
    inner["deprecations"].push_back({{"id", warning.id()},
                                     {"message", warning.message()},
                                     {"last_occurrence",
                                      {{"seconds", warning.last_occurrence().seconds()},
                                       {"nanos", warning.last_occurrence().nanos()}}}});
  }
  const nlohmann::ordered_json out = {{"server", inner}};
  PrintLine(out.dump(4));
  return 0;
}

Result<int> Deprecations(Session& session, const Values& values) {
  const introspection::ServerResponse server = TRY(AskServer(session));
  if (server.deprecations_size() == 0) return 0;
  if (values.Text("format") == "json") {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& warning : server.deprecations())
      list.push_back({{"id", warning.id()}, {"message", warning.message()}});
    PrintLine(list.dump(4));
    return 0;
  }
  Table table(kWide);
  table.Row({"ID", "LAST OCCURRENCE", "MESSAGE"});
  for (const auto& warning : server.deprecations()) {
    table.Row(
        {warning.id(), FormatRfc3339(api::FromProto(warning.last_occurrence())), warning.message()},
        /*trailing=*/false);
  }
  table.Print();
  return 0;
}

}  // namespace

Action NotInThisBuild(std::string what) {
  return [what = std::move(what)](const Values&) -> Result<int> {
    return UnimplementedError(what, ": not in this build");
  };
}

Flag SnapshotterFlag() {
  return TextFlag({"snapshotter"}, "snapshotter name. Empty value stands for the default value.",
                  "", "CONTAINERD_SNAPSHOTTER");
}

Command VersionCommand() {
  return {{"version"}, "print the client and server versions", "", "", {}, {}, &Version};
}
Command InfoCommand() {
  return {{"info"}, "print the server info", "", "", {}, {}, Connected(&Info)};
}

Command DeprecationsCommand() {
  Command group;
  group.names = {"deprecations"};
  group.commands = {
      {{"list"},
       "print warnings for deprecations",
       "[flags]",
       "",
       {TextFlag({"format"}, "output format to use (Examples: 'default', 'json')", "default")},
       {},
       Connected(&Deprecations)}};
  return group;
}

Command PluginsCommand() {
  Command group;
  group.names = {"plugins", "plugin"};
  group.summary = "provides information about containerd plugins";
  group.commands = {{{"list", "ls"},
                     "lists containerd plugins",
                     "[flags]",
                     "",
                     {BoolFlag({"quiet", "q"}, "print only the plugin ids"),
                      BoolFlag({"detailed", "d"}, "print detailed information about each plugin")},
                     {},
                     Connected(&Plugins)},
                    {{"inspect-runtime"},
                     "display runtime info",
                     "[flags]",
                     "",
                     RuntimeFlags(),
                     {},
                     Connected(&InspectRuntime)}};
  return group;
}

}  // namespace corten::cli
