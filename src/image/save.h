// Under which names an image is kept once its content is there, and the step that writes those
// names.
//
// A name is written as a whole: created, or its target and labels replaced. Names that an archive
// or a further reference gave carry labels that make them go when the image of the request goes.
// Threads: any. Source: transfer service of containerd 2.3 (images.md 10 and 12), seen with its
// ctr.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "image/progress.h"
#include "metadata/stores.h"
#include "model/descriptor.h"
#include "model/scope.h"

namespace corten::image {

struct ExtraReference {
  std::string name;
  bool is_prefix = false;  // `name` is the front of names that an archive gives
  bool allow_overwrite =
      false;  // an archive's whole names are taken even if they do not begin with `name`
  bool add_digest = false;         // also (prefix) or only (else) NAME@DIGEST
  bool skip_named_digest = false;  // no digest name where the archive gave one
};

struct UnpackWish {
  model::Platform platform;
  std::string snapshotter;  // empty: the configured one
};

// What a caller wants to have in the image store.
struct StoreRequest {
  std::string name;  // may be empty for archives
  model::Labels labels;
  std::vector<model::Platform> platforms;  // empty: all
  bool all_metadata = false;               // documents of other platforms too
  uint32_t manifest_limit = 0;  // > 0: at most so many manifests of an index, the best ones
  std::vector<ExtraReference> extra_references;
  std::vector<UnpackWish> unpacks;
};

enum class Origin { kRequest, kArchive };

// The name that an archive's annotations give: io.containerd.image.name, else
// org.opencontainers.image.ref.name put behind `base` when it is a bare tag. Without `any` a name
// must begin with `base`. "": none.
std::string NameInArchive(const model::Labels& annotations, const std::string& base, bool any);

// The names of `target`. kArchive: one of the entries of an archive's index, named by its
// annotations.
std::vector<std::string> NamesFor(const StoreRequest& request, const model::Descriptor& target,
                                  Origin origin);

// Writes them and returns the images; none if there is no name. Errors of the store.
Result<std::vector<metadata::Image>> SaveImages(metadata::ImageStore& images,
                                                const model::Scope& scope,
                                                const StoreRequest& request,
                                                const model::Descriptor& target, Origin origin,
                                                Time now);

// Creates, or replaces target and labels.
Result<metadata::Image> PutImage(metadata::ImageStore& images, const model::Scope& scope,
                                 metadata::Image image);

}  // namespace corten::image
