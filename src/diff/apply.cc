#include "diff/apply.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/dir.h"
#include "base/failpoint.h"
#include "base/strcat.h"
#include "diff/pipeline.h"
#include "diff/tar_reader.h"
#include "os/mount.h"
#include "os/mount_options.h"

namespace corten::diff {

namespace {

// Compressed bytes on their way in, counted for the progress callback.
class CountedSource final : public ByteSource {
 public:
  CountedSource(ByteSource& source, const ApplyOptions& options)
      : source_(source), options_(options) {}
  Result<size_t> Read(std::span<char> buffer) override {
    const size_t n = TRY(source_.Read(buffer));
    count_ += static_cast<int64_t>(n);
    if (n > 0 && options_.progress) options_.progress(count_);
    return n;
  }

 private:
  ByteSource& source_;
  const ApplyOptions& options_;
  int64_t count_ = 0;
};

// The first line of the id map is the identity over all ids only in the initial user namespace.
bool InUserNamespace() {
  const Result<std::string> map = ReadFileAt("/proc/self/uid_map", 64 << 10);
  if (!map.ok()) return false;
  std::vector<std::string> words;
  std::string word;
  for (const char c : *map) {
    if (c != ' ' && c != '\n') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words != std::vector<std::string>{"0", "0", "4294967295"};
}

Status WriteTree(ChunkSource& chunks, const std::string& path, const TreeOptions& options) {
  Dir root = TRY(Dir::Open(path));
  const std::unique_ptr<TreeWriter> tree = TRY(TreeWriter::Open(std::move(root), options));
  TarReader reader(chunks);
  while (true) {
    const TarEntry* entry = TRY(reader.Next());
    if (entry == nullptr) break;
    TRY(tree->Add(*entry, reader));
  }
  TRY(tree->Finish());
  // Bytes behind the archive's end belong to the diff ID.
  return reader.Drain();
}

Status SyncFilesystem(const std::string& path) {
  const Dir dir = TRY(Dir::Open(path));
  if (syncfs(dir.fd().get()) != 0) return ErrnoError(errno, "sync filesystem");
  return Ok();
}

}  // namespace

Result<ApplyTarget> ChooseTarget(const std::vector<model::Mount>& mounts, bool in_user_namespace) {
  ApplyTarget target;
  target.tree.in_user_namespace = in_user_namespace;
  if (mounts.size() != 1 || !mounts[0].target.empty()) return target;
  const model::Mount& mount = mounts[0];
  const os::MountWords words = TRY(os::ParseMountOptions(mount.options));
  if (mount.type == "overlay") {
    const os::OverlayWords overlay = os::ParseOverlay(words.data);
    if (overlay.upper.empty() || in_user_namespace) return target;
    target.path = overlay.upper;
    target.tree.whiteouts = Whiteouts::kOverlay;
    target.tree.lowers = overlay.lower;
    const auto& others = overlay.others;
    target.tree.user_xattrs = std::find(others.begin(), others.end(), "userxattr") != others.end();
    return target;
  }
  const auto harmless = [](const std::string& option) {
    return option == "rw" || option == "bind" || option == "rbind";
  };
  const bool plain = std::all_of(mount.options.begin(), mount.options.end(), harmless);
  struct stat st = {};
  if (mount.type == "bind" && plain && stat(mount.source.c_str(), &st) == 0 && S_ISDIR(st.st_mode))
    target.path = mount.source;
  return target;
}

Result<model::Descriptor> Engine::ApplyToDirectory(const model::Descriptor& descriptor,
                                                   const std::string& path, TreeOptions tree,
                                                   ByteSource& source,
                                                   const ApplyOptions& options) {
  CountedSource counted(source, options);
  const std::unique_ptr<ProcessorChain> plain =
      TRY(ProcessorChain::Open(counted, descriptor.media_type, options_.processors,
                               options.processor_payloads, options_.gzip));
  StreamReader reader(*plain, options);
  tree.warn = options_.warn;
  const auto write = [&](ChunkSource& chunks) { return WriteTree(chunks, path, tree); };

  StreamSummary summary;
  bool done = false;
  if (options_.pipeline && (descriptor.size <= 0 || descriptor.size >= kPipelineBytes)) {
    Pipeline pipeline(reader);
    Status status = pipeline.Run(write);
    if (!status.ok() && pipeline.started()) return std::move(status).TakeError();
    done = status.ok();
    if (done) summary = pipeline.Summary();
  }
  if (!done) {
    SerialStream stream(reader);
    TRY(write(stream));
    summary = stream.Summary();
  }
  FAILPOINT("diff.apply.written");
  if (options.sync_fs && !FAILPOINT_SKIPS("diff.apply.flush")) TRY(SyncFilesystem(path));
  model::Descriptor result;
  result.media_type = model::media_type::kOciLayer;
  result.digest = TRY(model::Digest::Parse(summary.digest));
  result.size = summary.size;
  return result;
}

Result<model::Descriptor> Engine::ApplyStream(const model::Descriptor& descriptor,
                                              const std::vector<model::Mount>& mounts,
                                              ByteSource& source, const ApplyOptions& options) {
  const ApplyTarget target = TRY(ChooseTarget(mounts, InUserNamespace()));
  if (!target.path.empty())
    return ApplyToDirectory(descriptor, target.path, target.tree, source, options);
  std::optional<model::Descriptor> result;
  TRY(os::WithTempMount(options_.temp_dir, mounts, [&](const std::string& path) -> Status {
    result = TRY(ApplyToDirectory(descriptor, path, target.tree, source, options));
    return Ok();
  }));
  return std::move(*result);
}

}  // namespace corten::diff
