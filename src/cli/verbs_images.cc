#include <set>

#include "base/log.h"
#include "cli/image_journeys.h"
#include "cli/image_verbs.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "image/manifest.h"
#include "image/unpack.h"
#include "model/reference.h"

namespace corten::cli {

namespace {

// Sizes of what `descriptor` names for the host: its documents, config and layers.
Result<int64_t> SizeOf(content::Store& store, const model::Descriptor& descriptor) {
  int64_t total = descriptor.size;
  model::Descriptor manifest = descriptor;
  if (model::IsIndexType(descriptor.media_type)) {
    manifest = TRY(image::SelectManifest(store, descriptor, model::HostPlatform()));
    total += manifest.size;
  }
  const std::vector<model::Descriptor> children = TRY(image::Children(store, manifest));
  for (const model::Descriptor& child : children) total += child.size;
  return total;
}

// As the index words them, with commas between; "-" for none. What is not here has none.
std::string PlatformText(content::Store& store, const model::Descriptor& target) {
  std::set<std::string> names;
  (void)VisitManifests(store, target, [&](const model::Descriptor& manifest) {
    if (manifest.platform.has_value()) {
      names.insert(model::FormatPlatform(*manifest.platform));
      return;
    }
    const Result<model::Platform> platform = image::PlatformOf(store, manifest);
    if (platform.ok()) names.insert(model::FormatPlatform(*platform));
  });
  std::string out;
  for (const std::string& name : names) out += StrCat(out.empty() ? "" : ",", name);
  return out.empty() ? "-" : out;
}

Result<int> List(Session& session, const Values& values) {
  const std::vector<metadata::Image> images =
      TRY(session.images().List(session.ns(), values.args).Context("failed to list images"));
  const std::unique_ptr<content::Store> store = session.Content();
  Table table(kTight);
  table.Row({"REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS"});
  for (const metadata::Image& image : images) {
    if (values.Bool("quiet")) {
      PrintLine(image.name);
      continue;
    }
    const Result<int64_t> size = SizeOf(*store, image.target);
    if (!size.ok())
      log::Error("failed calculating size for image " + image.name,
                 {{"error", size.error().WireText()}});
    table.Row({image.name, image.target.media_type, image.target.digest.str(),
               size.ok() ? BinarySize(*size) : "-", PlatformText(*store, image.target),
               LabelText(image.labels)});
  }
  if (!values.Bool("quiet")) table.Print();
  return 0;
}

struct Presence {
  bool known = false;  // the manifest is there
  size_t required = 0;
  size_t present = 0;
  int64_t required_bytes = 0;
  int64_t present_bytes = 0;
  bool unpacked = false;
};

Result<Presence> CheckImage(content::Store& store, snapshot::Snapshotter& snapshots,
                            const model::Descriptor& target) {
  Presence presence;
  const Result<model::Descriptor> manifest =
      image::SelectManifest(store, target, model::HostPlatform());
  if (!manifest.ok()) {
    if (manifest.error().Is(Code::kNotFound)) return presence;
    return manifest.error().Clone();
  }
  const std::vector<model::Descriptor> blobs = TRY(image::Children(store, *manifest));
  presence.known = true;
  for (const model::Descriptor& blob : blobs) {
    ++presence.required;
    presence.required_bytes += blob.size;
    if (!store.GetInfo(blob.digest).ok()) continue;
    ++presence.present;
    presence.present_bytes += blob.size;
  }
  const Result<bool> unpacked = image::IsUnpacked(store, snapshots, *manifest);
  presence.unpacked = unpacked.ok() && *unpacked;
  return presence;
}

Result<int> Check(Session& session, const Values& values) {
  const std::vector<metadata::Image> images =
      TRY(session.images().List(session.ns(), values.args).Context("failed listing images"));
  const std::unique_ptr<content::Store> store = session.Content();
  const auto snapshots = TRY(session.Snapshots(values));
  Table table(kTight);
  if (images.empty() && values.Bool("quiet")) return 0;
  table.Row({"REF", "TYPE", "DIGEST", "STATUS", "SIZE", "UNPACKED"});
  bool failed = false;
  for (const metadata::Image& image : images) {
    const Result<Presence> presence = CheckImage(*store, *snapshots, image.target);
    std::string status = "error";
    std::string size = "-";
    bool complete = false;
    if (!presence.ok()) {
      log::Error("unable to check " + image.name, {{"error", presence.error().WireText()}});
      failed = true;
    } else if (!presence->known) {
      status = "unavailable (0/?)";
    } else {
      complete = presence->present == presence->required;
      status = StrCat(complete ? "complete (" : "incomplete (", presence->present, "/",
                      presence->required, ")");
      size = StrCat(BinarySize(presence->present_bytes), "/", BinarySize(presence->required_bytes));
    }
    const bool unpacked = presence.ok() && presence->unpacked;
    if (values.Bool("quiet")) {
      if (complete && unpacked) PrintLine(image.name);
    } else {
      table.Row({image.name, image.target.media_type, image.target.digest.str(), status, size,
                 unpacked ? "true" : "false"},
                /*trailing=*/false);
    }
  }
  if (!values.Bool("quiet")) table.Print();
  return failed ? 1 : 0;
}

Result<int> Remove(Session& session, const Values& values) {
  std::optional<Error> first;
  for (size_t i = 0; i < values.args.size(); ++i) {
    metadata::ImageStore::DeleteOptions options;
    options.synchronous = values.Bool("sync") && i + 1 == values.args.size();
    const Status removed = session.images().Delete(session.scope(), values.args[i], options);
    if (removed.ok()) {
      PrintLine(values.args[i]);
    } else if (removed.error().Is(Code::kNotFound)) {
      log::Warn(StrCat(values.args[i], ": image not found"));
    } else {
      log::Error(StrCat("unable to delete ", values.args[i]),
                 {{"error", removed.error().WireText()}});
      if (!first.has_value())
        first = removed.error().Clone().Context(StrCat("unable to delete ", values.args[i]));
    }
  }
  if (first.has_value()) return std::move(*first);
  return 0;
}

Status LocalTag(Session& session, const std::string& from, const std::string& to, bool force) {
  metadata::Image image = TRY(session.images().Get(session.ns(), from));
  image.name = to;
  Result<metadata::Image> made = session.images().Create(session.scope(), image, std::nullopt);
  if (!made.ok() && made.error().Is(Code::kAlreadyExists) && force)
    made = session.images().Update(session.scope(), std::move(image), {}, std::nullopt);
  if (!made.ok()) return std::move(made).TakeError();
  return Ok();
}

Result<int> Tag(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return UnknownError("please provide an image reference to tag from");
  if (values.args.size() < 2) return UnknownError("please provide an image reference to tag to");
  for (size_t i = 1; i < values.args.size(); ++i) {
    const std::string& name = values.args[i];
    if (!values.Bool("skip-reference-check")) {
      const std::string normal = TRY(model::NormalizeDockerReference(name).Context(
          StrCat("error parsing reference: ", Quoted(name), " is not a valid repository/tag")));
    }
    if (values.Bool("local")) {
      TRY(LocalTag(session, values.Arg(0), name, values.Bool("force")));
    } else {
      TRY(TransferTag(session, values.Arg(0), name));
    }
    PrintLine(name);
  }
  return 0;
}

Result<int> Label(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return UnknownError("please specify an image");
  metadata::Image image;
  image.name = values.Arg(0);
  image.labels = ParseLabels(values.args, 1);
  metadata::FieldPaths paths;
  if (values.Bool("replace-all")) {
    paths = {"labels"};
  } else {
    for (const auto& [key, value] : image.labels) paths.push_back(StrCat("labels.", key));
  }
  const metadata::Image done =
      TRY(session.images().Update(session.scope(), std::move(image), paths, std::nullopt));
  PrintLine(LabelText(done.labels, ""));
  return 0;
}

Result<int> Prune(Session& session, const Values& values) {
  if (!values.Bool("all")) {
    log::Warn("No images pruned. `image prune` requires --all to be specified.");
    return 0;
  }
  const std::vector<metadata::Container> containers =
      TRY(session.containers().List(session.ns(), {}));
  const std::vector<metadata::Image> images = TRY(session.images().List(session.ns(), {}));
  std::set<std::string> used;
  for (const metadata::Container& container : containers) used.insert(container.image);
  std::vector<std::string> unused;
  for (const metadata::Image& image : images) {
    if (!used.contains(image.name)) unused.push_back(image.name);
  }
  for (size_t i = 0; i < unused.size(); ++i) {
    metadata::ImageStore::DeleteOptions options;
    options.synchronous = i + 1 == unused.size();
    TRY(session.images().Delete(session.scope(), unused[i], options));
  }
  return 0;
}

Flag QuietFlag() { return BoolFlag({"quiet", "q"}, "print only the image refs"); }

Command CheckCommand() {
  return {{"check"},
          "check existing images to ensure all content is available locally",
          "[flags] [<filter>, ...]",
          "",
          {QuietFlag(), SnapshotterFlag()},
          {},
          Connected(&Check)};
}

Command TagCommand() {
  return {{"tag"},
          "tag an image",
          "[flags] <source_ref> <target_ref> [<target_ref>, ...]",
          "",
          {BoolFlag({"force"}, "force target_ref to be created, regardless if it already exists"),
           BoolFlag({"local"}, "run tag locally rather than through transfer API"),
           BoolFlag({"skip-reference-check"}, "skip the strict check for reference names")},
          {},
          Connected(&Tag)};
}

Command LabelCommand() {
  return {{"label"},
          "set and clear labels for an image",
          "[flags] <name> [<key>=<value>, ...]",
          "",
          {BoolFlag({"replace-all", "r"}, "replace all labels")},
          {},
          Connected(&Label)};
}

}  // namespace

Command ImagesCommand() {
  Command group;
  group.names = {"images", "image", "i"};
  group.summary = "manage images";
  group.commands = {
      CheckCommand(),
      ImagesExportCommand(),
      ImagesImportCommand(),
      ImagesInspectCommand(),
      {{"list", "ls"},
       "list images known to containerd",
       "[flags] [<filter>, ...]",
       "",
       {QuietFlag()},
       {},
       Connected(&List)},
      ImagesMountCommand(),
      ImagesUnmountCommand(),
      ImagesPullCommand(),
      {{"push"},
       "push an image to a remote",
       "[flags] <remote> [<local>]",
       "",
       {},
       {},
       NotInThisBuild("images push")},
      {{"prune"},
       "remove unused images",
       "[flags]",
       "",
       {BoolFlag({"all"}, "remove all unused images, not just dangling ones")},
       {},
       Connected(&Prune)},
      {{"delete", "del", "remove", "rm"},
       "remove one or more images by reference",
       "[flags] <ref> [<ref>, ...]",
       "",
       {BoolFlag({"sync"}, "Synchronously remove image and all associated resources")},
       {},
       Connected(&Remove)},
      TagCommand(),
      LabelCommand(),
      {{"convert"},
       "convert an image",
       "[flags] <source_ref> <target_ref>",
       "",
       {},
       {},
       NotInThisBuild("images convert")},
      ImagesUsageCommand(),
  };
  return group;
}

}  // namespace corten::cli
