// The intents of snapshot commits: what is needed to finish one that a crash cut in two. One bucket
// per file; an entry is a list of length-prefixed fields under "SNAPSHOTTER/NAMESPACE/SEQUENCE".
#include "base/failpoint.h"
#include "metadata/db/codec.h"
#include "metadata/db/snapshots.h"

namespace corten::metadata {

namespace {

constexpr std::string_view kBucket = "commits";
constexpr int64_t kFormat = 1;

std::string EncodeIntent(const CommitIntent& intent) {
  std::string out;
  const auto text = [&](std::string_view value) {
    const std::string size = EncodeVarint(static_cast<int64_t>(value.size()));
    out += size;
    out += value;
  };
  text(StrCat(kFormat));
  for (const std::string* field :
       {&intent.ns.str(), &intent.snapshotter, &intent.key, &intent.key_backend, &intent.name,
        &intent.name_backend, &intent.parent, &intent.lease.str()}) {
    text(*field);
  }
  text(StrCat(intent.sequence));
  text(EncodeTime(intent.time));
  for (const auto& [label, value] : intent.labels) {
    text(label);
    text(value);
  }
  return out;
}

// The next field of `bytes`.
Result<std::string> TakeField(std::string_view* bytes) {
  size_t length = 0;
  while (length < bytes->size() && (static_cast<unsigned char>((*bytes)[length]) & 0x80) != 0)
    ++length;
  const int64_t size = TRY(DecodeVarint(bytes->substr(0, length + 1)));
  bytes->remove_prefix(std::min(length + 1, bytes->size()));
  if (size < 0 || static_cast<uint64_t>(size) > bytes->size())
    return DataLossError("a commit intent that is cut short");
  std::string field(bytes->substr(0, static_cast<size_t>(size)));
  bytes->remove_prefix(field.size());
  return field;
}

Result<CommitIntent> DecodeIntent(std::string_view bytes) {
  CommitIntent intent;
  const std::string format = TRY(TakeField(&bytes));
  if (format != StrCat(kFormat)) return DataLossError("a commit intent of format ", format);
  const std::string ns = TRY(TakeField(&bytes));
  intent.ns = model::Namespace(ns);
  for (std::string* field : {&intent.snapshotter, &intent.key, &intent.key_backend, &intent.name,
                             &intent.name_backend, &intent.parent}) {
    *field = TRY(TakeField(&bytes));
  }
  const std::string lease = TRY(TakeField(&bytes));
  intent.lease = model::LeaseId(lease);
  const std::string sequence = TRY(TakeField(&bytes));
  if (!ParseU64(sequence, &intent.sequence))
    return DataLossError("a commit intent with a damaged number");
  const std::string time = TRY(TakeField(&bytes));
  intent.time = TRY(DecodeTime(time));
  while (!bytes.empty()) {
    std::string label = TRY(TakeField(&bytes));
    intent.labels[label] = TRY(TakeField(&bytes));
  }
  return intent;
}

// How far a commit came, as its rows and the backend show it. REQUIRES: backend.mutex held.
Status Settle(DbCore& core, SnapshotBackend& backend, const CommitIntent& intent) {
  bool open = false;  // the active row is still there and still means the same backend snapshot
  TRY(core.View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket row =
        TRY(FindIn(tx, intent.ns, {key::kSnapshots, intent.snapshotter, intent.key}));
    if (!row) return Ok();
    const std::string_view name = TRY(ReadBytes(*row, key::kName));
    open = name == intent.key_backend;
    return Ok();
  }));
  if (!open) return Ok();
  const Result<snapshot::Info> done = backend.driver->Stat(intent.name_backend);
  if (!done.ok()) return done.error().Is(Code::kNotFound) ? Ok() : Status(done.error().Clone());
  Status written = WriteCommitted(core, intent);
  if (!written.ok() && written.error().Is(Code::kAlreadyExists))
    return Ok();  // the name was taken by hand: garbage
  return written;
}

}  // namespace

Status LoadIntents(DbCore& core) {
  if (!core.HasIntentsFile() || FAILPOINT_SKIPS("metadata.intent.load")) return Ok();
  bolt::Db* file = TRY(core.Intents());
  return file->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket bucket = TRY(tx.FindBucket(kBucket));
    if (!bucket) return Ok();
    return bucket->ForEach([&](const bolt::Entry& entry) -> Status {
      CommitIntent intent = TRY(DecodeIntent(entry.value));
      const auto backend = core.backends.find(intent.snapshotter);
      if (backend == core.backends.end()) return Ok();  // not configured now; kept for when it is
      backend->second->intents.emplace(entry.key, std::move(intent));
      backend->second->unsettled = true;
      return Ok();
    });
  });
}

Status SettleIntents(DbCore& core, const std::string& snapshotter) {
  SnapshotBackend& backend = *core.backends.at(snapshotter);
  if (!backend.unsettled) return Ok();
  const std::lock_guard lock(backend.mutex);
  while (!backend.intents.empty()) {
    const auto first = backend.intents.begin();
    TRY(Settle(core, backend, first->second).Context("unfinished commit"));
    bolt::Db* file = TRY(core.Intents());
    TRY(file->Update([&](bolt::Tx& tx) -> Status {
      bolt::Bucket bucket = TRY(tx.CreateBucketIfNotExists(kBucket));
      return bucket.Delete(first->first);
    }));
    backend.intents.erase(first);
  }
  backend.unsettled = false;
  return Ok();
}

Status RecordIntent(DbCore& core, const CommitIntent& intent, std::string* id) {
  *id = StrCat(intent.snapshotter, "/", intent.ns.str(), "/", intent.sequence);
  if (FAILPOINT_SKIPS("metadata.intent.record")) return Ok();
  SnapshotBackend& backend = *core.backends.at(intent.snapshotter);
  std::vector<std::string> settled;
  {
    const std::lock_guard lock(backend.mutex);
    settled.swap(backend.settled);
  }
  bolt::Db* file = TRY(core.Intents());
  return file->Update([&](bolt::Tx& tx) -> Status {
    bolt::Bucket bucket = TRY(tx.CreateBucketIfNotExists(kBucket));
    for (const std::string& old : settled) TRY(bucket.Delete(old));
    return bucket.Put(*id, EncodeIntent(intent));
  });
}

void DropIntent(SnapshotBackend& backend, const std::string& id) {
  const std::lock_guard lock(backend.mutex);
  backend.settled.push_back(id);
}

void KeepIntent(SnapshotBackend& backend, const std::string& id, CommitIntent intent) {
  const std::lock_guard lock(backend.mutex);
  backend.intents.insert_or_assign(id, std::move(intent));
  backend.unsettled = true;
}

Status WriteCommitted(DbCore& core, const CommitIntent& intent) {
  return core.Update([&](Mutation& mutation) -> Status {
    const model::Scope scope = {intent.ns, intent.lease};
    bolt::Bucket rows = TRY(MakeIn(mutation.tx, intent.ns, {key::kSnapshots, intent.snapshotter}));
    const MaybeBucket taken = TRY(rows.FindBucket(intent.name));
    if (taken) return AlreadyExistsError("snapshot ", Quoted(intent.name));
    if (rows.Sequence() < intent.sequence) TRY(rows.SetSequence(intent.sequence));
    const MaybeBucket active = TRY(rows.FindBucket(intent.key));
    if (!active) return NotFoundError("snapshot ", intent.key, " does not exist");
    TRY(DeleteSnapshotRow(rows, intent.key));
    bolt::Bucket row = TRY(rows.CreateBucket(intent.name));
    TRY(row.Put(key::kName, intent.name_backend));
    if (!intent.parent.empty()) {
      TRY(row.Put(key::kParent, intent.parent));
      MaybeBucket parent = TRY(rows.FindBucket(intent.parent));
      if (parent) {
        bolt::Bucket children = TRY(parent->CreateBucketIfNotExists(key::kChildren));
        TRY(children.Put(intent.name, ""));
      }
    }
    TRY(row.Put(key::kCreatedAt, EncodeTime(intent.time)));
    TRY(row.Put(key::kUpdatedAt, EncodeTime(intent.time)));
    TRY(WriteMap(row, key::kLabels, intent.labels));
    TRY(RemoveLeaseMember(mutation, scope, NodeKind::kSnapshot, intent.key, intent.snapshotter));
    const Result<bool> leased =
        AddLeaseMember(mutation, scope, NodeKind::kSnapshot, intent.name, intent.snapshotter);
    // The backend has committed: a lease that ended meanwhile cannot undo that.
    if (!leased.ok() && !leased.error().Is(Code::kNotFound)) return leased.error().Clone();
    mutation.Touch(NodeKind::kSnapshot, intent.ns, intent.name, intent.snapshotter);
    Change change;
    change.kind = Change::Kind::kSnapshotCommit;
    change.ns = intent.ns;
    change.name = intent.name;
    change.snapshot_key = intent.key;
    change.snapshotter = intent.snapshotter;
    mutation.Emit(std::move(change));
    return Ok();
  });
}

}  // namespace corten::metadata
