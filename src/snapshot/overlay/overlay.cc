#include "snapshot/overlay/overlay.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "base/failpoint.h"
#include "snapshot/disk_usage.h"
#include "snapshot/id_owner.h"
#include "snapshot/overlay/kernel_support.h"
#include "snapshot/tree_store.h"

namespace corten::snapshot::overlay {

namespace {

constexpr mode_t kUpperMode = 0755;
constexpr mode_t kWorkMode = 0711;

class OverlayDriver final : public Driver {
 public:
  OverlayDriver(Config config, std::unique_ptr<TreeStore> trees)
      : config_(std::move(config)), trees_(std::move(trees)) {}

  Result<std::vector<model::Mount>> Prepare(const std::string& key, const std::string& parent,
                                            const model::Labels& labels) override {
    return Create(Kind::kActive, key, parent, labels);
  }
  Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                         const model::Labels& labels) override {
    return Create(Kind::kView, key, parent, labels);
  }
  Result<std::vector<model::Mount>> Mounts(const std::string& key) override;
  Status Commit(const std::string& name, const std::string& key,
                const CommitOptions& options) override;
  Status Remove(const std::string& key) override {
    return trees_->Remove(
        key, config_.sync_remove ? TreeStore::RemoveNow::kYes : TreeStore::RemoveNow::kNo);
  }
  std::vector<Status> RemoveMany(const std::vector<std::string>& keys) override {
    return trees_->RemoveMany(
        keys, config_.sync_remove ? TreeStore::RemoveNow::kYes : TreeStore::RemoveNow::kNo);
  }
  Result<Info> Stat(const std::string& key) override {
    Record record = TRY(trees_->rows().Get(key));
    return Shown(std::move(record.info), record.id);
  }
  Result<Info> Update(const Info& info, const FieldPaths& paths) override;
  Status Walk(const Filters& filters, const std::function<Status(const Info&)>& visit) override {
    return trees_->rows().Walk(
        filters, [&](const Record& record) { return visit(Shown(record.info, record.id)); });
  }
  Result<Usage> GetUsage(const std::string& key) override;
  Status Cleanup() override { return trees_->Cleanup(); }
  std::vector<std::string> Capabilities() override;
  std::map<std::string, std::string> Exports() const override { return {{"root", config_.root}}; }

 private:
  Result<std::vector<model::Mount>> Create(Kind kind, const std::string& key,
                                           const std::string& parent, const model::Labels& labels);
  Status FillTree(const Dir& dir, const TreeStore::NewTree& what) const;
  std::vector<model::Mount> MountsOf(const Chain& chain);
  std::string Upper(uint64_t id) const { return StrCat(trees_->Path(id), "/fs"); }
  std::string Work(uint64_t id) const { return StrCat(trees_->Path(id), "/work"); }
  Info Shown(Info info, uint64_t id) const;
  bool RemapsIds();
  Result<Usage> Measure(uint64_t id) const;

  const Config config_;  // mount_options completed by Open
  const std::unique_ptr<TreeStore> trees_;
  std::once_flag probed_;
  bool remaps_ids_ = false;  // set once, under probed_
};

Info OverlayDriver::Shown(Info info, uint64_t id) const {
  if (config_.upperdir_label) info.labels[std::string(kUpperdirLabel)] = Upper(id);
  return info;
}

bool OverlayDriver::RemapsIds() {
  std::call_once(probed_, [this] { remaps_ids_ = TakesIdMappedLayers(trees_->trees()); });
  return remaps_ids_;
}

std::vector<std::string> OverlayDriver::Capabilities() {
  std::vector<std::string> capabilities;
  if (RemapsIds()) capabilities.emplace_back(kCapabilityRemapIds);
  if (!config_.slow_chown) capabilities.emplace_back(kCapabilityOnlyRemapIds);
  if (!InUserNamespace()) capabilities.emplace_back(kCapabilityRebase);
  return capabilities;
}

Status OverlayDriver::FillTree(const Dir& dir, const TreeStore::NewTree& what) const {
  const Dir upper = TRY(dir.MakeDir("fs", kUpperMode));
  std::optional<Owner> owner = TRY(MappedRoot(what.info.labels));
  if (!owner.has_value() && !what.parent_ids.empty()) {
    // The merged root shows the upper directory's owner, so it has to be the parent's.
    const std::string parent = StrCat(what.parent_ids.front(), "/fs");
    struct stat st = {};
    if (fstatat(trees_->trees().fd().get(), parent.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "stat ", trees_->trees().Path(parent)).WithCode(Code::kDataLoss);
    }
    owner = Owner{st.st_uid, st.st_gid};
  }
  if (owner.has_value() && (owner->uid != geteuid() || owner->gid != getegid())) {
    if (fchown(upper.fd().get(), owner->uid, owner->gid) != 0)
      return ErrnoError(errno, "set owner of ", upper.path());
  }
  if (what.info.kind == Kind::kActive) TRY(dir.MakeDir("work", kWorkMode));
  return Ok();
}

Result<std::vector<model::Mount>> OverlayDriver::Create(Kind kind, const std::string& key,
                                                        const std::string& parent,
                                                        const model::Labels& labels) {
  Info info;
  info.kind = kind;
  info.name = key;
  info.parent = parent;
  info.labels = labels;
  const Chain chain =
      TRY(trees_->Create(info, [this](const Dir& dir, const TreeStore::NewTree& what) {
        return FillTree(dir, what);
      }));
  return MountsOf(chain);
}

Result<std::vector<model::Mount>> OverlayDriver::Mounts(const std::string& key) {
  const Chain chain = TRY(trees_->rows().GetChain(key));
  if (chain.record.info.kind == Kind::kCommitted)
    return FailedPreconditionError("snapshot ", key, " is neither active nor a view");
  return MountsOf(chain);
}

std::vector<model::Mount> OverlayDriver::MountsOf(const Chain& chain) {
  const bool active = chain.record.info.kind == Kind::kActive;
  model::Mount mount;
  const model::Labels& labels = chain.record.info.labels;
  for (const auto& [label, option] :
       {std::pair(kUidMappingLabel, "uidmap="), std::pair(kGidMappingLabel, "gidmap=")}) {
    const auto found = labels.find(label);
    if (found != labels.end() && RemapsIds()) mount.options.push_back(option + found->second);
  }
  const bool alone = chain.parent_ids.empty();
  if (alone || (!active && chain.parent_ids.size() == 1)) {
    mount.type = "bind";
    mount.source = Upper(alone ? chain.record.id : chain.parent_ids.front());
    mount.options.emplace_back(active ? "rw" : "ro");
    mount.options.emplace_back("rbind");
    return {mount};
  }
  mount.type = "overlay";
  mount.source = "overlay";
  if (active) {
    mount.options.push_back(StrCat("workdir=", Work(chain.record.id)));
    mount.options.push_back(StrCat("upperdir=", Upper(chain.record.id)));
  }
  std::string lower = "lowerdir=";
  for (const uint64_t id : chain.parent_ids) {
    if (lower.back() != '=') lower.push_back(':');
    lower += Upper(id);
  }
  mount.options.push_back(std::move(lower));
  mount.options.insert(mount.options.end(), config_.mount_options.begin(),
                       config_.mount_options.end());
  return {mount};
}

Result<Usage> OverlayDriver::Measure(uint64_t id) const {
  const Dir tree = TRY(trees_->OpenTree(id));
  const Dir upper = TRY(tree.OpenDir("fs"));
  return MeasureTree(upper);
}

Status OverlayDriver::Commit(const std::string& name, const std::string& key,
                             const CommitOptions& options) {
  const Record record = TRY(trees_->rows().Get(key));
  if (record.info.kind != Kind::kActive)
    return FailedPreconditionError("snapshot ", key, " is not active");
  const Usage usage = TRY(Measure(record.id));
  if (config_.sync_commit && !FAILPOINT_SKIPS("snapshot.commit.flush") &&
      syncfs(trees_->trees().fd().get()) != 0)
    return ErrnoError(errno, "flush ", trees_->trees().path());
  FAILPOINT("snapshot.commit.measured");
  TRY(trees_->rows().Commit(name, key, record.id, options, usage));
  FAILPOINT("snapshot.commit.done");
  return Ok();
}

Result<Info> OverlayDriver::Update(const Info& info, const FieldPaths& paths) {
  Info given = info;
  given.labels.erase(
      std::string(kUpperdirLabel));  // comes back from clients that change what Stat told them
  Info updated = TRY(trees_->rows().Update(given, paths));
  if (!config_.upperdir_label) return updated;
  const Record record = TRY(trees_->rows().Get(updated.name));
  return Shown(std::move(updated), record.id);
}

Result<Usage> OverlayDriver::GetUsage(const std::string& key) {
  const Record record = TRY(trees_->rows().Get(key));
  if (record.info.kind == Kind::kActive) return Measure(record.id);
  return record.usage;
}

Status CheckFileTypes(const Dir& dir, const std::string& root) {
  const bool types = TRY(ListsFileTypes(dir));
  if (types) return Ok();
  return FailedPreconditionError(
      root,
      ": the filesystem does not tell file types in listings (d_type), which overlayfs needs; ",
      "xfs has to be made with ftype=1");
}

bool Names(const std::vector<std::string>& options, std::string_view option) {
  return std::any_of(options.begin(), options.end(), [&](const std::string& given) {
    return given == option || given.starts_with(StrCat(option, "="));
  });
}

}  // namespace

Result<std::unique_ptr<Driver>> Open(const Config& config) {
  std::unique_ptr<TreeStore> trees = TRY(TreeStore::Open(config.root));
  TRY(CheckFileTypes(trees->trees(), config.root));
  Config complete = config;
  if (!Names(complete.mount_options, "userxattr") && NeedsUserXattr(trees->trees()))
    complete.mount_options.emplace_back("userxattr");
  if (!Names(complete.mount_options, "index") && HasIndexSwitch())
    complete.mount_options.emplace_back("index=off");
  return std::unique_ptr<Driver>(
      std::make_unique<OverlayDriver>(std::move(complete), std::move(trees)));
}

Status CheckFilesystem(const std::string& root) {
  if (root.empty() || root[0] != '/')
    return InvalidArgumentError("snapshotter root ", Quoted(root), " is not absolute");
  const Dir dir = TRY(Dir::Create(root, 0700));
  return CheckFileTypes(dir, root);
}

}  // namespace corten::snapshot::overlay
