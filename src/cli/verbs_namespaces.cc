#include "base/log.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/verbs.h"

namespace corten::cli {

namespace {

Result<int> Create(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return UnknownError("please specify a namespace");
  TRY(session.namespaces().Create(model::Namespace(values.Arg(0)), ParseLabels(values.args, 1)));
  return 0;
}

Result<int> List(Session& session, const Values& values) {
  const std::vector<model::Namespace> namespaces = TRY(session.namespaces().List());
  Table table(kTight);
  table.Row({"NAME", "LABELS"});
  for (const model::Namespace& ns : namespaces) {
    if (values.Bool("quiet")) {
      PrintLine(ns.str());
      continue;
    }
    const model::Labels labels = TRY(session.namespaces().GetLabels(ns));
    table.Row({ns.str(), LabelText(labels, "")});
  }
  if (!values.Bool("quiet")) table.Print();
  return 0;
}

Result<int> Remove(Session& session, const Values& values) {
  std::optional<Error> first;
  for (const std::string& name : values.args) {
    const Status removed = session.namespaces().Delete(model::Namespace(name));
    if (removed.ok() || removed.error().Is(Code::kNotFound)) {  // as the original, which is content
      PrintLine(name);
      continue;
    }
    log::Error(StrCat("unable to delete ", name), {{"error", removed.error().WireText()}});
    if (!first.has_value())
      first = removed.error().Clone().Context(StrCat("unable to delete ", name));
  }
  if (first.has_value()) return std::move(*first);
  return 0;
}

Result<int> Label(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return UnknownError("please specify a namespace");
  const model::Labels labels = ParseLabels(values.args, 1);
  metadata::FieldPaths paths;
  for (const auto& [key, value] : labels) paths.push_back(StrCat("labels.", key));
  const model::Labels done =
      TRY(session.namespaces().Update(model::Namespace(values.Arg(0)), labels, paths));
  return 0;
}

}  // namespace

Command NamespacesCommand() {
  Command group;
  group.names = {"namespaces", "namespace", "ns"};
  group.summary = "manage namespaces";
  group.commands = {
      {{"create", "c"},
       "create a new namespace",
       "<name> [<key>=<value>]",
       "",
       {},
       {},
       Connected(&Create)},
      {{"list", "ls"},
       "list namespaces",
       "[flags]",
       "",
       {BoolFlag({"quiet", "q"}, "print only the namespace name")},
       {},
       Connected(&List)},
      {{"remove", "rm"},
       "remove one or more namespaces",
       "<name> [<name>, ...]",
       "",
       {BoolFlag({"cgroup", "c"}, "delete the namespace's cgroup")},
       {},
       Connected(&Remove)},
      {{"label"},
       "set and clear labels for a namespace",
       "<name> [<key>=<value>, ...]",
       "",
       {},
       {},
       Connected(&Label)},
  };
  return group;
}

}  // namespace corten::cli
