// The journeys of images: into the store from an archive or a registry, out of it into an archive,
// under another name.
//
// Every journey that adds something works under a lease: the caller's, or one of its own that lives
// 24 hours at most and goes at the end. So what is half done is safe from the collector while it is
// being done, and garbage after a crash. Only contracts are used: the stores may be the daemon's
// database or a remote daemon (`applier` is null then, and layers are unpacked by `make_differ`'s
// differ). Threads: all methods, any thread; a call blocks until its journey ends and uses threads
// of its own meanwhile. Source: transfer service of containerd 2.3 (images.md 10 and 12).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "diff/differ.h"
#include "image/export.h"
#include "image/progress.h"
#include "image/registry.h"
#include "image/save.h"
#include "metadata/scoped_stores.h"
#include "metadata/stores.h"
#include "model/scope.h"

namespace corten::image {

class ProgressTracker;

// Where images of a platform may be unpacked.
struct UnpackTarget {
  model::Platform platform;
  std::string snapshotter;
  // Whether the snapshotter sets a parent at commit: then layers are unpacked at the same time.
  // Asked at each unpacking, since finding out may take a probe; null: no.
  std::function<bool()> can_rebase;
};

struct TransferOptions {
  metadata::ScopedStores* stores = nullptr;  // all borrowed for the life of Transfers
  metadata::ImageStore* images = nullptr;
  metadata::LeaseStore* leases = nullptr;
  diff::StreamApplier* applier = nullptr;  // null: make_differ
  std::function<std::unique_ptr<diff::Differ>(const model::Scope&)> make_differ;
  std::vector<UnpackTarget> unpack;  // what wishes to unpack are matched against
  int max_downloads = 3;             // of one journey, at once
  int max_unpacks = 3;               // layers of one image, at once; 1: one after the other
  bool any_architecture = true;      // targets take every architecture of their operating system
  bool sync_fs = false;              // flush what was unpacked before its snapshot is committed
  int64_t max_layer_bytes = 0;       // > 0: limit of one unpacked layer
  WallClock clock = &Now;
};

class Transfers {
 public:
  explicit Transfers(TransferOptions options) : options_(std::move(options)) {}

  // Reads the archive, stores its content, unpacks what is wished, writes the names. Names that the
  // archive does not give are not an error. Errors as ImportArchive, WalkTree, Unpack and the
  // stores.
  Status Import(const model::Scope& scope, diff::ByteSource& archive, const StoreRequest& request,
                bool compress, const ProgressSink& progress, const Canceled& canceled);

  // Writes the images named by `source` (its name and extra references). kNotFound: `image "x": not
  // found`.
  Status Export(const model::Scope& scope, const StoreRequest& source, diff::ByteSink& archive,
                ExportOptions options, const ProgressSink& progress);

  // Gives source.name's target the names of `destination`. kNotFound; kInvalidArgument: a name is
  // missing.
  Status Tag(const model::Scope& scope, const StoreRequest& source,
             const StoreRequest& destination);

  // Resolves `reference` (a registry's host first), fetches what `request` wants, layers straight
  // into their snapshots where they are to be unpacked, then writes the names. A journey that was
  // cut goes on where its ingests end. Errors as Registry, Unpack and the stores; `failed to
  // resolve image: ...`.
  Status Pull(const model::Scope& scope, const std::string& reference,
              const RegistryOptions& registry, const StoreRequest& request,
              const ProgressSink& progress, const Canceled& canceled);

 private:
  Result<std::vector<metadata::Image>> Find(const model::Scope& scope, const StoreRequest& source);
  // kInvalidArgument: something is to be unpacked, but nowhere that is configured.
  Status CheckUnpacks(const StoreRequest& request) const;
  // What `wishes` and the configuration agree on for an image of `platform`; null: it is not
  // unpacked.
  const UnpackTarget* TargetFor(const StoreRequest& request, const model::Platform& platform) const;

  const TransferOptions options_;
  friend class Puller;
};

}  // namespace corten::image
