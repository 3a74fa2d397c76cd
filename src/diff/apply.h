// The engine that unpacks layers: media type -> processors -> tar -> tree, with the diff ID on the
// way.
//
// Where it writes (storage.md 6):
//   one overlay mount with an upperdir, not in a user namespace   the upperdir itself, deletions as
//   overlay marks one writable bind mount of a directory, without id maps       its source,
//   deletions carried out anything else                                                 a temporary
//   mount, deletions carried out
// Layers from kPipelineBytes (compressed) on use a second thread while the call lasts.
//
// Source and callbacks of the options are used on the calling thread only. Threads: ApplyStream may
// run several times at once, on different trees. Crash: a half-unpacked tree is never committed by
// its owner; a temporary mount is left for os::SweepTempMounts.
#pragma once

#include <string>
#include <vector>

#include "diff/differ.h"
#include "diff/processor.h"
#include "diff/tree_writer.h"

namespace corten::diff {

struct EngineOptions {
  std::string temp_dir = "/tmp";  // temporary mounts are made below; must exist when one is needed
  std::vector<ProcessorConfig> processors;  // external stream processors, in order of configuration
  WarnFunction warn;  // what was left out of a layer, e.g. trusted xattrs; any thread; may be empty
  GzipEngine gzip = GzipEngine::kBest;
  bool pipeline = true;  // false: never a second thread
};

// Where a layer for `mounts` is written. `path` empty: they must be mounted first.
struct ApplyTarget {
  std::string path;
  TreeOptions tree;
};
// kInvalidArgument: malformed options.
Result<ApplyTarget> ChooseTarget(const std::vector<model::Mount>& mounts, bool in_user_namespace);

class Engine final : public StreamApplier {
 public:
  static constexpr int64_t kPipelineBytes = 1 << 20;

  explicit Engine(EngineOptions options) : options_(std::move(options)) {}

  Result<model::Descriptor> ApplyStream(const model::Descriptor& descriptor,
                                        const std::vector<model::Mount>& mounts, ByteSource& source,
                                        const ApplyOptions& options) override;

  // The same onto a directory as it is.
  Result<model::Descriptor> ApplyToDirectory(const model::Descriptor& descriptor,
                                             const std::string& path, TreeOptions tree,
                                             ByteSource& source, const ApplyOptions& options);

 private:
  const EngineOptions options_;
};

}  // namespace corten::diff
