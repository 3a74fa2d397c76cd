// corten version, info, events: the daemon, and what it tells.
#include <map>
#include <nlohmann/json.hpp>

#include "api/values.h"
#include "base/build_version.h"
#include "base/clock.h"
#include "cli/corten_verbs.h"
#include "cli/event_json.h"
#include "cli/event_stream.h"
#include "cli/output.h"
#include "cli/table.h"
#include "client/tasks.h"
#include "containerd/services/introspection/v1/introspection.grpc.pb.h"
#include "containerd/services/version/v1/version.grpc.pb.h"

namespace corten::cli {

namespace {

using Json = nlohmann::ordered_json;
namespace introspection = containerd::services::introspection::v1;

struct Daemon {
  std::string version;
  std::string revision;
  introspection::ServerResponse self;
};

Result<Daemon> AskDaemon(Session& session) {
  Daemon out;
  const auto version =
      containerd::services::version::v1::Version::NewStub(session.connection()->channel());
  grpc::ClientContext first;
  session.connection()->Prepare(&first, {});
  containerd::services::version::v1::VersionResponse answer;
  TRY(client::FromGrpc(version->Version(&first, google::protobuf::Empty(), &answer)));
  out.version = answer.version();
  out.revision = answer.revision();
  const auto self = introspection::Introspection::NewStub(session.connection()->channel());
  grpc::ClientContext second;
  session.connection()->Prepare(&second, {});
  TRY(client::FromGrpc(self->Server(&second, google::protobuf::Empty(), &out.self)));
  return out;
}

Result<int> Version(const Values& values) {
  const bool json = TRY(WantsJson(values));
  if (!json) {
    PrintLine("corten " CORTEN_VERSION);
    PrintLine(StrCat("  revision  ", BuildRevision()));
    TRY(FlushOutput());
  }
  const std::unique_ptr<Session> session = TRY(Session::Open(values));
  const Daemon daemon = TRY(AskDaemon(*session));
  if (json) {
    const Json out = {{"client", {{"version", CORTEN_VERSION}, {"revision", BuildRevision()}}},
                      {"daemon",
                       {{"version", daemon.version},
                        {"revision", daemon.revision},
                        {"address", values.Text("address")}}}};
    PrintLine(out.dump(2));
    return 0;
  }
  PrintLine(StrCat("daemon ", daemon.version));
  PrintLine(StrCat("  revision  ", daemon.revision));
  PrintLine(StrCat("  address   ", values.Text("address")));
  return 0;
}

// Names of the snapshotters that work.
Result<std::vector<std::string>> Snapshotters(Session& session) {
  const auto stub = introspection::Introspection::NewStub(session.connection()->channel());
  grpc::ClientContext context;
  session.connection()->Prepare(&context, {});
  introspection::PluginsRequest request;
  request.add_filters("type==io.containerd.snapshotter.v1");
  introspection::PluginsResponse response;
  TRY(client::FromGrpc(stub->Plugins(&context, request, &response)));
  std::vector<std::string> out;
  for (const introspection::Plugin& plugin : response.plugins()) {
    if (!plugin.has_init_err()) out.push_back(plugin.id());
  }
  return out;
}

Result<int> Info(Session& session, const Values& values) {
  const bool json = TRY(WantsJson(values));
  const Daemon daemon = TRY(AskDaemon(session));
  const std::vector<std::string> snapshotters = TRY(Snapshotters(session));
  const std::vector<model::Namespace> namespaces = TRY(session.namespaces().List());
  const std::vector<metadata::Container> containers =
      TRY(session.containers().List(session.ns(), {}));
  const std::vector<metadata::Image> images = TRY(session.images().List(session.ns(), {}));
  const std::vector<client::TaskState> tasks =
      TRY(client::RemoteTasks(session.connection(), session.scope())->List());
  std::map<std::string, int> states;
  for (const client::TaskState& task : tasks) ++states[task.status];
  Json out;
  out["version"] = daemon.version;
  out["revision"] = daemon.revision;
  out["uuid"] = daemon.self.uuid();
  out["pid"] = daemon.self.pid();
  out["address"] = values.Text("address");
  out["snapshotters"] = snapshotters;
  out["namespaces"] = namespaces.size();
  out["namespace"] = session.ns().str();
  out["containers"] = containers.size();
  out["running"] = states["RUNNING"];
  out["paused"] = states["PAUSED"];
  out["images"] = images.size();
  out["deprecations"] = Json::array();
  for (const auto& warning : daemon.self.deprecations())
    out["deprecations"].push_back(warning.message());
  if (json) {
    PrintLine(out.dump(2));
    return 0;
  }
  Table table({1, 2, false});
  for (const auto& [name, value] : out.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_array()) {
      text.clear();
      for (const auto& entry : value)
        text += StrCat(text.empty() ? "" : ", ", entry.get<std::string>());
      if (text.empty()) text = "none";
    }
    table.Row({name, text}, /*trailing=*/false);
  }
  table.Print();
  return 0;
}

// "container=NAME", "image=NAME", "topic=BEGINNING" as the daemon's filters, which are OR-ed.
Result<std::vector<std::string>> EventFilters(const std::vector<std::string>& wishes,
                                              const std::string& where) {
  std::vector<std::string> out;
  for (const std::string& wish : wishes) {
    const size_t equals = wish.find('=');
    const std::string key = wish.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : wish.substr(equals + 1);
    if (value.empty())
      return InvalidArgumentError("filter ", Quoted(wish),
                                  ": want KEY=VALUE, such as container=web");
    const auto add = [&](const std::string& condition) {
      out.push_back(where.empty() ? condition : StrCat(where, ",", condition));
    };
    if (key == "container") {
      add(StrCat("event.container_id==", Quoted(value)));
      add(StrCat("topic~=\"^/containers/\",event.id==", Quoted(value)));
    } else if (key == "image") {
      add(StrCat("topic~=\"^/images/\",event.name==", Quoted(value)));
    } else if (key == "topic") {
      add(StrCat("topic~=", Quoted(StrCat("^/?", value))));
    } else {
      return InvalidArgumentError("filter ", Quoted(key),
                                  ": this build knows container, image and topic");
    }
  }
  if (out.empty() && !where.empty()) out.push_back(where);
  return out;
}

std::string EventLine(const Event& event, const Json& payload, bool with_namespace) {
  std::string out = FormatRfc3339({event.at.seconds, event.at.nanos / 1000000 * 1000000});
  if (with_namespace) out += StrCat("  ", event.ns);
  out += StrCat("  ", event.topic.starts_with("/") ? event.topic.substr(1) : event.topic);
  for (const auto& [name, value] : payload.items()) {
    if (value.is_structured()) continue;  // for -o json
    out += StrCat("  ", name, "=", value.is_string() ? value.get<std::string>() : value.dump());
  }
  return out;
}

Result<int> Events(Session& session, const Values& values) {
  const bool json = TRY(WantsJson(values));
  const bool all = values.Bool("all-namespaces");
  const std::string where = all ? "" : StrCat("namespace==", session.ns().str());
  const std::vector<std::string> filters = TRY(EventFilters(values.List("filter"), where));
  TRY(FollowEvents(session, filters, [&](const Event& event) -> Status {
    const Result<std::string> text = EventJson(event.payload);
    Json payload = text.ok() ? Json::parse(*text, nullptr, /*allow_exceptions=*/false)
                             : Json{{"type", event.payload.type_url}};
    if (json) {
      const Json line = {{"time", FormatRfc3339(event.at)},
                         {"namespace", event.ns},
                         {"topic", event.topic},
                         {"event", std::move(payload)}};
      PrintLine(line.dump());
    } else {
      PrintLine(EventLine(event, payload, all));
    }
    return FlushOutput();
  }));
  return 0;
}

}  // namespace

Command VersionVerb() {
  return {{"version"}, "tell the versions of client and daemon", "", "", {OutputFlag()}, {},
          &Version};
}

Command InfoVerb() {
  return {{"info"},        "tell what the daemon is and holds", "", "", {OutputFlag()}, {},
          Connected(&Info)};
}

Command EventsVerb() {
  return {{"events"},
          "follow what happens, from now on",
          "",
          "",
          {ListFlag({"filter", "f"}, "only these: container=NAME, image=NAME, topic=BEGINNING"),
           BoolFlag({"all-namespaces", "A"}, "of every namespace"), OutputFlag()},
          {},
          Connected(&Events)};
}

}  // namespace corten::cli
