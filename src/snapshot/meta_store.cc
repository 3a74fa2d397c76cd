#include "snapshot/meta_store.h"

#include <algorithm>
#include <chrono>

#include "base/binary_values.h"
#include "model/filter.h"
#include "snapshot/record_codec.h"

namespace corten::snapshot {

namespace {

using bolt::Bucket;
using bolt::Tx;

constexpr std::string_view kVersion = "v1";
constexpr std::string_view kSnapshots = "snapshots";
constexpr std::string_view kParents = "parents";
constexpr std::string_view kId = "id";
constexpr std::string_view kKind = "kind";
constexpr std::string_view kParent = "parent";
constexpr std::string_view kCreated = "createdat";
constexpr std::string_view kUpdated = "updatedat";
constexpr std::string_view kInodes = "inodes";
constexpr std::string_view kSize = "size";
constexpr std::string_view kLabels = "labels";
constexpr std::chrono::seconds kLockTime{
    10};                            // a daemon that was told to stop may still hold the file
constexpr size_t kMaxDepth = 4096;  // ancestors; more is a circle made by damage

// The two buckets of a file; nothing stands there before the first snapshot.
struct Buckets {
  Bucket snapshots;
  Bucket parents;
};

Result<std::optional<Buckets>> Find(const Tx& tx) {
  const std::optional<Buckets> none;
  const std::optional<Bucket> version = TRY(tx.FindBucket(kVersion));
  if (!version.has_value()) return none;
  const std::optional<Bucket> snapshots = TRY(version->FindBucket(kSnapshots));
  const std::optional<Bucket> parents = TRY(version->FindBucket(kParents));
  if (!snapshots.has_value() || !parents.has_value()) return none;
  return std::optional<Buckets>(Buckets{*snapshots, *parents});
}

Result<Buckets> Make(Tx& tx) {
  Bucket version = TRY(tx.CreateBucketIfNotExists(kVersion));
  Bucket snapshots = TRY(version.CreateBucketIfNotExists(kSnapshots));
  Bucket parents = TRY(version.CreateBucketIfNotExists(kParents));
  return Buckets{snapshots, parents};
}

Error NoSnapshot(const std::string& key) { return NotFoundError("snapshot ", key); }

Error Damaged(const std::string& key, std::string_view field, const Error& why) {
  return DataLossError("snapshot ", key, ": ", field, ": ", why.text());
}

template <typename T>
Result<T> Field(const Bucket& bucket, const std::string& key, std::string_view field,
                Result<T> (*decode)(std::string_view)) {
  const std::optional<std::string_view> bytes = TRY(bucket.Find(field));
  if (!bytes.has_value()) return DataLossError("snapshot ", key, ": has no ", field);
  Result<T> value = decode(*bytes);
  if (!value.ok()) return Damaged(key, field, value.error());
  return value;
}

template <typename T>
Result<T> FieldOr(const Bucket& bucket, const std::string& key, std::string_view field,
                  Result<T> (*decode)(std::string_view), T missing) {
  const std::optional<std::string_view> bytes = TRY(bucket.Find(field));
  if (!bytes.has_value()) return missing;
  Result<T> value = decode(*bytes);
  if (!value.ok()) return Damaged(key, field, value.error());
  return value;
}

Result<Kind> DecodeKind(std::string_view bytes) {
  if (bytes.size() != 1 || bytes[0] < 1 || bytes[0] > 3) return DataLossError("no such kind");
  return static_cast<Kind>(bytes[0]);
}

Result<std::string> DecodeText(std::string_view bytes) { return std::string(bytes); }

Result<model::Labels> ReadLabels(const Bucket& bucket) {
  model::Labels labels;
  const std::optional<Bucket> stored = TRY(bucket.FindBucket(kLabels));
  if (!stored.has_value()) return labels;
  TRY(stored->ForEach([&](const bolt::Entry& entry) {
    if (!entry.is_bucket) labels.emplace(entry.key, entry.value);
    return Ok();
  }));
  return labels;
}

// An empty map has no bucket, an empty value no entry.
Status WriteLabels(Bucket bucket, const model::Labels& labels) {
  const std::optional<Bucket> old = TRY(bucket.FindBucket(kLabels));
  if (old.has_value()) TRY(bucket.DeleteBucket(kLabels));
  const bool any = std::any_of(labels.begin(), labels.end(),
                               [](const auto& label) { return !label.second.empty(); });
  if (!any) return Ok();
  Bucket stored = TRY(bucket.CreateBucket(kLabels));
  for (const auto& [key, value] : labels) {
    if (!value.empty()) TRY(stored.Put(key, value));
  }
  return Ok();
}

Result<Record> ReadRecord(const Bucket& bucket, const std::string& key) {
  Record record;
  record.id = TRY(Field(bucket, key, kId, &DecodeUvarint));
  record.info.kind = TRY(Field(bucket, key, kKind, &DecodeKind));
  record.info.name = key;
  record.info.parent = TRY(FieldOr(bucket, key, kParent, &DecodeText, std::string()));
  record.info.created_at = TRY(FieldOr(bucket, key, kCreated, &DecodeTime, kZeroTime));
  record.info.updated_at = TRY(FieldOr(bucket, key, kUpdated, &DecodeTime, kZeroTime));
  record.info.labels = TRY(ReadLabels(bucket));
  record.usage.inodes = TRY(FieldOr(bucket, key, kInodes, &DecodeVarint, int64_t{0}));
  record.usage.size = TRY(FieldOr(bucket, key, kSize, &DecodeVarint, int64_t{0}));
  return record;
}

Result<std::optional<Record>> FindRecord(const Bucket& snapshots, const std::string& key) {
  if (key.empty()) return std::optional<Record>();
  const std::optional<Bucket> bucket = TRY(snapshots.FindBucket(key));
  if (!bucket.has_value()) return std::optional<Record>();
  Record record = TRY(ReadRecord(*bucket, key));
  return std::optional<Record>(std::move(record));
}

Result<Record> GetRecord(const Bucket& snapshots, const std::string& key) {
  std::optional<Record> record = TRY(FindRecord(snapshots, key));
  if (!record.has_value()) return NoSnapshot(key);
  return std::move(*record);
}

Status WriteRecord(Bucket snapshots, const Record& record) {
  Bucket bucket = TRY(snapshots.CreateBucket(record.info.name));
  TRY(bucket.Put(kId, EncodeUvarint(record.id)));
  TRY(bucket.Put(kKind, std::string(1, static_cast<char>(record.info.kind))));
  if (!record.info.parent.empty()) TRY(bucket.Put(kParent, record.info.parent));
  TRY(bucket.Put(kCreated, EncodeTime(record.info.created_at)));
  TRY(bucket.Put(kUpdated, EncodeTime(record.info.updated_at)));
  if (record.info.kind == Kind::kCommitted) {
    TRY(bucket.Put(kInodes, EncodeVarint(record.usage.inodes)));
    TRY(bucket.Put(kSize, EncodeVarint(record.usage.size)));
  }
  return WriteLabels(bucket, record.info.labels);
}

// The committed snapshot that may become a parent.
Result<Record> GetParent(const Bucket& snapshots, const std::string& parent) {
  std::optional<Record> record = TRY(FindRecord(snapshots, parent));
  if (!record.has_value()) return NotFoundError("parent snapshot ", parent);
  if (record->info.kind != Kind::kCommitted)
    return InvalidArgumentError("failed to create snapshot: parent ", Quoted(parent),
                                " is not committed snapshot");
  return std::move(*record);
}

// `nearest` and its ancestors.
Result<std::vector<uint64_t>> CollectIds(const Bucket& snapshots, Record nearest) {
  std::vector<uint64_t> ids = {nearest.id};
  std::string parent = std::move(nearest.info.parent);
  while (!parent.empty()) {
    if (ids.size() > kMaxDepth)
      return DataLossError("snapshot ", parent, ": more than ", kMaxDepth, " ancestors");
    const std::optional<Bucket> bucket = TRY(snapshots.FindBucket(parent));
    if (!bucket.has_value())
      return DataLossError("snapshot ", parent, ": is a parent and has no row");
    const uint64_t id = TRY(Field(*bucket, parent, kId, &DecodeUvarint));
    ids.push_back(id);
    parent = TRY(FieldOr(*bucket, parent, kParent, &DecodeText, std::string()));
  }
  return ids;
}

Result<bool> HasChildren(const Bucket& parents, uint64_t id) {
  const std::string prefix = ChildPrefix(id);
  bolt::Cursor cursor = parents.NewCursor();
  const std::optional<bolt::Entry> entry = TRY(cursor.Seek(prefix));
  return entry.has_value() && entry->key.starts_with(prefix);
}

Status CheckFree(const Bucket& snapshots, const std::string& name) {
  const std::optional<bolt::Entry> taken = TRY(snapshots.FindEntry(name));
  if (taken.has_value()) return AlreadyExistsError("snapshot ", name);
  return Ok();
}

// A row that nothing keeps from being deleted.
struct Removable {
  Record record;
  std::optional<uint64_t> parent_id;  // of a parent that is there
};

// Reads all that DeleteRow needs: what is wrong with a row, or its parent's, is told before
// anything has changed. Errors as Snapshotter::Remove, and kDataLoss.
Result<Removable> FindRemovable(const std::optional<Buckets>& buckets, const std::string& key) {
  if (!buckets.has_value()) return NoSnapshot(key);
  Record record = TRY(GetRecord(buckets->snapshots, key));
  const bool parent = TRY(HasChildren(buckets->parents, record.id));
  if (parent) return FailedPreconditionError("cannot remove snapshot with child");
  const std::optional<Record> above = TRY(FindRecord(buckets->snapshots, record.info.parent));
  return Removable{std::move(record), above.has_value() ? std::optional(above->id) : std::nullopt};
}

Status DeleteRow(Buckets& buckets, const Removable& row) {
  if (row.parent_id.has_value())
    TRY(buckets.parents.Delete(ChildKey(*row.parent_id, row.record.id)));
  return buckets.snapshots.DeleteBucket(row.record.info.name);
}

bool Matches(const model::Filter& filter, const Info& info) {
  return filter.matches_all() ||
         filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
           if (path.size() == 1 && path[0] == "name") return info.name;
           if (path.size() == 1 && path[0] == "parent") return info.parent;
           if (path.size() == 1 && path[0] == "kind") {
             std::string kind(KindName(info.kind));
             kind[0] = static_cast<char>(kind[0] | 0x20);  // lower case
             return kind;
           }
           if (path.size() > 1 && path[0] == "labels") return model::LookupLabel(info.labels, path);
           return std::nullopt;
         });
}

}  // namespace

Result<std::unique_ptr<MetaStore>> MetaStore::Open(const std::string& path, WallClock clock) {
  bolt::Options options;
  options.permissions = 0600;
  options.lock_timeout = kLockTime;
  std::unique_ptr<bolt::Db> db = TRY(bolt::Db::Open(path, options));
  auto store = std::unique_ptr<MetaStore>(new MetaStore(std::move(db), std::move(clock)));
  TRY(store->db_->View([&](const Tx& tx) -> Status {
    const std::optional<Buckets> buckets = TRY(Find(tx));
    if (buckets.has_value()) store->last_id_ = buckets->snapshots.Sequence();
    return Ok();
  }));
  return store;
}

MetaStore::~MetaStore() = default;

uint64_t MetaStore::ReserveId() { return last_id_.fetch_add(1) + 1; }

Result<std::vector<uint64_t>> MetaStore::CheckCreate(const std::string& key,
                                                     const std::string& parent) {
  if (key.empty()) return InvalidArgumentError("snapshot key is empty");
  std::vector<uint64_t> ids;
  TRY(db_->View([&](const Tx& tx) -> Status {
    const std::optional<Buckets> buckets = TRY(Find(tx));
    if (!buckets.has_value()) {
      if (!parent.empty()) return NotFoundError("parent snapshot ", parent);
      return Ok();
    }
    TRY(CheckFree(buckets->snapshots, key));
    if (parent.empty()) return Ok();
    Record record = TRY(GetParent(buckets->snapshots, parent));
    ids = TRY(CollectIds(buckets->snapshots, std::move(record)));
    return Ok();
  }));
  return ids;
}

Status MetaStore::Create(uint64_t id, const Info& info, uint64_t parent_id) {
  TRY(model::ValidateLabels(info.labels));
  Record record;
  record.id = id;
  record.info = info;
  record.info.created_at = clock_();
  record.info.updated_at = record.info.created_at;
  return db_->Update([&](Tx& tx) -> Status {
    Buckets buckets = TRY(Make(tx));
    TRY(CheckFree(buckets.snapshots, info.name));
    if (!info.parent.empty()) {
      const Record parent = TRY(GetParent(buckets.snapshots, info.parent));
      if (parent.id != parent_id)
        return NotFoundError("parent snapshot ", info.parent);  // replaced meanwhile
      TRY(buckets.parents.Put(ChildKey(parent.id, id), info.name));
    }
    TRY(WriteRecord(buckets.snapshots, record));
    if (buckets.snapshots.Sequence() < id) TRY(buckets.snapshots.SetSequence(id));
    return Ok();
  });
}

Result<Record> MetaStore::Get(const std::string& key) {
  Record record;
  TRY(db_->View([&](const Tx& tx) -> Status {
    const std::optional<Buckets> buckets = TRY(Find(tx));
    if (!buckets.has_value()) return NoSnapshot(key);
    record = TRY(GetRecord(buckets->snapshots, key));
    return Ok();
  }));
  return record;
}

Result<Chain> MetaStore::GetChain(const std::string& key) {
  Chain chain;
  TRY(db_->View([&](const Tx& tx) -> Status {
    const std::optional<Buckets> buckets = TRY(Find(tx));
    if (!buckets.has_value()) return NoSnapshot(key);
    chain.record = TRY(GetRecord(buckets->snapshots, key));
    chain.parent_ids = TRY(CollectIds(buckets->snapshots, chain.record));
    chain.parent_ids.erase(chain.parent_ids.begin());  // itself
    return Ok();
  }));
  return chain;
}

Status MetaStore::Commit(const std::string& name, const std::string& key, uint64_t id,
                         const Snapshotter::CommitOptions& options, Usage usage) {
  if (name.empty()) return InvalidArgumentError("snapshot name is empty");
  TRY(model::ValidateLabels(options.labels));
  return db_->Update([&](Tx& tx) -> Status {
    Buckets buckets = TRY(Make(tx));
    TRY(CheckFree(buckets.snapshots, name));
    Record record = TRY(GetRecord(buckets.snapshots, key));
    if (record.info.kind != Kind::kActive)
      return FailedPreconditionError("snapshot ", key, " is not active");
    if (record.id != id) return NoSnapshot(key);  // replaced while it was measured
    if (!options.parent.empty()) {
      if (!record.info.parent.empty())
        return InvalidArgumentError("snapshot ", key, " has a parent already");
      record.info.parent = options.parent;
    }
    if (!record.info.parent.empty()) {
      const Record parent = TRY(GetParent(buckets.snapshots, record.info.parent));
      TRY(buckets.parents.Put(ChildKey(parent.id, id), name));
    }
    TRY(buckets.snapshots.DeleteBucket(key));
    record.info.name = name;
    record.info.kind = Kind::kCommitted;
    record.info.labels = options.labels;
    record.info.created_at = clock_();
    record.info.updated_at = record.info.created_at;
    record.usage = usage;
    return WriteRecord(buckets.snapshots, record);
  });
}

Result<Record> MetaStore::Remove(const std::string& key) {
  return std::move(RemoveMany({key}).front());
}

std::vector<Result<Record>> MetaStore::RemoveMany(const std::vector<std::string>& keys) {
  std::vector<Result<Record>> removed;
  removed.reserve(keys.size());
  while (removed.size() < keys.size()) {
    const size_t begin = removed.size();
    const size_t end = std::min(keys.size(), begin + kRowsPerChange);
    const Status done = db_->Update([&](Tx& tx) -> Status {
      std::optional<Buckets> buckets = TRY(Find(tx));
      for (size_t at = begin; at < end; ++at) {
        Result<Removable> row = FindRemovable(buckets, keys[at]);
        if (row.ok()) TRY(DeleteRow(*buckets, *row));
        removed.push_back(row.ok() ? Result<Record>(std::move(row->record))
                                   : Result<Record>(std::move(row).TakeError()));
      }
      return Ok();
    });
    if (done.ok()) continue;
    removed.erase(removed.begin() + static_cast<ptrdiff_t>(begin), removed.end());
    while (removed.size() < end) removed.emplace_back(done.error().Clone());
  }
  return removed;
}

Result<Info> MetaStore::Update(const Info& info, const FieldPaths& paths) {
  Info updated;
  TRY(db_->Update([&](Tx& tx) -> Status {
    const std::optional<Buckets> buckets = TRY(Find(tx));
    if (!buckets.has_value()) return NoSnapshot(info.name);
    Record record = TRY(GetRecord(buckets->snapshots, info.name));
    TRY(model::UpdateLabels(record.info.labels, info.labels, paths));
    record.info.updated_at = clock_();
    Bucket bucket = TRY(buckets->snapshots.GetBucket(info.name));
    TRY(bucket.Put(kUpdated, EncodeTime(record.info.updated_at)));
    TRY(WriteLabels(bucket, record.info.labels));
    updated = std::move(record.info);
    return Ok();
  }));
  return updated;
}

Status MetaStore::Walk(const Filters& filters, const std::function<Status(const Record&)>& visit) {
  const model::Filter filter = TRY(model::Filter::Parse(filters));
  return db_->View([&](const Tx& tx) -> Status {
    const std::optional<Buckets> buckets = TRY(Find(tx));
    if (!buckets.has_value()) return Ok();
    return buckets->snapshots.ForEach([&](const bolt::Entry& entry) -> Status {
      if (!entry.is_bucket) return Ok();
      const Record record = TRY(GetRecord(buckets->snapshots, std::string(entry.key)));
      if (Matches(filter, record.info)) TRY(visit(record));
      return Ok();
    });
  });
}

Result<std::set<uint64_t>> MetaStore::Ids() {
  std::set<uint64_t> ids;
  TRY(db_->View([&](const Tx& tx) -> Status {
    const std::optional<Buckets> buckets = TRY(Find(tx));
    if (!buckets.has_value()) return Ok();
    return buckets->snapshots.ForEach([&](const bolt::Entry& entry) -> Status {
      if (!entry.is_bucket) return Ok();
      const std::string key(entry.key);
      const Bucket bucket = TRY(buckets->snapshots.GetBucket(key));
      const uint64_t id = TRY(Field(bucket, key, kId, &DecodeUvarint));
      ids.insert(id);
      return Ok();
    });
  }));
  return ids;
}

}  // namespace corten::snapshot
