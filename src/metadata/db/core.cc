#include "metadata/db/core.h"

#include <sys/stat.h>

namespace corten::metadata {

namespace {

// The name of a lease's bucket for members of a kind.
std::string_view MemberBucket(NodeKind kind) {
  switch (kind) {
    case NodeKind::kContent:
      return key::kContent;
    case NodeKind::kImage:
      return key::kImages;
    case NodeKind::kIngest:
      return key::kIngests;
    default:
      return key::kSnapshots;
  }
}

}  // namespace

void Mutation::NoteExpiry(const model::Labels& labels) {
  const auto label = labels.find(gc_label::kExpire);
  if (label == labels.end()) return;
  const Result<Time> when = ParseRfc3339(label->second);
  if (when.ok()) expiry = *when;
}

DbCore::DbCore(DatabaseOptions opts) : options(std::move(opts)) {
  for (const auto& [name, driver] : options.snapshotters) {
    auto backend = std::make_unique<SnapshotBackend>();
    backend->driver = driver;
    backends.emplace(name, std::move(backend));
  }
}

Status DbCore::Update(const std::function<Status(Mutation&)>& fn) {
  std::vector<Change> changes;
  bool deletion = false;
  std::optional<Time> expiry;
  {
    TouchLog::Session session(&touched);
    TRY(db->Update([&](bolt::Tx& tx) -> Status {
      Mutation mutation(tx, session, &changes);
      TRY(fn(mutation));
      deletion = mutation.is_deletion;
      expiry = mutation.expiry;
      return Ok();
    }));
  }
  if (hooks.on_mutation) hooks.on_mutation(deletion);
  if (hooks.on_expiry && expiry) hooks.on_expiry(*expiry);
  if (options.observer) {
    for (const Change& change : changes) options.observer(change);
  }
  return Ok();
}

Status DbCore::WaitForCollection() { return hooks.collect ? hooks.collect() : collect_now(); }

bool DbCore::HasIntentsFile() const {
  struct stat info{};
  return ::stat(options.intents_path.c_str(), &info) == 0;
}

Result<bolt::Db*> DbCore::Intents() {
  const std::lock_guard lock(intents_mutex_);
  if (intents_ == nullptr) {
    bolt::Options file;
    file.no_sync = options.no_sync;
    file.lock_timeout = options.lock_timeout;
    intents_ = TRY(bolt::Db::Open(options.intents_path, file));
  }
  return intents_.get();
}

Status CheckLease(const bolt::Tx& tx, const model::Scope& scope) {
  if (scope.lease.empty()) return Ok();
  const MaybeBucket lease = TRY(FindIn(tx, scope.ns, {key::kLeases, scope.lease.str()}));
  return lease ? Ok() : NotFoundError("lease does not exist");
}

Result<bool> AddLeaseMember(Mutation& mutation, const model::Scope& scope, NodeKind kind,
                            std::string_view key, std::string_view space) {
  if (scope.lease.empty()) return false;
  MaybeBucket lease = TRY(FindIn(mutation.tx, scope.ns, {key::kLeases, scope.lease.str()}));
  if (!lease) return NotFoundError("lease does not exist");
  bolt::Bucket members = TRY(lease->CreateBucketIfNotExists(MemberBucket(kind)));
  if (kind == NodeKind::kSnapshot) members = TRY(members.CreateBucketIfNotExists(space));
  TRY(members.Put(key, ""));
  mutation.Touch(kind, scope.ns, key, space);
  return true;
}

Status RemoveLeaseMember(Mutation& mutation, const model::Scope& scope, NodeKind kind,
                         std::string_view key, std::string_view space) {
  if (scope.lease.empty()) return Ok();
  MaybeBucket members =
      TRY(FindIn(mutation.tx, scope.ns, {key::kLeases, scope.lease.str(), MemberBucket(kind)}));
  if (members && kind == NodeKind::kSnapshot) members = TRY(members->FindBucket(space));
  if (members) TRY(members->Delete(key));
  return Ok();
}

Status DeleteSnapshotRow(bolt::Bucket snapshots, std::string_view key) {
  const bolt::Bucket row = TRY(snapshots.GetBucket(key));
  const std::string_view parent = TRY(ReadBytes(row, key::kParent));
  if (!parent.empty()) {
    MaybeBucket children = TRY(FindPath(snapshots, {parent, key::kChildren}));
    if (children) TRY(children->Delete(key));
  }
  return snapshots.DeleteBucket(key);
}

}  // namespace corten::metadata
