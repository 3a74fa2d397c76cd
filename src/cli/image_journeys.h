// What the image verbs share: journeys over this daemon's stores, and images unpacked. One thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cli/session.h"
#include "image/manifest.h"
#include "image/transfers.h"

namespace corten::cli {

// The journeys of images with the daemon's stores on the other end of the connection. The session
// must outlive them. `max_downloads`: at once; 0: as the library has it.
image::Transfers RemoteJourneys(Session& session, const std::string& snapshotter,
                                int max_downloads = 0);

// What chooses a part of a remote image: --label, --platform, --all-platforms, --skip-metadata,
// --max-concurrent-downloads; and what their values ask for. kInvalidArgument: a platform.
std::vector<Flag> FetchFlags();
Result<image::StoreRequest> FetchRequestOf(const Values& values, const std::string& reference);

// Fetches what `request` wants from a registry and writes its name, with a table of the progress.
// Nothing is unpacked. Errors as image::Transfers::Pull, with the texts of ctr's own fetcher.
Status FetchImage(Session& session, const model::Scope& scope, const std::string& reference,
                  const image::RegistryOptions& registry, const image::StoreRequest& request,
                  int max_downloads);

// Every manifest under `target`, in the order of its indices. Goes on after an error and returns
// the first. kNotFound: an index is not here; kInvalidArgument: it is none, or nested too deeply.
using VisitManifest = std::function<void(const model::Descriptor& manifest)>;
Status VisitManifests(content::Store& content, const model::Descriptor& target,
                      const VisitManifest& visit);

// Each platform once that a manifest under `target` is for, in the order of the index.
Result<std::vector<model::Platform>> PlatformsUnder(content::Store& content,
                                                    const model::Descriptor& target);

// One manifest of an image and its configuration, parsed.
struct ImageParts {
  model::Descriptor descriptor;
  image::Manifest manifest;
  image::ImageConfig config;
  std::string config_json;  // as it is stored
};
Result<ImageParts> PartsOfManifest(content::Store& content, const model::Descriptor& manifest);
// The one for `platform` under `target`.
Result<ImageParts> PartsOf(content::Store& content, const model::Descriptor& target,
                           const model::Platform& platform);

// The image's layers as a chain of snapshots. Returns the chain's name; "": no layers.
Result<std::string> UnpackParts(Session& session, const model::Scope& scope,
                                const ImageParts& parts, const std::string& snapshotter,
                                bool sync_fs = false);

// `open PATH: no such file or directory`.
Error OpenError(int err, const std::string& path);

// The platforms that flags --platform and --all-platforms ask for; this machine's if they say
// nothing, none for all. kInvalidArgument.
Result<std::vector<model::Platform>> PlatformsOf(const Values& values);

}  // namespace corten::cli
