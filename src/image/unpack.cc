#include "image/unpack.h"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/clock.h"

namespace corten::image {

namespace {

constexpr int kPrepareTries = 3;

// Reads a stored blob from front to back.
class BlobSource final : public diff::ByteSource {
 public:
  explicit BlobSource(std::unique_ptr<content::Reader> reader) : reader_(std::move(reader)) {}
  Result<size_t> Read(std::span<char> buffer) override {
    const size_t n = TRY(reader_->ReadAt(buffer, at_));
    at_ += static_cast<int64_t>(n);
    return n;
  }

 private:
  std::unique_ptr<content::Reader> reader_;
  int64_t at_ = 0;
};

// "extract-<nanoseconds>-<4 random letters> <chain id>", unlike any other at this moment.
std::string ExtractKey(const std::string& chain_id) {
  unsigned char raw[3] = {};
  (void)!getrandom(raw, sizeof(raw), 0);  // a clash is answered by Prepare and tried again
  static constexpr char kLetters[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const uint32_t bits =
      static_cast<uint32_t>(raw[0]) << 16 | static_cast<uint32_t>(raw[1]) << 8 | raw[2];
  std::string letters;
  for (int shift = 18; shift >= 0; shift -= 6) letters.push_back(kLetters[(bits >> shift) & 63]);
  return StrCat("extract-", Now().nanos, "-", letters, " ", chain_id);
}

// An applier must see a parentless overlay snapshot as an upper directory, so that deletions become
// overlay's marks.
std::vector<model::Mount> AsUpper(std::vector<model::Mount> mounts) {
  if (mounts.size() != 1 || mounts[0].type != "bind") return mounts;
  model::Mount mount;
  mount.type = "overlay";
  mount.source = "overlay";
  mount.options = {StrCat("upperdir=", mounts[0].source)};
  return {mount};
}

class Job {
 public:
  Job(const Unpacking& unpacking, const Manifest& manifest, const ImageConfig& config)
      : with_(unpacking),
        manifest_(manifest),
        config_(config),
        chains_(ChainIds(config.diff_ids)) {}

  Result<std::string> Run() {
    if (manifest_.layers.size() != config_.diff_ids.size()) {
      return InvalidArgumentError("number of layers (", manifest_.layers.size(), ") and diff IDs (",
                                  config_.diff_ids.size(), ") don't match");
    }
    if (!config_.rootfs_type.empty() && config_.rootfs_type != "layers") {
      return InvalidArgumentError("unknown rootfs type ", Quoted(config_.rootfs_type));
    }
    if (chains_.empty()) return std::string();
    const size_t first = TRY(FirstMissing());
    if (first < chains_.size()) {
      const bool together = with_.parallel > 1 && with_.can_rebase && chains_.size() - first > 1;
      TRY(together ? ApplyTogether(first) : ApplyInOrder(first));
    }
    TRY(LabelConfig());
    return chains_.back().str();
  }

 private:
  enum class Outcome { kApplied, kPresent };

  // The lowest layer from which on nothing is committed.
  Result<size_t> FirstMissing() {
    for (size_t i = chains_.size(); i > 0; --i) {
      const Result<snapshot::Info> info = with_.snapshots->Stat(chains_[i - 1].str());
      if (info.ok()) return i;
      if (!info.error().Is(Code::kNotFound)) return info.error().Clone();
    }
    return size_t{0};
  }

  std::string ParentOf(size_t i) const { return i == 0 ? std::string() : chains_[i - 1].str(); }
  bool IsCanceled() const { return failed_ || (with_.canceled && with_.canceled()); }

  void Tell(std::string_view event, size_t i, int64_t bytes) {
    if (!with_.progress) return;
    Progress progress;
    progress.event = event;
    progress.name = IngestRef(manifest_.layers[i]);
    progress.progress = bytes;
    progress.total = manifest_.layers[i].size;
    progress.descriptor = manifest_.layers[i];
    with_.progress(progress);
  }

  model::Labels SnapshotLabels(size_t i) const {
    model::Labels labels;
    for (const auto& [key, value] : manifest_.layers[i].annotations) {
      if (key.starts_with(snapshot::kInheritedPrefix)) labels[key] = value;
    }
    labels[std::string(snapshot::kTargetLabel)] = chains_[i].str();
    labels["containerd.io/snapshot/diff-id"] = config_.diff_ids[i].str();
    if (i > 0) labels["containerd.io/snapshot/parent-chain-id"] = chains_[i - 1].str();
    return labels;
  }

  // Prepare under a fresh key. nullopt: the snapshot is there already (somebody else made it, or a
  // remote one).
  Result<std::optional<std::vector<model::Mount>>> Prepare(size_t i, const std::string& parent,
                                                           std::string* key) {
    for (int attempt = 0;; ++attempt) {
      *key = ExtractKey(chains_[i].str());
      Result<std::vector<model::Mount>> mounts =
          with_.snapshots->Prepare(*key, parent, SnapshotLabels(i));
      if (mounts.ok()) return std::optional(std::move(mounts).value());
      if (!mounts.error().Is(Code::kAlreadyExists) || attempt + 1 == kPrepareTries) {
        return std::move(mounts).TakeError().Context("failed to prepare extraction snapshot " +
                                                     Quoted(*key));
      }
      if (with_.snapshots->Stat(chains_[i].str()).ok())
        return std::optional<std::vector<model::Mount>>();
    }
  }

  Result<std::unique_ptr<diff::ByteSource>> Open(const model::Descriptor& layer) {
    Result<std::unique_ptr<content::Reader>> reader = with_.content->OpenReader(layer.digest);
    if (reader.ok())
      return std::unique_ptr<diff::ByteSource>(
          std::make_unique<BlobSource>(std::move(reader).value()));
    if (!reader.error().Is(Code::kNotFound) || !with_.open_layer)
      return std::move(reader).TakeError();
    return with_.open_layer(layer);
  }

  Status Apply(size_t i, const std::vector<model::Mount>& mounts) {
    const model::Descriptor& layer = manifest_.layers[i];
    diff::ApplyOptions options;
    options.sync_fs = with_.sync_fs;
    options.max_bytes = with_.max_layer_bytes;
    options.canceled = [this] { return IsCanceled(); };
    options.progress = [this, i](int64_t bytes) { Tell("extracting", i, bytes); };
    model::Descriptor applied;
    if (with_.applier != nullptr) {
      const std::unique_ptr<diff::ByteSource> source = TRY(Open(layer));
      applied = TRY(with_.applier->ApplyStream(layer, mounts, *source, options)
                        .Context(StrCat("failed to extract layer ", config_.diff_ids[i].str())));
      TRY(ReadToEnd(*source));  // a streamed blob is stored and verified only when its end was read
    } else {
      applied = TRY(with_.differ->Apply(layer, mounts, options)
                        .Context(StrCat("failed to extract layer ", config_.diff_ids[i].str())));
    }
    if (applied.digest != config_.diff_ids[i]) {
      return FailedPreconditionError(
          "wrong diff id ", Quoted(applied.digest.str()), " calculated on extraction ",
          Quoted(config_.diff_ids[i].str()), ", desc ", Quoted(layer.digest.str()));
    }
    return LabelLayer(i);
  }

  static Status ReadToEnd(diff::ByteSource& source) {
    char buffer[4096];
    while (true) {
      const size_t n = TRY(source.Read(buffer));
      if (n == 0) return Ok();
    }
  }

  Status LabelLayer(size_t i) {
    content::Info info;
    info.digest = manifest_.layers[i].digest;
    info.labels["containerd.io/uncompressed"] = config_.diff_ids[i].str();
    const Result<content::Info> done =
        with_.content->Update(info, {"labels.containerd.io/uncompressed"});
    // A layer whose blob is not kept (remote snapshots) has nothing to label.
    if (!done.ok() && !done.error().Is(Code::kNotFound)) return done.error().Clone();
    return Ok();
  }

  Status Commit(size_t i, const std::string& key, const std::string& rebase_parent) {
    snapshot::Snapshotter::CommitOptions options;
    options.labels = SnapshotLabels(i);
    options.parent = rebase_parent;
    const Status done = with_.snapshots->Commit(chains_[i].str(), key, options);
    if (done.ok()) {
      Tell("extracted", i, manifest_.layers[i].size);
      return Ok();
    }
    (void)with_.snapshots->Remove(key);  // not needed any more; the collector takes what stays
    if (done.error().Is(Code::kAlreadyExists)) return Ok();
    return done.error().Clone().Context("failed to commit snapshot " + Quoted(key));
  }

  Status ApplyInOrder(size_t first) {
    for (size_t i = first; i < chains_.size(); ++i) {
      if (IsCanceled()) return CanceledError("unpack: canceled");
      std::string key;
      const std::optional<std::vector<model::Mount>> mounts = TRY(Prepare(i, ParentOf(i), &key));
      if (!mounts.has_value()) continue;
      Status applied = Apply(i, *mounts);
      if (!applied.ok()) {
        (void)with_.snapshots->Remove(key);
        return applied;
      }
      TRY(Commit(i, key, ""));
    }
    return Ok();
  }

  // Workers take layers from the bottom up; the one that completes the next in line commits it and
  // its successors.
  Status ApplyTogether(size_t first) {
    struct Layer {
      std::string key;
      bool done = false;
      bool present = false;
    };
    std::vector<Layer> layers(chains_.size());
    std::mutex mutex;  // guards next, commit_next, layers and problem; held during commits, which
                       // must be in order
    size_t next = first;
    size_t commit_next = first;
    std::optional<Error> problem;
    const auto fail = [&](Error error) {
      failed_ = true;
      if (!problem.has_value()) problem = std::move(error);
    };
    const auto work = [&] {
      while (true) {
        size_t i = 0;
        {
          const std::lock_guard lock(mutex);
          if (next == chains_.size() || failed_) return;
          i = next++;
        }
        std::string key;
        Status applied;
        Result<std::optional<std::vector<model::Mount>>> mounts = Prepare(i, "", &key);
        if (!mounts.ok()) {
          applied = std::move(mounts).TakeError();
        } else if (mounts->has_value()) {
          applied = Apply(i, AsUpper(**mounts));
        }
        const std::lock_guard lock(mutex);
        const bool present = mounts.ok() && !mounts->has_value();
        if (!present) layers[i].key = key;
        if (!applied.ok()) {
          fail(std::move(applied).TakeError());
          return;
        }
        layers[i].done = true;
        layers[i].present = present;
        for (; commit_next < chains_.size() && layers[commit_next].done && !failed_;
             ++commit_next) {
          Layer& layer = layers[commit_next];
          if (layer.present) continue;
          Status committed = Commit(commit_next, layer.key, ParentOf(commit_next));
          layer.key.clear();
          if (!committed.ok()) fail(std::move(committed).TakeError());
        }
      }
    };
    std::vector<std::thread> threads;
    const size_t count =
        std::min<size_t>(static_cast<size_t>(with_.parallel), chains_.size() - first);
    for (size_t t = 1; t < count; ++t) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    if (!problem.has_value() && !IsCanceled()) return Ok();
    for (const Layer& layer : layers) {
      if (!layer.key.empty())
        (void)with_.snapshots->Remove(layer.key);  // the collector takes what stays
    }
    if (problem.has_value()) return std::move(*problem);
    return CanceledError("unpack: canceled");
  }

  Status LabelConfig() {
    content::Info info;
    info.digest = manifest_.config.digest;
    const std::string key = StrCat("containerd.io/gc.ref.snapshot.", with_.snapshotter);
    info.labels[key] = chains_.back().str();
    const content::Info done = TRY(with_.content->Update(info, {StrCat("labels.", key)}));
    return Ok();
  }

  const Unpacking& with_;
  const Manifest& manifest_;
  const ImageConfig& config_;
  const std::vector<model::Digest> chains_;
  std::atomic<bool> failed_{false};
};

}  // namespace

Result<std::string> Unpack(const Unpacking& unpacking, const Manifest& manifest,
                           const ImageConfig& config) {
  return Job(unpacking, manifest, config).Run();
}

Result<std::string> UnpackManifest(const Unpacking& unpacking, const model::Descriptor& manifest) {
  const std::string json =
      TRY(content::ReadBlob(*unpacking.content, manifest.digest, kMaxDocument));
  const Manifest parsed = TRY(ParseManifest(json).Context(manifest.digest.str()));
  const std::string config_json =
      TRY(content::ReadBlob(*unpacking.content, parsed.config.digest, kMaxConfig));
  const ImageConfig config = TRY(ParseConfig(config_json).Context(parsed.config.digest.str()));
  return Unpack(unpacking, parsed, config);
}

Result<bool> IsUnpacked(content::Store& store, snapshot::Snapshotter& snapshots,
                        const model::Descriptor& manifest) {
  const std::string json = TRY(content::ReadBlob(store, manifest.digest, kMaxDocument));
  const Manifest parsed = TRY(ParseManifest(json));
  const std::string config_json = TRY(content::ReadBlob(store, parsed.config.digest, kMaxConfig));
  const ImageConfig config = TRY(ParseConfig(config_json));
  const std::vector<model::Digest> chains = ChainIds(config.diff_ids);
  if (chains.empty()) return true;
  const Result<snapshot::Info> info = snapshots.Stat(chains.back().str());
  if (info.ok()) return true;
  if (info.error().Is(Code::kNotFound)) return false;
  return info.error().Clone();
}

}  // namespace corten::image
