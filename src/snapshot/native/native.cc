#include "snapshot/native/native.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/failpoint.h"
#include "snapshot/disk_usage.h"
#include "snapshot/native/copy_tree.h"
#include "snapshot/tree_store.h"

namespace corten::snapshot::native {

namespace {

constexpr mode_t kTopMode = 0755;

class NativeDriver final : public Driver {
 public:
  NativeDriver(Config config, std::unique_ptr<TreeStore> trees)
      : config_(std::move(config)), trees_(std::move(trees)) {}

  Result<std::vector<model::Mount>> Prepare(const std::string& key, const std::string& parent,
                                            const model::Labels& labels) override {
    return Create(Kind::kActive, key, parent, labels);
  }
  Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                         const model::Labels& labels) override {
    return Create(Kind::kView, key, parent, labels);
  }
  Result<std::vector<model::Mount>> Mounts(const std::string& key) override {
    const Chain chain = TRY(trees_->rows().GetChain(key));
    if (chain.record.info.kind == Kind::kCommitted)
      return FailedPreconditionError("snapshot ", key, " is neither active nor a view");
    return MountsOf(chain);
  }
  Status Commit(const std::string& name, const std::string& key,
                const CommitOptions& options) override;
  Status Remove(const std::string& key) override {
    return trees_->Remove(key, TreeStore::RemoveNow::kYes);
  }
  std::vector<Status> RemoveMany(const std::vector<std::string>& keys) override {
    return trees_->RemoveMany(keys, TreeStore::RemoveNow::kYes);
  }
  Result<Info> Stat(const std::string& key) override {
    Record record = TRY(trees_->rows().Get(key));
    return std::move(record.info);
  }
  Result<Info> Update(const Info& info, const FieldPaths& paths) override {
    return trees_->rows().Update(info, paths);
  }
  Status Walk(const Filters& filters, const std::function<Status(const Info&)>& visit) override {
    return trees_->rows().Walk(filters, [&](const Record& record) { return visit(record.info); });
  }
  Result<Usage> GetUsage(const std::string& key) override {
    const Record record = TRY(trees_->rows().Get(key));
    if (record.info.kind == Kind::kActive) return Measure(record.id);
    return record.usage;
  }
  Status Cleanup() override { return trees_->Cleanup(); }
  std::vector<std::string> Capabilities() override { return {}; }
  std::map<std::string, std::string> Exports() const override { return {{"root", config_.root}}; }

 private:
  Result<std::vector<model::Mount>> Create(Kind kind, const std::string& key,
                                           const std::string& parent, const model::Labels& labels);
  Status FillTree(const Dir& dir, const TreeStore::NewTree& what) const;
  std::vector<model::Mount> MountsOf(const Chain& chain) const;
  Result<Usage> Measure(uint64_t id) const {
    const Dir tree = TRY(trees_->OpenTree(id));
    return MeasureTree(tree);
  }

  const Config config_;
  const std::unique_ptr<TreeStore> trees_;
};

Status NativeDriver::FillTree(const Dir& dir, const TreeStore::NewTree& what) const {
  if (fchmod(dir.fd().get(), kTopMode) != 0) return ErrnoError(errno, "set mode of ", dir.path());
  if (what.parent_ids.empty()) return Ok();
  const Dir parent = TRY(trees_->OpenTree(what.parent_ids.front()));
  TRY(CopyTree(parent, dir));
  // The copy is our bytes, so it stands on the disk before the row that names it (I2).
  if (syncfs(dir.fd().get()) != 0) return ErrnoError(errno, "flush ", dir.path());
  return Ok();
}

Result<std::vector<model::Mount>> NativeDriver::Create(Kind kind, const std::string& key,
                                                       const std::string& parent,
                                                       const model::Labels& labels) {
  Info info;
  info.kind = kind;
  info.name = key;
  info.parent = parent;
  info.labels = labels;
  TreeStore::Fill fill;
  if (kind == Kind::kActive || parent.empty()) {
    fill = [this](const Dir& dir, const TreeStore::NewTree& what) { return FillTree(dir, what); };
  }
  const Chain chain = TRY(trees_->Create(info, fill));
  return MountsOf(chain);
}

std::vector<model::Mount> NativeDriver::MountsOf(const Chain& chain) const {
  const bool active = chain.record.info.kind == Kind::kActive;
  const bool own = active || chain.parent_ids.empty();
  model::Mount mount;
  mount.type = "bind";
  mount.source = trees_->Path(own ? chain.record.id : chain.parent_ids.front());
  mount.options = {"rbind", active ? "rw" : "ro"};
  return {mount};
}

Status NativeDriver::Commit(const std::string& name, const std::string& key,
                            const CommitOptions& options) {
  if (!options.parent.empty())
    return UnimplementedError(
        "native: a snapshot that was prepared without a parent holds no copy of one");
  const Record record = TRY(trees_->rows().Get(key));
  if (record.info.kind != Kind::kActive)
    return FailedPreconditionError("snapshot ", key, " is not active");
  const Usage usage = TRY(Measure(record.id));
  FAILPOINT("snapshot.commit.measured");
  TRY(trees_->rows().Commit(name, key, record.id, options, usage));
  FAILPOINT("snapshot.commit.done");
  return Ok();
}

}  // namespace

Result<std::unique_ptr<Driver>> Open(const Config& config) {
  std::unique_ptr<TreeStore> trees = TRY(TreeStore::Open(config.root));
  return std::unique_ptr<Driver>(std::make_unique<NativeDriver>(config, std::move(trees)));
}

}  // namespace corten::snapshot::native
