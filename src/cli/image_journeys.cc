#include "cli/image_journeys.h"

#include <algorithm>

#include "cli/fetch_view.h"
#include "image/unpack.h"

namespace corten::cli {

namespace {

Status VisitManifestsAt(content::Store& content, const model::Descriptor& target, int depth,
                        const VisitManifest& visit) {
  if (depth > image::kMaxIndexDepth)
    return InvalidArgumentError("index ", target.digest.str(), ": nested too deeply");
  if (model::IsManifestType(target.media_type)) {
    visit(target);
    return Ok();
  }
  const std::vector<model::Descriptor> children = TRY(image::Children(content, target));
  Status first;
  for (const model::Descriptor& child : children) {
    Status done = VisitManifestsAt(content, child, depth + 1, visit);
    if (first.ok()) first = std::move(done);
  }
  return first;
}

}  // namespace

image::Transfers RemoteJourneys(Session& session, const std::string& snapshotter,
                                int max_downloads) {
  image::TransferOptions options;
  options.stores = &session.stores();
  options.images = &session.images();
  options.leases = &session.leases();
  options.make_differ = [connection = session.connection()](const model::Scope& scope) {
    return client::RemoteDiffer(connection, scope);
  };
  options.unpack = {{model::HostPlatform(), snapshotter, /*can_rebase=*/nullptr}};
  if (max_downloads > 0) options.max_downloads = max_downloads;
  return image::Transfers(std::move(options));
}

std::vector<Flag> FetchFlags() {
  return {ListFlag({"label"}, "labels to attach to the image"),
          ListFlag({"platform"}, "Pull content from a specific platform"),
          BoolFlag({"all-platforms"}, "pull content and metadata from all platforms"),
          BoolFlag({"skip-metadata"},
                   "Skips metadata for unused platforms (Image may be unable to be "
                   "pushed without all metadata)"),
          IntFlag({"max-concurrent-downloads"}, "Set the max concurrent downloads for each pull")};
}

Result<image::StoreRequest> FetchRequestOf(const Values& values, const std::string& reference) {
  image::StoreRequest request;
  request.name = reference;
  request.labels = ParseLabels(values.List("label"));
  request.platforms = TRY(PlatformsOf(values));
  request.all_metadata = !values.Bool("skip-metadata");
  return request;
}

Status FetchImage(Session& session, const model::Scope& scope, const std::string& reference,
                  const image::RegistryOptions& registry, const image::StoreRequest& request,
                  int max_downloads) {
  FetchView view(reference);
  const Status pulled = RemoteJourneys(session, "", max_downloads)
                            .Pull(scope, reference, registry, request,
                                  [&](const image::Progress& told) { view.Told(told); }, {});
  view.Finish(pulled.ok());
  if (pulled.ok()) return Ok();
  constexpr std::string_view kOurs = "failed to resolve image: ";
  std::string text = pulled.error().text();
  if (text.starts_with(kOurs)) {
    text =
        StrCat("failed to resolve reference ", Quoted(reference), ": ", text.substr(kOurs.size()));
  }
  return Error(pulled.error().code(), std::move(text));
}

Status VisitManifests(content::Store& content, const model::Descriptor& target,
                      const VisitManifest& visit) {
  return VisitManifestsAt(content, target, 0, visit);
}

Result<std::vector<model::Platform>> PlatformsUnder(content::Store& content,
                                                    const model::Descriptor& target) {
  std::vector<model::Platform> out;
  TRY(VisitManifests(content, target, [&](const model::Descriptor& manifest) {
    const Result<model::Platform> platform = image::PlatformOf(content, manifest);
    if (!platform.ok()) return;  // one that is not here, or is no image, has none
    if (std::find(out.begin(), out.end(), *platform) == out.end()) out.push_back(*platform);
  }));
  return out;
}

Error OpenError(int err, const std::string& path) {
  return ErrnoError(err, "open ", path).WithCode(Code::kUnknown);
}

Result<ImageParts> PartsOfManifest(content::Store& content, const model::Descriptor& manifest) {
  ImageParts out;
  out.descriptor = manifest;
  const std::string text = TRY(content::ReadBlob(content, manifest.digest, image::kMaxDocument));
  out.manifest = TRY(image::ParseManifest(text));
  out.config_json = TRY(content::ReadBlob(content, out.manifest.config.digest, image::kMaxConfig));
  out.config = TRY(image::ParseConfig(out.config_json));
  return out;
}

Result<ImageParts> PartsOf(content::Store& content, const model::Descriptor& target,
                           const model::Platform& platform) {
  const model::Descriptor manifest = TRY(image::SelectManifest(content, target, platform));
  return PartsOfManifest(content, manifest);
}

Result<std::string> UnpackParts(Session& session, const model::Scope& scope,
                                const ImageParts& parts, const std::string& snapshotter,
                                bool sync_fs) {
  const std::unique_ptr<content::Store> content = session.stores().Content(scope);
  const std::unique_ptr<snapshot::Snapshotter> snapshots =
      TRY(session.stores().Snapshots(scope, snapshotter));
  const std::unique_ptr<diff::Differ> differ = client::RemoteDiffer(session.connection(), scope);
  image::Unpacking unpacking;
  unpacking.content = content.get();
  unpacking.snapshots = snapshots.get();
  unpacking.snapshotter = snapshotter;
  unpacking.differ = differ.get();
  unpacking.sync_fs = sync_fs;
  return image::Unpack(unpacking, parts.manifest, parts.config);
}

Result<std::vector<model::Platform>> PlatformsOf(const Values& values) {
  std::vector<model::Platform> out;
  if (values.Bool("all-platforms")) return out;
  for (const std::string& text : values.List("platform")) {
    if (text.empty()) continue;
    model::Platform platform = TRY(model::ParsePlatform(text));
    out.push_back(std::move(platform));
  }
  if (out.empty()) out.push_back(model::HostPlatform());
  return out;
}

}  // namespace corten::cli
