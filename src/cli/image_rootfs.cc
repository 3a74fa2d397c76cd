#include "cli/image_rootfs.h"

#include "image/manifest.h"
#include "image/unpack.h"

namespace corten::cli {

Result<Prepared> PrepareImage(Session& session, const model::Scope& scope,
                              const metadata::Image& image, const std::string& snapshotter,
                              const model::Platform& platform) {
  const std::unique_ptr<content::Store> content = session.stores().Content(scope);
  const std::unique_ptr<snapshot::Snapshotter> snapshots =
      TRY(session.stores().Snapshots(scope, snapshotter));
  const std::unique_ptr<diff::Differ> differ = client::RemoteDiffer(session.connection(), scope);
  // An image that is one manifest is taken as it is, whatever its platform, as ctr does.
  model::Descriptor manifest = image.target;
  if (!model::IsManifestType(manifest.media_type))
    manifest = TRY(image::SelectManifest(*content, image.target, platform));
  const std::string manifest_json =
      TRY(content::ReadBlob(*content, manifest.digest, image::kMaxDocument));
  const image::Manifest parsed = TRY(image::ParseManifest(manifest_json));
  Prepared prepared;
  prepared.config = TRY(content::ReadBlob(*content, parsed.config.digest, image::kMaxConfig));
  const image::ImageConfig config = TRY(image::ParseConfig(prepared.config));
  image::Unpacking unpacking;
  unpacking.content = content.get();
  unpacking.snapshots = snapshots.get();
  unpacking.snapshotter = snapshotter;
  unpacking.differ = differ.get();
  prepared.chain_id = TRY(image::Unpack(unpacking, parsed, config));
  return prepared;
}

}  // namespace corten::cli
