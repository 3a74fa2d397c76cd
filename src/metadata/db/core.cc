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

Status DbCore::Mutate(bolt::Tx& tx, TouchLog::Session& session,
                      const std::function<Status(Mutation&)>& fn, Told* told) {
  Mutation mutation(tx, session, &told->changes);
  TRY(fn(mutation));
  told->deletion = mutation.is_deletion;
  told->expiry = mutation.expiry;
  return Ok();
}

void DbCore::Tell(const Told& told) {
  if (hooks.on_mutation) hooks.on_mutation(told.deletion);
  if (hooks.on_expiry && told.expiry) hooks.on_expiry(*told.expiry);
  if (!options.observer) return;
  for (const Change& change : told.changes) options.observer(change);
}

Status DbCore::Update(const std::function<Status(Mutation&)>& fn) {
  Told told;
  {
    TouchLog::Session session(&touched);
    TRY(db->Update([&](bolt::Tx& tx) { return Mutate(tx, session, fn, &told); }));
  }
  Tell(told);
  return Ok();
}

void DbCore::UpdateLater(std::function<Status(Mutation&)> fn, std::function<void(Status)> done) {
  struct Call {
    std::function<Status(Mutation&)> fn;
    std::function<void(Status)> done;
    std::optional<TouchLog::Session> session;
    Told told;
  };
  auto call = std::make_shared<Call>();  // shared by the two functions that the file keeps
  call->fn = std::move(fn);
  call->done = std::move(done);
  call->session.emplace(&touched);
  db->UpdateLater(
      [call](bolt::Tx& tx) { return Mutate(tx, *call->session, call->fn, &call->told); },
      [this, call](Status status) {
        call->session.reset();
        if (status.ok()) Tell(call->told);
        call->done(std::move(status));
      });
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
