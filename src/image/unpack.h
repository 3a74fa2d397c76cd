// Layers into snapshots: the chain of committed snapshots that an image's top layer names.
//
// For each layer whose snapshot is missing: Prepare an active snapshot, apply the layer, check its
// diff ID, Commit it under its chain ID. With `parallel` > 1 and a snapshotter that can rebase,
// layers are applied at the same time, each into an empty tree, and committed in order with their
// parents; otherwise one after the other. A layer may come straight from the network: `open_layer`
// hands out its bytes while it stores them, so the bytes are read once. Nothing is committed before
// both digests are known to be right.
//
// Crash: an active snapshot without a commit is garbage; the caller's lease holds it no longer than
// it lives. On error every active snapshot of the call is removed; layers committed before stay.
// Threads: one call uses up to `parallel` threads of its own, all ended when it returns.
// Source: unpack rules of containerd 2.3 (storage.md 8).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "content/store.h"
#include "diff/differ.h"
#include "image/manifest.h"
#include "image/progress.h"
#include "snapshot/snapshotter.h"

namespace corten::image {

// The bytes of a layer that is not in the store yet, stored on the way. Reading to the end (0)
// makes the blob durable and verified; an error or an early drop leaves a resumable ingest.
using OpenLayer =
    std::function<Result<std::unique_ptr<diff::ByteSource>>(const model::Descriptor& layer)>;

struct Unpacking {
  content::Store* content = nullptr;           // required
  snapshot::Snapshotter* snapshots = nullptr;  // required
  std::string snapshotter;                     // its name, for labels
  bool can_rebase = false;                     // the snapshotter has the capability
  diff::Differ* differ = nullptr;              // used when `applier` is null
  diff::StreamApplier* applier = nullptr;      // local engine: may be fed while downloading
  OpenLayer open_layer;  // empty: all layers are in the store. Needs `applier`
  int parallel = 1;      // layers at once
  bool sync_fs = false;
  int64_t max_layer_bytes = 0;  // > 0: limit of an unpacked layer
  ProgressSink progress;
  Canceled canceled;
};

// Unpacks `manifest` (config and layers as parsed). Returns the top chain ID (empty: no layers) and
// labels the config blob with it. kInvalidArgument: number of diff IDs, rootfs type;
// kFailedPrecondition: wrong diff id; kNotFound: a blob; others from store, snapshotter and differ.
Result<std::string> Unpack(const Unpacking& unpacking, const Manifest& manifest,
                           const ImageConfig& config);

// Reads manifest and config from the store, then Unpack.
Result<std::string> UnpackManifest(const Unpacking& unpacking, const model::Descriptor& manifest);

// Whether the top layer's snapshot is there.
Result<bool> IsUnpacked(content::Store& store, snapshot::Snapshotter& snapshots,
                        const model::Descriptor& manifest);

}  // namespace corten::image
