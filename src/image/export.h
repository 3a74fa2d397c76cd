// Images out of the content store as an OCI layout in a tar, with Docker's manifest.json beside it.
//
// The same images give the same bytes, and the bytes that containerd's exporter gives: members
// sorted by name, no times, owner 0. Each blob is read once and its digest checked while it is
// written. Threads: one per call. Source: images.md 10, seen with containerd 2.3.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "content/store.h"
#include "diff/differ.h"
#include "image/progress.h"
#include "metadata/stores.h"
#include "model/descriptor.h"

namespace corten::image {

struct ExportOptions {
  std::vector<model::Platform> platforms;  // empty: this machine's; ignored with all_platforms
  bool all_platforms = false;
  bool skip_docker_manifest = false;    // no manifest.json
  bool skip_non_distributable = false;  // foreign layers stay out
  Canceled canceled;
};

// kNotFound: a selected blob is missing; kInvalidArgument: a target that is neither manifest nor
// index, or no image; kDataLoss: a blob's bytes are not its digest's; errors of `sink`.
Status ExportImages(content::Store& store, const std::vector<metadata::Image>& images,
                    diff::ByteSink& sink, const ExportOptions& options);

}  // namespace corten::image
