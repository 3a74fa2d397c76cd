#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/json_depth.h"
#include "base/log.h"
#include "cli/container_flags.h"
#include "cli/container_making.h"
#include "cli/session.h"
#include "cli/stdio.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "client/tasks.h"
#include "image/auth.h"
#include "oci/member_order.h"
#include "oci/spec.h"

namespace corten::cli {

namespace {

using Json = nlohmann::ordered_json;

Result<int> List(Session& session, const Values& values) {
  const std::vector<metadata::Container> containers =
      TRY(session.containers().List(session.ns(), values.args));
  Table table(kWide);
  table.Row({"CONTAINER", "IMAGE", "RUNTIME"});
  for (const metadata::Container& container : containers) {
    if (values.Bool("quiet")) {
      PrintLine(container.id.str());
    } else {
      table.Row({container.id.str(), container.image.empty() ? "-" : container.image,
                 container.runtime.name});
    }
  }
  if (!values.Bool("quiet")) table.Print();
  return 0;
}

// An Any of JSON as its value, another one as type and bytes in base64; what is empty is left out.
Json AnyJson(const model::Any& any) {
  if (!NestedTooDeep(any.value)) {
    Json value = Json::parse(any.value, nullptr, /*allow_exceptions=*/false);
    if (!value.is_discarded()) return value;
  }
  Json out = Json::object();
  if (!any.type_url.empty()) out["type_url"] = any.type_url;
  if (!any.value.empty()) out["value"] = image::Base64(any.value);
  return out;
}

Result<int> Info(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return InvalidArgumentError("container id must be provided");
  const metadata::Container container =
      TRY(session.containers().Get(session.ns(), model::ContainerId(values.Arg(0))));
  Json spec = container.spec.has_value() ? AnyJson(*container.spec) : Json();
  if (container.spec.has_value() && container.spec->type_url.ends_with(oci::kSpecType))
    oci::SetMembersInOrder(spec);
  if (values.Bool("spec")) {
    PrintLine(spec.dump(4));
    return 0;
  }
  Json out;
  out["ID"] = container.id.str();
  out["Labels"] = container.labels.empty() ? Json() : Json(container.labels);
  out["Image"] = container.image;
  out["Runtime"] = {
      {"Name", container.runtime.name},
      {"Options",
       container.runtime.options.has_value() ? AnyJson(*container.runtime.options) : Json()}};
  out["SnapshotKey"] = container.snapshot_key;
  out["Snapshotter"] = container.snapshotter;
  out["CreatedAt"] = FormatRfc3339(container.created_at);
  out["UpdatedAt"] = FormatRfc3339(container.updated_at);
  Json extensions = Json::object();
  for (const auto& [name, any] : container.extensions) extensions[name] = AnyJson(any);
  out["Extensions"] = extensions;
  out["SandboxID"] = container.sandbox.str();
  out["Spec"] = spec;
  PrintLine(out.dump(4));
  return 0;
}

Result<int> Label(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return InvalidArgumentError("container id must be provided");
  metadata::Container container;
  container.id = model::ContainerId(values.Arg(0));
  container.labels = ParseLabels(values.args, 1);
  metadata::FieldPaths paths;
  for (const auto& [key, value] : container.labels) paths.push_back(StrCat("labels.", key));
  const metadata::Container done =
      TRY(session.containers().Update(session.scope(), std::move(container), paths));
  PrintLine(LabelText(done.labels, ""));
  return 0;
}

// What a task's state lets one do with its container. A stopped task is deleted first.
Status DeleteOne(Session& session, const std::string& name, bool keep_snapshot) {
  const model::ContainerId id(name);
  const metadata::Container container = TRY(session.containers().Get(session.ns(), id));
  const std::unique_ptr<client::Tasks> tasks =
      client::RemoteTasks(session.connection(), session.scope());
  const Result<client::TaskState> state = tasks->Get(id);
  if (!state.ok()) {
    if (!state.error().Is(Code::kNotFound)) return state.error().Clone();
    return RemoveContainer(session, id, keep_snapshot);
  }
  if (state->status != "STOPPED" && state->status != "CREATED") {
    std::string word = state->status;
    for (char& c : word) c = static_cast<char>(c - 'A' + 'a');
    return UnknownError("cannot delete a non stopped container: {", word,
                        " 0 0001-01-01 00:00:00 +0000 UTC}");
  }
  TRY(tasks->Delete(id, {}));
  RemoveFifos(state->io);
  return RemoveContainer(session, id, keep_snapshot);
}

Result<int> Delete(Session& session, const Values& values) {
  if (values.args.empty())
    return InvalidArgumentError("must specify at least one container to delete");
  std::optional<Error> first;
  for (const std::string& name : values.args) {
    Status done = DeleteOne(session, name, values.Bool("keep-snapshot"));
    if (done.ok()) continue;
    log::Error(StrCat("failed to delete container ", Quoted(name)),
               {{"error", done.error().WireText()}});
    if (!first.has_value()) first = std::move(done).TakeError();
  }
  if (first.has_value()) return std::move(*first);
  return 0;
}

Result<int> Create(Session& session, const Values& values) {
  TRY(MakeContainer(session, values));
  return 0;
}

}  // namespace

Command ContainersCommand() {
  Command group;
  group.names = {"containers", "c", "container"};
  group.summary = "manage containers";
  group.commands = {
      {{"create"},
       "create container",
       "[flags] Image|RootFS CONTAINER [COMMAND] [ARG...]",
       "",
       ContainerFlags(),
       {},
       Connected(&Create)},
      {{"delete", "del", "remove", "rm"},
       "delete one or more existing containers",
       "[flags] CONTAINER [CONTAINER, ...]",
       "",
       {BoolFlag({"keep-snapshot"}, "do not clean up snapshot with container")},
       {},
       Connected(&Delete)},
      {{"info"},
       "get info about a container",
       "CONTAINER",
       "",
       {BoolFlag({"spec"}, "only display the spec")},
       {},
       Connected(&Info)},
      {{"list", "ls"},
       "list containers",
       "[flags] [<filter>, ...]",
       "",
       {BoolFlag({"quiet", "q"}, "print only the container id")},
       {},
       Connected(&List)},
      {{"label"},
       "set and clear labels for a container",
       "[flags] CONTAINER [<key>=<value>, ...]",
       "",
       {},
       {},
       Connected(&Label)},
      {{"checkpoint"},
       "checkpoint a container",
       "CONTAINER REF",
       "",
       {},
       {},
       NotInThisBuild("containers checkpoint")},
      {{"restore"},
       "restore a container from checkpoint",
       "CONTAINER REF",
       "",
       {},
       {},
       NotInThisBuild("containers restore")},
  };
  return group;
}

}  // namespace corten::cli
