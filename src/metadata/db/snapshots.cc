#include "metadata/db/snapshots.h"

#include "base/failpoint.h"
#include "metadata/db/codec.h"

namespace corten::metadata {

namespace {

using snapshot::kInheritedPrefix;
using snapshot::kTargetLabel;

constexpr int kNameTries =
    16;  // backend names tried for one key: garbage of a crash may sit on the first ones

Error NoSnapshot(const std::string& key) {
  return NotFoundError("snapshot ", key, " does not exist");
}

// The labels that the backend sees.
model::Labels Inherited(const model::Labels& labels) {
  model::Labels inherited;
  for (const auto& [label, value] : labels) {
    if (std::string_view(label).starts_with(kInheritedPrefix) || label == kTargetLabel)
      inherited.emplace(label, value);
  }
  return inherited;
}

void Overlay(const ScopedSnapshots::Row& row, const std::string& key, snapshot::Info* info) {
  info->name = key;
  info->parent = row.parent;
  info->created_at = row.created_at;
  info->updated_at = row.updated_at;
  for (const auto& [label, value] : row.labels) info->labels[label] = value;
}

std::optional<std::string> Field(const snapshot::Info& info, const std::vector<std::string>& path) {
  if (path.size() == 1 && path[0] == "kind") {
    switch (info.kind) {
      case snapshot::Kind::kActive:
        return "active";
      case snapshot::Kind::kView:
        return "view";
      case snapshot::Kind::kCommitted:
        return "committed";
      case snapshot::Kind::kUnknown:
        return std::nullopt;
    }
  }
  if (path.size() == 1 && path[0] == "name") return info.name;
  if (path.size() == 1 && path[0] == "parent") return info.parent;
  if (path.size() > 1 && path[0] == "labels") return model::LookupLabel(info.labels, path);
  return std::nullopt;
}

}  // namespace

// What Prepare or View is about to make.
struct ScopedSnapshots::NewSnapshot {
  std::string key;
  std::string parent;
  std::string parent_backend;
  std::string target;  // of kTargetLabel; empty: none
  model::Labels labels;
  std::string backend;
  uint64_t sequence = 0;
  PinTable::Pin pin;  // on `backend`
};

ScopedSnapshots::ScopedSnapshots(DbCore* core, model::Scope scope, const std::string& name)
    : core_(core), scope_(std::move(scope)), name_(name), backend_(core->backends.at(name).get()) {}

Result<std::optional<ScopedSnapshots::Row>> ScopedSnapshots::FindRow(const bolt::Tx& tx,
                                                                     std::string_view key) const {
  const MaybeBucket found = TRY(FindIn(tx, scope_.ns, {key::kSnapshots, name_, key}));
  if (!found) return std::optional<Row>();
  Row row;
  row.backend = TRY(ReadBytes(*found, key::kName));
  row.parent = TRY(ReadBytes(*found, key::kParent));
  row.labels = TRY(ReadMap(*found, key::kLabels));
  row.created_at = TRY(ReadTime(*found, key::kCreatedAt));
  row.updated_at = TRY(ReadTime(*found, key::kUpdatedAt));
  return std::optional<Row>(std::move(row));
}

Result<ScopedSnapshots::Row> ScopedSnapshots::GetRow(const std::string& key) const {
  TRY(CheckNamespace(scope_.ns));
  TRY(SettleIntents(*core_, name_));
  std::optional<Row> row;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    row = TRY(FindRow(tx, key));
    return row ? Ok() : NoSnapshot(key);
  }));
  return std::move(*row);
}

// Above what the file has and above all that this process gave out: two calls never try the same
// backend name.
Result<uint64_t> ScopedSnapshots::NextSequence() {
  uint64_t stored = 0;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket rows = TRY(FindIn(tx, scope_.ns, {key::kSnapshots, name_}));
    if (rows) stored = rows->Sequence();
    return Ok();
  }));
  const std::lock_guard lock(backend_->mutex);
  uint64_t& last = backend_->sequences[scope_.ns.str()];
  last = std::max(last, stored) + 1;
  return last;
}

KeyLocks::Hold ScopedSnapshots::LockKey(const std::string& key) const {
  return backend_->keys.Lock(StrCat(scope_.ns.str(), "/", key));
}

Result<std::vector<model::Mount>> ScopedSnapshots::Prepare(const std::string& key,
                                                           const std::string& parent,
                                                           const model::Labels& labels) {
  return Create(/*read_only=*/false, key, parent, labels);
}

Result<std::vector<model::Mount>> ScopedSnapshots::View(const std::string& key,
                                                        const std::string& parent,
                                                        const model::Labels& labels) {
  return Create(/*read_only=*/true, key, parent, labels);
}

Result<std::vector<model::Mount>> ScopedSnapshots::Create(bool read_only, const std::string& key,
                                                          const std::string& parent,
                                                          const model::Labels& labels) {
  TRY(CheckNamespace(scope_.ns));
  if (key.empty()) return InvalidArgumentError("snapshot key must not be empty");
  TRY(CheckLabels(labels, "info.Labels"));
  TRY(SettleIntents(*core_, name_));
  const KeyLocks::Hold hold = LockKey(key);

  NewSnapshot wanted;
  wanted.key = key;
  wanted.parent = parent;
  wanted.labels = labels;
  if (const auto target = labels.find(kTargetLabel); target != labels.end())
    wanted.target = target->second;
  TRY(CheckTaken(wanted));
  if (!parent.empty()) {
    TRY(core_->View([&](const bolt::Tx& tx) -> Status {
      const std::optional<Row> row = TRY(FindRow(tx, parent));
      if (!row) return NotFoundError("parent snapshot ", parent, " does not exist");
      wanted.parent_backend = row->backend;
      return Ok();
    }));
  }

  Result<std::vector<model::Mount>> mounts = CreateInBackend(read_only, &wanted);
  if (!mounts.ok()) return std::move(mounts).TakeError();
  FAILPOINT("metadata.snapshot.prepared");
  const Status written = WriteCreated(wanted, /*emit=*/!read_only);
  if (!written.ok()) {
    (void)backend_->driver->Remove(
        wanted.backend);  // a failure leaves garbage, which the collector finds
    backend_->dirty = true;
    return written.error().Clone();
  }
  return mounts;
}

// A key or target that is there already joins the lease before the call fails.
Status ScopedSnapshots::CheckTaken(const NewSnapshot& wanted) {
  for (;;) {
    std::string taken;
    TRY(core_->View([&](const bolt::Tx& tx) -> Status {
      TRY(CheckLease(tx, scope_));
      for (const std::string& key : {wanted.target, wanted.key}) {
        if (key.empty() || !taken.empty()) continue;
        const MaybeBucket row = TRY(FindIn(tx, scope_.ns, {key::kSnapshots, name_, key}));
        if (row) taken = key;
      }
      return Ok();
    }));
    if (taken.empty()) return Ok();
    bool still_there = true;
    if (!scope_.lease.empty()) {
      TRY(core_->Update([&](Mutation& mutation) -> Status {
        const MaybeBucket row =
            TRY(FindIn(mutation.tx, scope_.ns, {key::kSnapshots, name_, taken}));
        still_there = row.has_value();
        if (still_there) TRY(AddLeaseMember(mutation, scope_, NodeKind::kSnapshot, taken, name_));
        return Ok();
      }));
    }
    if (still_there)
      return AlreadyExistsError(taken == wanted.target ? "target snapshot " : "snapshot ",
                                Quoted(taken));
  }
}

Result<std::vector<model::Mount>> ScopedSnapshots::CreateInBackend(bool read_only,
                                                                   NewSnapshot* wanted) {
  const model::Labels inherited = Inherited(wanted->labels);
  for (int tries = 0;; ++tries) {
    wanted->sequence = TRY(NextSequence());
    wanted->backend = StrCat(scope_.ns.str(), "/", wanted->sequence, "/", wanted->key);
    wanted->pin = backend_->names.Acquire(wanted->backend);
    Result<std::vector<model::Mount>> mounts =
        read_only ? backend_->driver->View(wanted->backend, wanted->parent_backend, inherited)
                  : backend_->driver->Prepare(wanted->backend, wanted->parent_backend, inherited);
    if (mounts.ok() || !mounts.error().Is(Code::kAlreadyExists)) return mounts;
    if (!wanted->target.empty()) {
      const Status adopted = Adopt(*wanted);
      if (adopted.ok()) return AlreadyExistsError("target snapshot ", Quoted(wanted->target));
      if (!adopted.error().Is(Code::kNotFound) || tries == kNameTries)
        return adopted.error().Clone();
    } else if (tries == kNameTries) {
      return UnknownError("unexpected error from snapshotter: ", mounts.error().text());
    }
    backend_->dirty = true;  // that name is what a crash left behind
  }
}

Status ScopedSnapshots::WriteCreated(const NewSnapshot& wanted, bool emit) {
  return core_->Update([&](Mutation& mutation) -> Status {
    TRY(AddLeaseMember(mutation, scope_, NodeKind::kSnapshot, wanted.key, name_));
    bolt::Bucket rows = TRY(MakeIn(mutation.tx, scope_.ns, {key::kSnapshots, name_}));
    if (rows.Sequence() < wanted.sequence) TRY(rows.SetSequence(wanted.sequence));
    if (!wanted.parent.empty()) {
      MaybeBucket parent = TRY(rows.FindBucket(wanted.parent));
      if (!parent) return NotFoundError("parent snapshot ", wanted.parent, " does not exist");
      bolt::Bucket children = TRY(parent->CreateBucketIfNotExists(key::kChildren));
      TRY(children.Put(wanted.key, ""));
    }
    bolt::Bucket row = TRY(rows.CreateBucket(wanted.key));
    if (!wanted.parent.empty()) TRY(row.Put(key::kParent, wanted.parent));
    const std::string now = EncodeTime(core_->Clock());
    TRY(row.Put(key::kCreatedAt, now));
    TRY(row.Put(key::kUpdatedAt, now));
    TRY(WriteMap(row, key::kLabels, wanted.labels));
    TRY(row.Put(key::kName, wanted.backend));
    mutation.Touch(NodeKind::kSnapshot, scope_.ns, wanted.key, name_);
    if (!emit) return Ok();
    Change change;
    change.kind = Change::Kind::kSnapshotPrepare;
    change.ns = scope_.ns;
    change.name = wanted.key;
    change.parent = wanted.parent;
    change.snapshotter = name_;
    mutation.Emit(std::move(change));
    return Ok();
  });
}

// Looks for the committed target in the backend and makes a row for it. kNotFound if it is not
// there.
Status ScopedSnapshots::Adopt(const NewSnapshot& wanted) {
  std::optional<snapshot::Info> found;
  const std::string filter = StrCat("labels.", Quoted(kTargetLabel), "==", Quoted(wanted.target));
  TRY(backend_->driver
          ->Walk({filter},
                 [&](const snapshot::Info& info) -> Status {
                   const auto label = info.labels.find(kTargetLabel);
                   const bool named = label != info.labels.end() && label->second == wanted.target;
                   if (!found && named && info.kind == snapshot::Kind::kCommitted &&
                       info.parent == wanted.parent_backend)
                     found = info;
                   return Ok();
                 })
          .Context("failed walking backend snapshots"));
  if (!found) return NotFoundError("target snapshot ", Quoted(wanted.target), " in backend");
  const PinTable::Pin pin = backend_->names.Acquire(found->name);
  const snapshot::Info now =
      TRY(backend_->driver->Stat(found->name));  // the collector may have been faster than the pin
  if (now.parent != wanted.parent_backend) {
    return InvalidArgumentError("mismatched parent ", now.parent, " from target ", wanted.target);
  }
  NewSnapshot adopted;
  adopted.key = wanted.target;
  adopted.parent = wanted.parent;
  adopted.backend = found->name;
  adopted.sequence = wanted.sequence;
  adopted.labels = now.labels;
  for (const auto& [label, value] : wanted.labels) adopted.labels[label] = value;
  Status written = WriteCreated(adopted, /*emit=*/false);
  if (!written.ok() && written.error().Is(Code::kAlreadyExists))
    return Ok();  // another call adopted it
  return written;
}

Result<std::vector<model::Mount>> ScopedSnapshots::Mounts(const std::string& key) {
  const Row row = TRY(GetRow(key));
  return backend_->driver->Mounts(row.backend);
}

Status ScopedSnapshots::Commit(const std::string& name, const std::string& key,
                               const CommitOptions& options) {
  TRY(CheckNamespace(scope_.ns));
  if (name.empty()) return InvalidArgumentError("snapshot name must not be empty");
  TRY(CheckLabels(options.labels, "info.Labels"));
  TRY(SettleIntents(*core_, name_));
  // Both keys, the smaller one first, so that two commits cannot wait for each other.
  const KeyLocks::Hold first = LockKey(std::min(name, key));
  const KeyLocks::Hold second = name == key ? KeyLocks::Hold() : LockKey(std::max(name, key));

  CommitIntent intent;
  std::string parent_backend;
  TRY(core_->View([&](const bolt::Tx& tx) {
    return FindCommitted(tx, name, key, options, &intent, &parent_backend);
  }));
  intent.ns = scope_.ns;
  intent.snapshotter = name_;
  intent.key = key;
  intent.name = name;
  intent.sequence = TRY(NextSequence());
  intent.name_backend = StrCat(scope_.ns.str(), "/", intent.sequence, "/", name);
  intent.labels = options.labels;
  intent.time = core_->Clock();
  intent.lease = scope_.lease;

  // Rows of pinned names are roots for a collection that begins from now on; one that runs already
  // is told.
  const PinTable::Pin old_pin = backend_->names.Acquire(intent.key_backend);
  const PinTable::Pin new_pin = backend_->names.Acquire(intent.name_backend);
  const PinTable::Pin parent_pin =
      parent_backend.empty() ? PinTable::Pin() : backend_->names.Acquire(parent_backend);
  TRY(HoldRows(key, intent, parent_backend));

  std::string id;
  TRY(RecordIntent(*core_, intent, &id));
  FAILPOINT("metadata.snapshot.intent");
  const Status committed = backend_->driver->Commit(intent.name_backend, intent.key_backend,
                                                    {Inherited(options.labels), parent_backend});
  if (!committed.ok()) {
    const Result<snapshot::Info> there = backend_->driver->Stat(intent.name_backend);
    if (!there.ok() && there.error().Is(Code::kNotFound)) {
      DropIntent(*backend_, id);
    } else {
      KeepIntent(*backend_, id,
                 std::move(intent));  // nobody knows: ask the backend before the next call
    }
    return committed.error().Clone();
  }
  FAILPOINT("metadata.snapshot.committed");
  Status written = WriteCommitted(*core_, intent);
  if (!written.ok() && !written.error().Is(Code::kNotFound)) {
    KeepIntent(*backend_, id, std::move(intent));
    return written;
  }
  FAILPOINT("metadata.snapshot.row");
  DropIntent(*backend_, id);
  return written;
}

// What a commit starts from. Fills key_backend, parent and, for a parent that the commit sets,
// parent_backend.
Status ScopedSnapshots::FindCommitted(const bolt::Tx& tx, const std::string& name,
                                      const std::string& key, const CommitOptions& options,
                                      CommitIntent* intent, std::string* parent_backend) const {
  const MaybeBucket taken = TRY(FindIn(tx, scope_.ns, {key::kSnapshots, name_, name}));
  if (taken) return AlreadyExistsError("snapshot ", Quoted(name));
  const std::optional<Row> row = TRY(FindRow(tx, key));
  if (!row) return NoSnapshot(key);
  intent->key_backend = row->backend;
  intent->parent = row->parent;
  if (!row->parent.empty() || options.parent.empty()) return Ok();
  const std::optional<Row> parent = TRY(FindRow(tx, options.parent));
  if (!parent) return NotFoundError("parent snapshot ", options.parent, " does not exist");
  intent->parent = options.parent;
  *parent_backend = parent->backend;
  return Ok();
}

// Makes sure that the active row and the new parent, pinned by now, outlive a collection that runs
// already.
Status ScopedSnapshots::HoldRows(const std::string& key, const CommitIntent& intent,
                                 const std::string& parent_backend) {
  const auto check = [&](const bolt::Tx& tx) -> Status {
    const std::optional<Row> row = TRY(FindRow(tx, key));
    if (!row || row->backend != intent.key_backend) return NoSnapshot(key);
    if (parent_backend.empty()) return Ok();
    const std::optional<Row> parent = TRY(FindRow(tx, intent.parent));
    if (!parent || parent->backend != parent_backend)
      return NotFoundError("parent snapshot ", intent.parent, " does not exist");
    return Ok();
  };
  if (!TouchLog::Session(&core_->touched).noting()) return core_->View(check);
  return core_->Update([&](Mutation& mutation) -> Status {
    TRY(check(mutation.tx));
    mutation.Touch(NodeKind::kSnapshot, scope_.ns, key, name_);
    if (!parent_backend.empty())
      mutation.Touch(NodeKind::kSnapshot, scope_.ns, intent.parent, name_);
    return Ok();
  });
}

Status ScopedSnapshots::Remove(const std::string& key) {
  TRY(CheckNamespace(scope_.ns));
  TRY(SettleIntents(*core_, name_));
  const KeyLocks::Hold hold = LockKey(key);
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    MaybeBucket rows = TRY(FindIn(mutation.tx, scope_.ns, {key::kSnapshots, name_}));
    MaybeBucket row;
    if (rows) row = TRY(rows->FindBucket(key));
    if (!row) return NoSnapshot(key);
    const MaybeBucket children = TRY(row->FindBucket(key::kChildren));
    bool has_child = false;
    if (children) {
      TRY(children->ForEach([&](const bolt::Entry& entry) -> Status {
        if (has_child) return Ok();
        const MaybeBucket child =
            TRY(rows->FindBucket(entry.key));  // containerd's collector leaves names without a row
        has_child = child.has_value();
        return Ok();
      }));
    }
    if (has_child) return FailedPreconditionError("cannot remove snapshot with child");
    TRY(DeleteSnapshotRow(*rows, key));
    TRY(RemoveLeaseMember(mutation, scope_, NodeKind::kSnapshot, key, name_));
    mutation.is_deletion = true;
    Change change;
    change.kind = Change::Kind::kSnapshotRemove;
    change.ns = scope_.ns;
    change.name = key;
    change.snapshotter = name_;
    mutation.Emit(std::move(change));
    return Ok();
  }));
  backend_->dirty = true;
  return Ok();
}

Result<snapshot::Info> ScopedSnapshots::Stat(const std::string& key) {
  const Row row = TRY(GetRow(key));
  snapshot::Info info = TRY(backend_->driver->Stat(row.backend));
  Overlay(row, key, &info);
  return info;
}

Result<snapshot::Info> ScopedSnapshots::Update(const snapshot::Info& info,
                                               const snapshot::FieldPaths& paths) {
  const KeyLocks::Hold hold = LockKey(info.name);
  const Row before = TRY(GetRow(info.name));
  model::Labels labels = before.labels;
  TRY(ApplyLabelMask(paths, info.labels, StrCat("snapshot ", Quoted(info.name)), &labels));
  TRY(CheckLabels(labels, "info.Labels"));
  // The backend first: if it refuses, nothing has changed. What a crash leaves is covered, the
  // row's labels win.
  model::Labels inherited = Inherited(labels);
  std::erase_if(inherited, [](const auto& label) { return label.second.empty(); });
  snapshot::Info after;
  if (inherited != Inherited(before.labels)) {
    snapshot::Info handed_down;
    handed_down.name = before.backend;
    handed_down.labels = inherited;
    after = TRY(backend_->driver->Update(handed_down, {}));
  } else {
    after = TRY(backend_->driver->Stat(before.backend));
  }
  Row row = before;
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    MaybeBucket stored = TRY(FindIn(mutation.tx, scope_.ns, {key::kSnapshots, name_, info.name}));
    if (!stored) return NoSnapshot(info.name);  // collected meanwhile
    row.updated_at = core_->Clock();
    TRY(WriteMap(*stored, key::kLabels, labels));
    TRY(stored->Put(key::kUpdatedAt, EncodeTime(row.updated_at)));
    mutation.Touch(NodeKind::kSnapshot, scope_.ns, info.name, name_);
    return Ok();
  }));
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
  row.labels = std::move(labels);
  after.labels.clear();
  Overlay(row, info.name, &after);
  return after;
}

Status ScopedSnapshots::Walk(const snapshot::Filters& filters,
                             const std::function<Status(const snapshot::Info&)>& visit) {
  TRY(CheckNamespace(scope_.ns));
  const model::Filter filter = TRY(model::Filter::Parse(filters));
  TRY(SettleIntents(*core_, name_));
  std::vector<std::pair<std::string, Row>> rows;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket stored = TRY(FindIn(tx, scope_.ns, {key::kSnapshots, name_}));
    if (!stored) return Ok();
    return ForEachBucket(*stored, [&](std::string_view key, const bolt::Bucket&) -> Status {
      std::optional<Row> row = TRY(FindRow(tx, key));
      if (row) rows.emplace_back(key, std::move(*row));
      return Ok();
    });
  }));
  for (const auto& [key, row] : rows) {
    Result<snapshot::Info> info = backend_->driver->Stat(row.backend);
    if (!info.ok()) {
      if (info.error().Is(Code::kNotFound)) continue;
      return std::move(info).TakeError();
    }
    Overlay(row, key, &*info);
    const bool wanted =
        filter.Matches([&](const std::vector<std::string>& path) { return Field(*info, path); });
    if (wanted) TRY(visit(*info));
  }
  return Ok();
}

Result<snapshot::Usage> ScopedSnapshots::GetUsage(const std::string& key) {
  const Row row = TRY(GetRow(key));
  return backend_->driver->GetUsage(row.backend);
}

Status ScopedSnapshots::Cleanup() { return backend_->driver->Cleanup(); }

}  // namespace corten::metadata
