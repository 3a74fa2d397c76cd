#include "cli/image_rootfs.h"

#include "cli/image_journeys.h"
#include "image/manifest.h"

namespace corten::cli {

Result<Prepared> PrepareImage(Session& session, const model::Scope& scope,
                              const metadata::Image& image, const std::string& snapshotter,
                              const model::Platform& platform) {
  const std::unique_ptr<content::Store> content = session.stores().Content(scope);
  // An image that is one manifest is taken as it is, whatever its platform, as ctr does.
  model::Descriptor manifest = image.target;
  if (!model::IsManifestType(manifest.media_type))
    manifest = TRY(image::SelectManifest(*content, image.target, platform));
  ImageParts parts = TRY(PartsOfManifest(*content, manifest));
  Prepared prepared;
  prepared.chain_id = TRY(UnpackParts(session, scope, parts, snapshotter));
  prepared.config = std::move(parts.config_json);
  return prepared;
}

}  // namespace corten::cli
