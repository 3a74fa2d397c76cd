// An image as the root filesystem of a container to be: unpacked.
#pragma once

#include <string>

#include "base/error.h"
#include "cli/session.h"

namespace corten::cli {

struct Prepared {
  std::string chain_id;  // the committed snapshot of the top layer; empty: an image without layers
  std::string config;    // JSON of the image's configuration
};

// The image's root filesystem for `platform`, unpacked if it is not yet. An image of one manifest
// is taken whatever its platform.
Result<Prepared> PrepareImage(Session& session, const model::Scope& scope,
                              const metadata::Image& image, const std::string& snapshotter,
                              const model::Platform& platform);

}  // namespace corten::cli
