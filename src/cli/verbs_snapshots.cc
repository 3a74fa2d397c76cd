#include <algorithm>
#include <set>

#include "api/values.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/session.h"
#include "cli/snapshot_verbs.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "containerd/services/mounts/v1/mounts.grpc.pb.h"

namespace corten::cli {

namespace {

constexpr const char* kGcRoot = "containerd.io/gc.root";

// Snapshots made by hand are kept until they are removed by hand.
model::Labels RootLabel() { return {{kGcRoot, FormatRfc3339({Now().seconds, 0})}}; }

void PrintMounts(const std::string& target, const std::vector<model::Mount>& mounts) {
  for (const model::Mount& mount : mounts) {
    std::string options;
    for (const std::string& option : mount.options)
      options += StrCat(options.empty() ? "" : ",", option);
    PrintLine(StrCat("mount -t ", mount.type, " ", mount.source, " ", target,
                     mount.target.empty() ? "" : "/", mount.target, " -o ", options));
  }
}

std::string MountsJson(const std::vector<model::Mount>& mounts) {
  std::string out = "[";
  for (size_t i = 0; i < mounts.size(); ++i) {
    std::string options;
    for (const std::string& option : mounts[i].options)
      options +=
          StrCat(options.empty() ? "\n            " : ",\n            ", log::JsonString(option));
    out += StrCat(i > 0 ? "," : "", "\n    {\n        \"Type\": ", log::JsonString(mounts[i].type),
                  ",\n        \"Source\": ", log::JsonString(mounts[i].source),
                  ",\n        \"Target\": ", log::JsonString(mounts[i].target),
                  ",\n        \"Options\": [", options, "\n        ]\n    }");
  }
  return out + "\n]";
}

Result<int> List(Session& session, const Values& values) {
  const auto snapshots = TRY(session.Snapshots(values));
  Table table(kTight);
  table.Row({"KEY", "PARENT", "KIND"});
  TRY(snapshots->Walk({}, [&](const snapshot::Info& info) {
    table.Row({info.name, info.parent, std::string(snapshot::KindName(info.kind))});
    return Ok();
  }));
  table.Print();
  return 0;
}

template <bool kView>
Result<int> Prepare(Session& session, const Values& values) {
  if (values.args.empty() || values.args.size() > 2) return values.Help();
  const auto snapshots = TRY(session.Snapshots(values));
  std::vector<model::Mount> mounts;
  if constexpr (kView) {
    mounts = TRY(snapshots->View(values.Arg(0), values.Arg(1), RootLabel()));
  } else {
    mounts = TRY(snapshots->Prepare(values.Arg(0), values.Arg(1), RootLabel()));
  }
  if (const std::string target = values.Text("target"); !target.empty())
    PrintMounts(target, mounts);
  if (values.Bool("mounts")) PrintLine(MountsJson(mounts));
  return 0;
}

// Has the daemon make the mounts, and says what is left to mount. A daemon without a mount manager
// leaves everything.
Result<std::vector<model::Mount>> Activate(Session& session, const std::string& key,
                                           const std::vector<model::Mount>& mounts) {
  namespace service = containerd::services::mounts::v1;
  service::ActivateRequest request;
  request.set_name(StrCat("ctr", key));
  request.set_temporary(true);
  api::ToProto(mounts, request.mutable_mounts());
  grpc::ClientContext context;
  session.connection()->Prepare(&context, session.scope());
  service::ActivateResponse response;
  const Status done = client::FromGrpc(service::Mounts::NewStub(session.connection()->channel())
                                           ->Activate(&context, request, &response));
  if (!done.ok() && done.error().Is(Code::kUnimplemented)) return mounts;
  if (!done.ok()) return done.error().Clone().Context("activate error");
  return api::FromProto(response.info().system());
}

Result<int> Mounts(Session& session, const Values& values) {
  if (values.args.size() != 2) return values.Help();
  const auto snapshots = TRY(session.Snapshots(values));
  std::vector<model::Mount> mounts = TRY(snapshots->Mounts(values.Arg(1)));
  if (values.Bool("temp")) mounts = TRY(Activate(session, values.Arg(1), mounts));
  PrintMounts(values.Arg(0), mounts);
  return 0;
}

Result<int> Commit(Session& session, const Values& values) {
  if (values.args.size() != 2) return values.Help();
  const auto snapshots = TRY(session.Snapshots(values));
  TRY(snapshots->Commit(values.Arg(0), values.Arg(1), {RootLabel(), ""}));
  return 0;
}

Result<int> Remove(Session& session, const Values& values) {
  const auto snapshots = TRY(session.Snapshots(values));
  for (const std::string& key : values.args)
    TRY(snapshots->Remove(key).Context(StrCat("failed to remove ", Quoted(key))));
  return 0;
}

Result<int> Info(Session& session, const Values& values) {
  if (values.args.size() != 1) return values.Help();
  const auto snapshots = TRY(session.Snapshots(values));
  const snapshot::Info info = TRY(snapshots->Stat(values.Arg(0)));
  std::string out = StrCat("{\n    \"Kind\": ", log::JsonString(snapshot::KindName(info.kind)),
                           ",\n    \"Name\": ", log::JsonString(info.name));
  if (!info.parent.empty()) out += StrCat(",\n    \"Parent\": ", log::JsonString(info.parent));
  if (!info.labels.empty()) {
    out += ",\n    \"Labels\": {";
    bool first = true;
    for (const auto& [key, value] : info.labels) {
      out += StrCat(first ? "" : ",", "\n        ", log::JsonString(key), ": ",
                    log::JsonString(value));
      first = false;
    }
    out += "\n    }";
  }
  PrintLine(StrCat(out, ",\n    \"Created\": ", log::JsonString(FormatRfc3339(info.created_at)),
                   ",\n    \"Updated\": ", log::JsonString(FormatRfc3339(info.updated_at)), "\n}"));
  return 0;
}

Result<int> Usage(Session& session, const Values& values) {
  const auto snapshots = TRY(session.Snapshots(values));
  std::vector<std::string> keys = values.args;
  if (keys.empty()) {
    TRY(snapshots->Walk({}, [&](const snapshot::Info& info) {
      keys.push_back(info.name);
      return Ok();
    }));
  }
  Table table(kTight);
  table.Row({"KEY", "SIZE", "INODES"});
  for (const std::string& key : keys) {
    const snapshot::Usage usage = TRY(snapshots->GetUsage(key));
    table.Row({key, values.Bool("b") ? StrCat(usage.size) : BinarySize(usage.size),
               StrCat(usage.inodes)});
  }
  table.Print();
  return 0;
}

Result<int> Label(Session& session, const Values& values) {
  const auto snapshots = TRY(session.Snapshots(values));
  snapshot::Info info;
  info.name = values.Arg(0);
  info.labels = ParseLabels(values.args, 1);
  snapshot::FieldPaths paths;
  for (const auto& [key, value] : info.labels) paths.push_back(StrCat("labels.", key));
  const snapshot::Info done = TRY(snapshots->Update(info, paths));
  PrintLine(LabelText(done.labels, ""));
  return 0;
}

using Children = std::map<std::string, std::vector<std::string>>;

void PrintTree(const Children& children, const std::string& key, size_t depth) {
  PrintLine(depth == 0 ? StrCat(" ", key) : StrCat(std::string(2 * depth, ' '), "\\_ ", key));
  const auto found = children.find(key);
  if (found == children.end()) return;
  for (const std::string& child : found->second) PrintTree(children, child, depth + 1);
}

// Roots stand in the order in which they, or a child of theirs, come in the listing.
Result<int> Tree(Session& session, const Values& values) {
  const auto snapshots = TRY(session.Snapshots(values));
  Children children;
  std::vector<std::string> mentioned;
  std::set<std::string> known;
  std::set<std::string> below;  // what has a parent
  const auto mention = [&](const std::string& name) {
    if (known.insert(name).second) mentioned.push_back(name);
  };
  TRY(snapshots->Walk({}, [&](const snapshot::Info& info) {
    if (!info.parent.empty()) {
      mention(info.parent);
      children[info.parent].push_back(info.name);
      below.insert(info.name);
    }
    mention(info.name);
    return Ok();
  }));
  for (const std::string& name : mentioned) {
    if (!below.contains(name)) PrintTree(children, name, 0);
  }
  return 0;
}

Command MountsCommand() {
  return {{"mounts", "m", "mount"},
          "mount gets mount commands for the snapshots",
          "<target> <key>",
          "",
          {BoolFlag({"temp"}, "let the daemon mount it, and print how to bind that")},
          {},
          Connected(&Mounts)};
}

Command UsageCommand() {
  return {{"usage"},
          "usage snapshots",
          "[flags] [<key>, ...]",
          "",
          {BoolFlag({"b"}, "display size in bytes")},
          {},
          Connected(&Usage)};
}

}  // namespace

Command SnapshotsCommand() {
  Command group;
  group.names = {"snapshots", "snapshot"};
  group.summary = "manage snapshots";
  group.flags = {SnapshotterFlag()};
  const std::vector<Flag> prepare = {
      TextFlag({"target", "t"}, "mount target path, will print mount, if provided"),
      BoolFlag({"mounts"}, "Print out snapshot mounts as JSON")};
  group.commands = {
      {{"commit"},
       "commit an active snapshot into the provided name",
       "<key> <active>",
       "",
       {},
       {},
       Connected(&Commit)},
      SnapshotsDiffCommand(),
      {{"info"}, "get info about a snapshot", "<key>", "", {}, {}, Connected(&Info)},
      {{"list", "ls"}, "list snapshots", "", "", {}, {}, Connected(&List)},
      MountsCommand(),
      {{"prepare"},
       "prepare a snapshot from a committed snapshot",
       "[flags] <key> [<parent>]",
       "",
       prepare,
       {},
       Connected(&Prepare<false>)},
      {{"delete", "del", "remove", "rm"},
       "remove snapshots",
       "<key> [<key>, ...]",
       "",
       {},
       {},
       Connected(&Remove)},
      {{"label"},
       "add labels to content",
       "<name> [<label>=<value> ...]",
       "",
       {},
       {},
       Connected(&Label)},
      {{"tree"}, "display tree view of snapshot branches", "", "", {}, {}, Connected(&Tree)},
      SnapshotsUnpackCommand(),
      UsageCommand(),
      {{"view"},
       "create a read-only snapshot from a committed snapshot",
       "[flags] <key> [<parent>]",
       "",
       prepare,
       {},
       Connected(&Prepare<true>)},
  };
  return group;
}

}  // namespace corten::cli
