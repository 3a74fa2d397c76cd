#include "image/tree.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>

#include "base/parallel.h"
#include "image/manifest.h"

namespace corten::image {

namespace {

bool Suits(const StoreRequest& request, const model::Descriptor& descriptor) {
  return !descriptor.platform.has_value() || Rank(request.platforms, *descriptor.platform) >= 0;
}

}  // namespace

int Rank(const std::vector<model::Platform>& wishes, const model::Platform& platform) {
  if (wishes.empty()) return 0;
  const model::Platform image = model::NormalizePlatform(platform);
  for (size_t i = 0; i < wishes.size(); ++i) {
    const model::Platform wish = model::NormalizePlatform(wishes[i]);
    const bool has_features = std::all_of(
        image.os_features.begin(), image.os_features.end(), [&](const std::string& feature) {
          return std::find(wish.os_features.begin(), wish.os_features.end(), feature) !=
                 wish.os_features.end();
        });
    if (wish.os == image.os && wish.architecture == image.architecture &&
        wish.variant == image.variant && has_features)
      return static_cast<int>(i);
  }
  return -1;
}

std::vector<model::Descriptor> WantedChildren(const StoreRequest& request,
                                              const model::Descriptor& parent,
                                              std::vector<model::Descriptor> children) {
  if (model::IsManifestType(parent.media_type)) {
    if (request.all_metadata && !Suits(request, parent)) {
      std::erase_if(children, [](const model::Descriptor& child) {
        return model::IsLayerType(child.media_type);
      });
    }
    return children;
  }
  if (!request.all_metadata)
    std::erase_if(children, [&](const model::Descriptor& child) { return !Suits(request, child); });
  if (request.manifest_limit > 0 && model::IsIndexType(parent.media_type)) {
    const auto rank = [&](const model::Descriptor& child) {
      const int found = child.platform.has_value() ? Rank(request.platforms, *child.platform) : -1;
      return found < 0 ? INT32_MAX : found;
    };
    std::stable_sort(children.begin(), children.end(),
                     [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
    if (children.size() > request.manifest_limit) children.resize(request.manifest_limit);
  }
  return children;
}

Status WalkTree(content::Store& store, const StoreRequest& request, const model::Descriptor& root,
                const VisitBlob& visit) {
  struct Item {
    model::Descriptor blob;
    model::Descriptor parent;
    int depth = 0;
  };
  std::vector<Item> queue = {{root, {}, 0}};
  std::set<model::Digest> seen = {root.digest};
  for (size_t at = 0; at < queue.size(); ++at) {
    const Item item = queue[at];
    TRY(visit(item.blob, item.depth == 0 ? nullptr : &item.parent));
    std::vector<model::Descriptor> children = TRY(Children(store, item.blob));
    if (children.empty()) continue;
    if (item.depth == kMaxIndexDepth)
      return InvalidArgumentError(root.digest.str(), ": indices nest too deeply");
    TRY(LabelChildren(store, item.blob, children));
    for (model::Descriptor& child : WantedChildren(request, item.blob, std::move(children))) {
      if (seen.insert(child.digest).second)
        queue.push_back({std::move(child), item.blob, item.depth + 1});
    }
  }
  return Ok();
}

Status ForEachAtOnce(size_t count, int limit, const std::function<Status(size_t)>& work) {
  std::mutex mutex;  // guards problem
  std::optional<Error> problem;
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  const auto run = [&] {
    while (!stop) {
      const size_t i = next++;
      if (i >= count) return;
      Status done = work(i);
      if (done.ok()) continue;
      stop = true;
      const std::lock_guard lock(mutex);
      if (!problem.has_value()) problem = std::move(done).TakeError();
    }
  };
  InParallel(static_cast<size_t>(std::max(limit, 1)), count, run);
  if (problem.has_value()) return std::move(*problem);
  return Ok();
}

}  // namespace corten::image
