#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/verbs.h"

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

// An Any of JSON as its value, another one as type and bytes in base64.
Json AnyJson(const model::Any& any) {
  Json value = Json::parse(any.value, nullptr, /*allow_exceptions=*/false);
  if (!value.is_discarded()) return value;
  static constexpr char kLetters[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < any.value.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j)
      bits = bits << 8 |
             (i + j < any.value.size() ? static_cast<unsigned char>(any.value[i + j]) : 0u);
    for (size_t j = 0; j < 4; ++j)
      text.push_back(i + j > any.value.size() ? '=' : kLetters[(bits >> (18 - 6 * j)) & 63]);
  }
  return Json{{"type_url", any.type_url}, {"value", text}};
}

Result<int> Info(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return InvalidArgumentError("container id must be provided");
  const metadata::Container container =
      TRY(session.containers().Get(session.ns(), model::ContainerId(values.Arg(0))));
  const Json spec = container.spec.has_value() ? AnyJson(*container.spec) : Json();
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
  Json extensions;
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
       {},
       {},
       NotInThisBuild("containers create")},
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
