#include "image/transfers.h"

#include <algorithm>

#include "image/fetch.h"
#include "image/import.h"
#include "image/manifest.h"
#include "image/progress_tracker.h"
#include "image/tree.h"
#include "image/unpack.h"

namespace corten::image {

namespace {

constexpr int64_t kLeaseSeconds = 24 * 3600;

// The caller's scope, or one with a lease that ends with the journey.
class Leased {
 public:
  static Result<std::unique_ptr<Leased>> Take(const TransferOptions& options,
                                              const model::Scope& scope) {
    auto leased = std::make_unique<Leased>();
    leased->scope_ = scope;
    if (!scope.lease.empty()) return leased;
    metadata::Lease lease;
    Time end = options.clock();
    end.seconds += kLeaseSeconds;
    lease.labels["containerd.io/gc.expire"] = FormatRfc3339({end.seconds, 0});
    lease = TRY(options.leases->Create(scope.ns, std::move(lease)));
    leased->scope_.lease = lease.id;
    leased->leases_ = options.leases;
    return leased;
  }
  ~Leased() {
    if (leases_ != nullptr)
      (void)leases_->Delete(scope_.ns, scope_.lease, /*synchronous=*/false);  // else it expires
  }
  const model::Scope& scope() const { return scope_; }

 private:
  model::Scope scope_;
  metadata::LeaseStore* leases_ = nullptr;  // set: ours to delete
};

// Content, and what unpacking needs, of one journey.
struct Workplace {
  model::Scope scope;
  std::unique_ptr<content::Store> content;
  ProgressTracker* tracker = nullptr;
  Canceled canceled;
};

Status UnpackInto(const TransferOptions& options, const Workplace& at, const UnpackTarget& target,
                  const model::Descriptor& manifest, const OpenLayer& open_layer) {
  Unpacking unpacking;
  unpacking.content = at.content.get();
  const std::unique_ptr<snapshot::Snapshotter> snapshots =
      TRY(options.stores->Snapshots(at.scope, target.snapshotter));
  unpacking.snapshots = snapshots.get();
  unpacking.snapshotter = target.snapshotter;
  unpacking.can_rebase = target.can_rebase && target.can_rebase();
  std::unique_ptr<diff::Differ> differ;
  if (options.applier == nullptr && options.make_differ) differ = options.make_differ(at.scope);
  unpacking.differ = differ.get();
  unpacking.applier = options.applier;
  unpacking.open_layer = open_layer;
  unpacking.parallel = options.max_unpacks;
  unpacking.sync_fs = options.sync_fs;
  unpacking.max_layer_bytes = options.max_layer_bytes;
  unpacking.progress = [&at](const Progress& progress) {
    at.tracker->Update(progress.descriptor, progress.event, progress.progress);
  };
  unpacking.canceled = at.canceled;
  const std::string chain = TRY(UnpackManifest(unpacking, manifest));
  return Ok();
}

}  // namespace

Status Transfers::CheckUnpacks(const StoreRequest& request) const {
  if (request.unpacks.empty()) return Ok();
  for (const UnpackWish& wish : request.unpacks) {
    for (const UnpackTarget& target : options_.unpack) {
      if (!wish.snapshotter.empty() && wish.snapshotter != target.snapshotter) continue;
      if (wish.platform.os.empty() ||
          (options_.any_architecture ? wish.platform.os == target.platform.os
                                     : Rank({target.platform}, wish.platform) >= 0)) {
        return Ok();
      }
    }
  }
  return InvalidArgumentError("unable to initialize unpacker: no unpack platforms defined");
}

const UnpackTarget* Transfers::TargetFor(const StoreRequest& request,
                                         const model::Platform& platform) const {
  if (platform.os.empty()) return nullptr;
  for (const UnpackWish& wish : request.unpacks) {
    if (!wish.platform.os.empty() && Rank({wish.platform}, platform) < 0) continue;
    for (const UnpackTarget& target : options_.unpack) {
      if (!wish.snapshotter.empty() && wish.snapshotter != target.snapshotter) continue;
      if (options_.any_architecture ? target.platform.os == platform.os
                                    : Rank({target.platform}, platform) >= 0)
        return &target;
    }
  }
  return nullptr;
}

Status Transfers::Import(const model::Scope& caller, diff::ByteSource& archive,
                         const StoreRequest& request, bool compress, const ProgressSink& progress,
                         const Canceled& canceled) {
  const std::unique_ptr<Leased> lease = TRY(Leased::Take(options_, caller));
  ProgressTracker tracker(progress);
  tracker.Line("Importing");
  Workplace at{lease->scope(), options_.stores->Content(lease->scope()), &tracker, canceled};
  ImportOptions import_options;
  import_options.compress = compress;
  import_options.canceled = canceled;
  const model::Descriptor index = TRY(ImportArchive(*at.content, archive, import_options));

  TRY(CheckUnpacks(request));
  std::vector<model::Descriptor> manifests;
  TRY(WalkTree(*at.content, request, index,
               [&](const model::Descriptor& blob, const model::Descriptor*) -> Status {
                 if (canceled && canceled()) return CanceledError("import: canceled");
                 if (model::IsManifestType(blob.media_type)) {
                   manifests.push_back(blob);
                 } else if (!model::IsIndexType(blob.media_type)) {
                   const content::Info there = TRY(at.content->GetInfo(
                       blob.digest));  // named by the image, so it must be there
                 }
                 return Ok();
               }));
  if (!request.unpacks.empty()) {
    for (const model::Descriptor& manifest : manifests) {
      const model::Platform platform = TRY(PlatformOf(*at.content, manifest));
      const UnpackTarget* target = TargetFor(request, platform);
      if (target != nullptr) TRY(UnpackInto(options_, at, *target, manifest, {}));
    }
  }
  std::vector<metadata::Image> saved = TRY(
      SaveImages(*options_.images, at.scope, request, index, Origin::kRequest, options_.clock()));
  const std::vector<model::Descriptor> entries = TRY(Children(*at.content, index));
  for (const model::Descriptor& entry : entries) {
    if (entry.annotations.contains("io.containerd.manifest.subject"))
      continue;  // a referrer, not an image
    std::vector<metadata::Image> more = TRY(
        SaveImages(*options_.images, at.scope, request, entry, Origin::kArchive, options_.clock()));
    for (metadata::Image& image : more) saved.push_back(std::move(image));
  }
  for (const metadata::Image& image : saved) tracker.Root(image.name, "saved", image.target);
  tracker.Line("Completed import");
  return Ok();
}

Result<std::vector<metadata::Image>> Transfers::Find(const model::Scope& scope,
                                                     const StoreRequest& source) {
  std::vector<metadata::Image> out;
  if (!source.name.empty()) {
    metadata::Image image = TRY(options_.images->Get(scope.ns, source.name));
    out.push_back(std::move(image));
  }
  for (const ExtraReference& extra : source.extra_references) {
    if (!extra.is_prefix) {
      metadata::Image image = TRY(options_.images->Get(scope.ns, extra.name));
      out.push_back(std::move(image));
      continue;
    }
    std::vector<metadata::Image> all = TRY(options_.images->List(scope.ns, {}));
    for (metadata::Image& image : all) {
      if (image.name.starts_with(extra.name)) out.push_back(std::move(image));
    }
  }
  return out;
}

Status Transfers::Export(const model::Scope& scope, const StoreRequest& source,
                         diff::ByteSink& archive, ExportOptions options,
                         const ProgressSink& progress) {
  ProgressTracker tracker(progress);
  tracker.Line("Exporting");
  const std::vector<metadata::Image> images = TRY(Find(scope, source));
  const std::unique_ptr<content::Store> store = options_.stores->Content(scope);
  if (options.platforms.empty()) options.platforms = source.platforms;
  TRY(ExportImages(*store, images, archive, options));
  tracker.Line("Completed export");
  return Ok();
}

Status Transfers::Tag(const model::Scope& scope, const StoreRequest& source,
                      const StoreRequest& destination) {
  if (source.name.empty() || destination.name.empty())
    return InvalidArgumentError("tag: image name is missing");
  const metadata::Image image = TRY(options_.images->Get(scope.ns, source.name));
  StoreRequest request = destination;
  if (request.labels.empty()) request.labels = image.labels;
  const std::vector<metadata::Image> saved = TRY(SaveImages(
      *options_.images, scope, request, image.target, Origin::kRequest, options_.clock()));
  return Ok();
}

// One pull, once its lease and registry are there.
class Puller {
 public:
  Puller(const Transfers& transfers, const StoreRequest& request, const Workplace& at,
         Registry* registry)
      : transfers_(transfers),
        options_(transfers.options_),
        request_(request),
        at_(at),
        fetcher_(at.content.get(), registry, at.tracker, at.canceled) {}

  Status Run(const model::Descriptor& root) {
    TRY(FetchDocuments(root));
    TRY(ForEachAtOnce(configs_.size(), options_.max_downloads,
                      [&](size_t i) { return fetcher_.Fetch(configs_[i]); }));
    TRY(UnpackManifests());
    return ForEachAtOnce(layers_.size(), options_.max_downloads,
                         [&](size_t i) { return fetcher_.Fetch(layers_[i]); });
  }

 private:
  struct Document {
    model::Descriptor blob;
    std::vector<model::Descriptor> children;
  };

  // Manifests and indices, level by level.
  Status FetchDocuments(const model::Descriptor& root) {
    at_.tracker->Add(root, nullptr);
    std::set<model::Digest> seen = {root.digest};
    std::vector<Document> level = {{root, {}}};
    for (int depth = 0; !level.empty(); ++depth) {
      if (depth == kMaxIndexDepth)
        return InvalidArgumentError(root.digest.str(), ": indices nest too deeply");
      TRY(ForEachAtOnce(level.size(), options_.max_downloads,
                        [&](size_t i) { return FetchDocument(&level[i]); }));
      std::vector<Document> next;
      for (const Document& document : level) {
        const bool is_manifest = model::IsManifestType(document.blob.media_type);
        if (is_manifest) manifests_.push_back(document.blob);
        for (const model::Descriptor& child : document.children) {
          at_.tracker->Add(child, &document.blob);
          if (!seen.insert(child.digest).second) continue;
          if (model::IsManifestType(child.media_type) || model::IsIndexType(child.media_type)) {
            next.push_back({child, {}});
          } else if (is_manifest && model::IsLayerType(child.media_type)) {
            layers_.push_back(child);
          } else {
            configs_.push_back(child);
          }
        }
      }
      level = std::move(next);
    }
    return Ok();
  }

  Status FetchDocument(Document* document) {
    if (document->blob.size > kMaxDocument)
      return ResourceExhaustedError("rejecting ", document->blob.size, " byte manifest ",
                                    document->blob.digest.str());
    TRY(fetcher_.Fetch(document->blob));
    std::vector<model::Descriptor> children = TRY(Children(*at_.content, document->blob));
    TRY(LabelChildren(*at_.content, document->blob, children));
    document->children = WantedChildren(request_, document->blob, std::move(children));
    return Ok();
  }

  // Straight into snapshots what is wished; those layers are then no longer fetched for themselves.
  Status UnpackManifests() {
    if (request_.unpacks.empty()) return Ok();
    std::set<std::pair<model::Digest, std::string>> done;
    for (const model::Descriptor& manifest : manifests_) {
      Result<model::Platform> platform = PlatformOf(*at_.content, manifest);
      if (!platform.ok() && platform.error().Is(Code::kInvalidArgument))
        continue;  // an artifact, whose config is no image's
      if (!platform.ok()) return std::move(platform).TakeError();
      if (!request_.platforms.empty() && Rank(request_.platforms, *platform) < 0) continue;
      const UnpackTarget* target = transfers_.TargetFor(request_, *platform);
      if (target == nullptr || !done.insert({manifest.digest, target->snapshotter}).second)
        continue;
      OpenLayer open;
      std::set<model::Digest> own;
      const std::vector<model::Descriptor> children = TRY(Children(*at_.content, manifest));
      for (const model::Descriptor& child : children) {
        if (model::IsLayerType(child.media_type)) own.insert(child.digest);
      }
      if (options_.applier != nullptr) {
        open = [this](const model::Descriptor& layer) { return fetcher_.Open(layer); };
        std::erase_if(layers_,
                      [&](const model::Descriptor& layer) { return own.contains(layer.digest); });
      } else {
        std::vector<model::Descriptor> mine;
        for (const model::Descriptor& layer : layers_) {
          if (own.contains(layer.digest)) mine.push_back(layer);
        }
        TRY(ForEachAtOnce(mine.size(), options_.max_downloads,
                          [&](size_t i) { return fetcher_.Fetch(mine[i]); }));
      }
      TRY(UnpackInto(options_, at_, *target, manifest, open));
    }
    return Ok();
  }

  const Transfers& transfers_;
  const TransferOptions& options_;
  const StoreRequest& request_;
  const Workplace& at_;
  Fetcher fetcher_;
  std::vector<model::Descriptor> manifests_;
  std::vector<model::Descriptor> configs_;  // and whatever else is no layer
  std::vector<model::Descriptor> layers_;
};

Status Transfers::Pull(const model::Scope& caller, const std::string& reference,
                       const RegistryOptions& registry_options, const StoreRequest& request,
                       const ProgressSink& progress, const Canceled& canceled) {
  const std::unique_ptr<Leased> lease = TRY(Leased::Take(options_, caller));
  ProgressTracker tracker(progress);
  const std::string from = StrCat("OCI Registry (", reference, ")");
  tracker.Line(StrCat("Resolving from ", from));
  RegistryOptions with_cancel = registry_options;
  with_cancel.canceled = canceled;
  const std::unique_ptr<Registry> registry =
      TRY(Registry::Open(reference, std::move(with_cancel)).Context("failed to resolve image"));
  const model::Descriptor root = TRY(registry->Resolve().Context("failed to resolve image"));
  tracker.Line(StrCat("Pulling from ", from));
  tracker.Root(request.name.empty() ? reference : request.name, "fetching image content", root);
  TRY(CheckUnpacks(request));
  Workplace at{lease->scope(), options_.stores->Content(lease->scope()), &tracker, canceled};
  TRY(Puller(*this, request, at, registry.get()).Run(root));
  const std::vector<metadata::Image> saved = TRY(
      SaveImages(*options_.images, at.scope, request, root, Origin::kRequest, options_.clock()));
  if (saved.empty()) return NotFoundError("no image name found");
  for (const metadata::Image& image : saved) tracker.Root(image.name, "saved", image.target);
  tracker.Line(StrCat("Completed pull from ", from));
  return Ok();
}

}  // namespace corten::image
