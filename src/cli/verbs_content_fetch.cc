// content fetch, fetch-object, fetch-blob, prune.
#include <algorithm>

#include "base/log.h"
#include "cli/byte_files.h"
#include "cli/content_verbs.h"
#include "cli/held_lease.h"
#include "cli/image_journeys.h"
#include "cli/registry_flags.h"

namespace corten::cli {

namespace {

constexpr size_t kChunk = size_t{1} << 20;

Result<int> Fetch(Session& session, const Values& values) {
  const std::string reference = values.Arg(0);
  const image::RegistryOptions registry = TRY(RegistryOptionsOf(values));
  image::StoreRequest request = TRY(FetchRequestOf(values, reference));
  if (values.Bool("metadata-only")) {
    request.all_metadata = true;
    request.platforms = {model::Platform{"none", "none", "", "", {}}};  // nobody's layers
  }
  const std::unique_ptr<HeldLease> lease = TRY(HeldLease::Take(session));
  TRY(FetchImage(session, lease->scope(), reference, registry, request,
                 static_cast<int>(values.Int("max-concurrent-downloads"))));
  return 0;
}

// The bytes of one blob to standard output.
Status CopyOut(image::Registry& registry, const model::Descriptor& blob) {
  const std::unique_ptr<diff::ByteSource> source = TRY(registry.Fetch(blob, 0));
  std::string buffer(kChunk, '\0');
  while (true) {
    const size_t n = TRY(source->Read(buffer));
    if (n == 0) return Ok();
    TRY(WriteAll(FdRef(1), std::string_view(buffer).substr(0, n), "standard output"));
  }
}

Result<int> FetchObject(const Values& values) {
  const std::string reference = values.Arg(0);
  const image::RegistryOptions options = TRY(RegistryOptionsOf(values));
  const std::unique_ptr<image::Registry> registry = TRY(image::Registry::Open(reference, options));
  const model::Descriptor blob = TRY(registry->Resolve());
  TRY(CopyOut(*registry, blob));
  return 0;
}

Result<int> FetchBlob(const Values& values) {
  if (values.args.size() < 2) return UnknownError("must specify digests");
  const image::RegistryOptions options = TRY(RegistryOptionsOf(values));
  const std::unique_ptr<image::Registry> registry =
      TRY(image::Registry::Open(values.Arg(0), options));
  for (size_t i = 1; i < values.args.size(); ++i) {
    const Result<model::Digest> parsed = model::Digest::Parse(values.args[i]);
    if (!parsed.ok()) return UnknownError("invalid checksum digest format");
    const model::Digest& digest = *parsed;
    const model::Descriptor blob = TRY(registry->FindBlob(digest, values.Text("media-type")));
    TRY(CopyOut(*registry, blob));
  }
  return 0;
}

Result<int> PruneReferences(Session& session, const Values& values) {
  const bool dry = values.Bool("dry");
  const std::unique_ptr<content::Store> content = session.Content();
  std::vector<content::Info> found;
  TRY(content->Walk({}, [&](const content::Info& info) {
    const bool keeps = std::any_of(info.labels.begin(), info.labels.end(),
                                   [](const auto& label) { return KeepsLayer(label.first); });
    if (keeps) found.push_back(info);
    return Ok();
  }));
  if (dry) {
    log::SetLevel(log::Level::kDebug);
    log::Debug("dry run, no changes will be applied");
  }
  for (content::Info& info : found) {
    for (const auto& [label, value] : info.labels) {
      if (KeepsLayer(label))
        log::Debug("Removing label", {{"digest", info.digest.str()}, {"label", label}});
    }
    if (!dry) TRY(DropLayerLabels(*content, std::move(info)));
  }
  if (dry || values.Bool("async")) return 0;
  // A lease that goes synchronously takes what nobody keeps with it.
  metadata::Lease lease;
  const metadata::Lease made = TRY(session.leases().Create(session.ns(), std::move(lease)));
  TRY(session.leases().Delete(session.ns(), made.id, /*synchronous=*/true));
  return 0;
}

}  // namespace

bool KeepsLayer(std::string_view label) {
  return label.starts_with("containerd.io/gc.ref.content.l.");
}

Status DropLayerLabels(content::Store& content, content::Info info) {
  content::FieldPaths paths;
  for (auto& [label, value] : info.labels) {
    if (!KeepsLayer(label)) continue;
    paths.push_back(StrCat("labels.", label));
    value.clear();  // an empty value takes the label away
  }
  if (paths.empty()) return Ok();
  const content::Info done = TRY(content.Update(info, paths));
  return Ok();
}

Command ContentFetchCommand() {
  Command command;
  command.names = {"fetch"};
  command.summary = "fetch all content for an image into containerd";
  command.arguments = "[flags] <remote> <object>";
  command.flags = RegistryFlags();
  const std::vector<Flag> own = FetchFlags();
  command.flags.insert(command.flags.end(), own.begin(), own.end());
  command.flags.push_back(
      BoolFlag({"metadata-only"}, "Pull all metadata including manifests and configs"));
  command.action = Connected(&Fetch);
  return command;
}

Command ContentFetchObjectCommand() {
  return {{"fetch-object"},
          "retrieve objects from a remote",
          "[flags] <remote> <object> [<hint>, ...]",
          "",
          RegistryFlags(),
          {},
          &FetchObject};
}

Command ContentFetchBlobCommand() {
  Command command = {{"fetch-blob"},
                     "retrieve blobs from a remote",
                     "[flags] <remote> [<digest>, ...]",
                     "",
                     RegistryFlags(),
                     {},
                     &FetchBlob};
  command.flags.push_back(TextFlag({"media-type"}, "Specify target mediatype for request header"));
  return command;
}

Command ContentPruneCommand() {
  Command group;
  group.names = {"prune"};
  group.summary = "prunes content from the content store";
  group.commands = {
      {{"references"},
       "prunes preference labels from the content store (layers only by default)",
       "[flags]",
       "",
       {BoolFlag({"async"}, "allow garbage collection to cleanup asynchronously"),
        BoolFlag({"dry"}, "just show updates without applying (enables debug logging)")},
       {},
       Connected(&PruneReferences)}};
  return group;
}

}  // namespace corten::cli
