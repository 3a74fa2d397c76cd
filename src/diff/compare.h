// Makes a layer of the difference between two directory trees.
//
// Both trees are walked together in path order ('/' sorts before everything else). What counts as
// the same, what an entry looks like and how hard links are told follows containerd 2.3 (storage.md
// 7), so that the same trees give the same tar bytes. Changes while the walk runs give a layer of
// some moment in between, or an error; never a damaged archive. Threads: one call per thread.
// Nothing is written but to the sink.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/dir.h"
#include "base/error.h"
#include "content/store.h"
#include "diff/differ.h"
#include "diff/processor.h"

namespace corten::diff {

struct TreeCompareOptions {
  std::optional<Time> source_date_epoch;  // no time in the layer is later
  std::function<bool()> canceled;         // may be empty
};

// Writes the layer that turns `lower` into `upper` as an uncompressed tar. Unix sockets are left
// out. kCanceled; kAborted: a file became shorter while it was read; else by errno.
Status CompareTrees(const Dir& lower, const Dir& upper, ByteSink& sink,
                    const TreeCompareOptions& options);

struct WalkingOptions {
  std::string temp_dir = "/tmp";  // temporary mounts are made below
};

// The differ of containerd's name "walking": blobs from and to `store`, trees by mounting both
// sides. Threads: any. Crash: a half-written layer is an ingest, not a blob.
class WalkingDiffer final : public Differ {
 public:
  // Both are borrowed for the differ's life.
  WalkingDiffer(content::Store& store, StreamApplier& applier, WalkingOptions options)
      : store_(store), applier_(applier), options_(std::move(options)) {}

  Result<model::Descriptor> Apply(const model::Descriptor& descriptor,
                                  const std::vector<model::Mount>& mounts,
                                  const ApplyOptions& options) override;
  Result<model::Descriptor> Compare(const std::vector<model::Mount>& lower,
                                    const std::vector<model::Mount>& upper,
                                    const CompareOptions& options) override;

 private:
  Result<model::Descriptor> WriteLayer(const Dir& lower, const Dir& upper,
                                       const std::string& media_type, Compression compression,
                                       const std::string& reference, const CompareOptions& options);

  content::Store& store_;
  StreamApplier& applier_;
  const WalkingOptions options_;
};

// A blob as a stream. `reader` is borrowed.
class BlobSource final : public ByteSource {
 public:
  explicit BlobSource(content::Reader& reader) : reader_(reader) {}
  Result<size_t> Read(std::span<char> buffer) override;

 private:
  content::Reader& reader_;
  int64_t offset_ = 0;
};

}  // namespace corten::diff
