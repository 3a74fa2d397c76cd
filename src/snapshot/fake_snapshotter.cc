#include "snapshot/fake_snapshotter.h"

#include <algorithm>

#include "base/dir.h"
#include "model/filter.h"

namespace corten::snapshot {

namespace {
model::Labels WithoutEmpty(model::Labels labels) {
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
  return labels;
}

Error NoSnapshot(const std::string& key) { return NotFoundError("snapshot ", key); }
}  // namespace

FakeSnapshotter::FakeSnapshotter(std::string root, WallClock clock)
    : root_(std::move(root)), clock_(std::move(clock)) {}

Result<std::vector<model::Mount>> FakeSnapshotter::Create(Kind kind, const std::string& key,
                                                          const std::string& parent,
                                                          const model::Labels& labels) {
  if (key.empty()) return InvalidArgumentError("snapshot key is empty");
  TRY(model::ValidateLabels(labels));
  const std::lock_guard lock(mutex_);
  if (snapshots_.contains(key)) return AlreadyExistsError("snapshot ", key);
  if (!parent.empty()) {
    const auto found = snapshots_.find(parent);
    if (found == snapshots_.end()) return NotFoundError("parent snapshot ", parent);
    if (found->second.info.kind != Kind::kCommitted) {
      return InvalidArgumentError("failed to create snapshot: parent ", Quoted(parent),
                                  " is not committed snapshot");
    }
  }
  Snapshot snapshot;
  snapshot.id = ++last_id_;
  snapshot.info.kind = kind;
  snapshot.info.name = key;
  snapshot.info.parent = parent;
  snapshot.info.labels = WithoutEmpty(labels);
  snapshot.info.created_at = clock_();
  snapshot.info.updated_at = snapshot.info.created_at;
  if (!root_.empty() && kind == Kind::kActive) TRY(MakeDirs(StrCat(root_, "/", snapshot.id), 0755));
  std::vector<model::Mount> mounts = MountsOf(snapshot);
  snapshots_.emplace(key, std::move(snapshot));
  return mounts;
}

std::vector<model::Mount> FakeSnapshotter::MountsOf(const Snapshot& snapshot) const {
  model::Mount mount;
  mount.type = "bind";
  mount.source = StrCat(root_.empty() ? "/fake" : root_, "/", snapshot.id);
  mount.options = {snapshot.info.kind == Kind::kActive ? "rw" : "ro", "rbind"};
  return {mount};
}

Result<std::vector<model::Mount>> FakeSnapshotter::Prepare(const std::string& key,
                                                           const std::string& parent,
                                                           const model::Labels& labels) {
  return Create(Kind::kActive, key, parent, labels);
}

Result<std::vector<model::Mount>> FakeSnapshotter::View(const std::string& key,
                                                        const std::string& parent,
                                                        const model::Labels& labels) {
  return Create(Kind::kView, key, parent, labels);
}

Result<std::vector<model::Mount>> FakeSnapshotter::Mounts(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = snapshots_.find(key);
  if (found == snapshots_.end()) return NoSnapshot(key);
  if (found->second.info.kind == Kind::kCommitted)
    return FailedPreconditionError("snapshot ", key, " is neither active nor a view");
  return MountsOf(found->second);
}

Status FakeSnapshotter::Commit(const std::string& name, const std::string& key,
                               const CommitOptions& options) {
  if (name.empty()) return InvalidArgumentError("snapshot name is empty");
  TRY(model::ValidateLabels(options.labels));
  const std::lock_guard lock(mutex_);
  const auto found = snapshots_.find(key);
  if (found == snapshots_.end()) return NoSnapshot(key);
  Snapshot committed = found->second;
  if (committed.info.kind != Kind::kActive)
    return FailedPreconditionError("snapshot ", key, " is not active");
  if (snapshots_.contains(name)) return AlreadyExistsError("snapshot ", name);
  if (!options.parent.empty()) {
    if (!committed.info.parent.empty())
      return InvalidArgumentError("snapshot ", key, " has a parent already");
    const auto parent = snapshots_.find(options.parent);
    if (parent == snapshots_.end()) return NotFoundError("parent snapshot ", options.parent);
    if (parent->second.info.kind != Kind::kCommitted)
      return InvalidArgumentError("parent ", Quoted(options.parent), " is not committed snapshot");
    committed.info.parent = options.parent;
  }
  committed.info.kind = Kind::kCommitted;
  committed.info.name = name;
  committed.info.labels = WithoutEmpty(options.labels);
  committed.info.created_at = clock_();
  committed.info.updated_at = committed.info.created_at;
  committed.usage = usage_;
  snapshots_.erase(found);
  snapshots_.emplace(name, std::move(committed));
  return Ok();
}

Status FakeSnapshotter::Remove(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = snapshots_.find(key);
  if (found == snapshots_.end()) return NoSnapshot(key);
  const bool parent = std::any_of(snapshots_.begin(), snapshots_.end(), [&](const auto& entry) {
    return entry.second.info.parent == key;
  });
  if (parent) return FailedPreconditionError("cannot remove snapshot with child");
  snapshots_.erase(found);
  return Ok();
}

Result<Info> FakeSnapshotter::Stat(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = snapshots_.find(key);
  if (found == snapshots_.end()) return NoSnapshot(key);
  return found->second.info;
}

Result<Info> FakeSnapshotter::Update(const Info& info, const FieldPaths& paths) {
  const std::lock_guard lock(mutex_);
  const auto found = snapshots_.find(info.name);
  if (found == snapshots_.end()) return NoSnapshot(info.name);
  TRY(model::UpdateLabels(found->second.info.labels, info.labels, paths));
  found->second.info.updated_at = clock_();
  return found->second.info;
}

Status FakeSnapshotter::Walk(const Filters& filters,
                             const std::function<Status(const Info&)>& visit) {
  const model::Filter filter = TRY(model::Filter::Parse(filters));
  std::vector<Info> infos;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, snapshot] : snapshots_) infos.push_back(snapshot.info);
  }
  for (const Info& info : infos) {
    const bool matches =
        filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
          if (path.size() == 1 && path[0] == "name") return info.name;
          if (path.size() == 1 && path[0] == "parent") return info.parent;
          if (path.size() == 1 && path[0] == "kind") {
            return info.kind == Kind::kView     ? "view"
                   : info.kind == Kind::kActive ? "active"
                                                : "committed";
          }
          if (path.size() > 1 && path[0] == "labels") return model::LookupLabel(info.labels, path);
          return std::nullopt;
        });
    if (matches) TRY(visit(info));
  }
  return Ok();
}

Result<Usage> FakeSnapshotter::GetUsage(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = snapshots_.find(key);
  if (found == snapshots_.end()) return NoSnapshot(key);
  switch (found->second.info.kind) {
    case Kind::kActive:
      return usage_;
    case Kind::kCommitted:
      return found->second.usage;
    default:
      return Usage();
  }
}

Status FakeSnapshotter::Cleanup() {
  const std::lock_guard lock(mutex_);
  ++cleanups_;
  return Ok();
}

void FakeSnapshotter::SetUsage(Usage usage) {
  const std::lock_guard lock(mutex_);
  usage_ = usage;
}

int FakeSnapshotter::cleanups() const {
  const std::lock_guard lock(mutex_);
  return cleanups_;
}

}  // namespace corten::snapshot
