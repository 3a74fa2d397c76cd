// Which parts of an image belong to a request: platforms, documents of other platforms, number of
// manifests. Threads: pure, but for reading documents from the store. Source: images.md 8, seen
// with containerd 2.3.
#pragma once

#include <functional>
#include <vector>

#include "base/error.h"
#include "content/store.h"
#include "image/progress.h"
#include "image/save.h"
#include "model/descriptor.h"

namespace corten::image {

// The place of the first wish that `platform` is, -1 if none: what an architecture could run as
// well is not meant (an arm64 wish does not fetch arm images). No wishes: everything suits.
int Rank(const std::vector<model::Platform>& wishes, const model::Platform& platform);

// The children of `parent` that a request goes into, best platform first where the number is
// limited. With all_metadata manifests of other platforms stay, but without their layers.
std::vector<model::Descriptor> WantedChildren(const StoreRequest& request,
                                              const model::Descriptor& parent,
                                              std::vector<model::Descriptor> children);

// Visits `root` and everything wanted below it, parents first, each blob once. Documents are read
// from the store and get their gc labels. kNotFound: a document is missing; kInvalidArgument;
// errors of `visit`. `visit(blob, parent)`; parent is null for the root.
using VisitBlob =
    std::function<Status(const model::Descriptor& blob, const model::Descriptor* parent)>;
Status WalkTree(content::Store& store, const StoreRequest& request, const model::Descriptor& root,
                const VisitBlob& visit);

// Runs `work(0)` to `work(count - 1)` on at most `limit` threads, this one included; all have ended
// when it returns. The first error stops those that have not begun and is returned.
Status ForEachAtOnce(size_t count, int limit, const std::function<Status(size_t)>& work);

}  // namespace corten::image
