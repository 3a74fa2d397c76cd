#include "metadata/db/migrate.h"

#include <string>
#include <utility>
#include <vector>

#include "metadata/db/codec.h"
#include "metadata/db/schema.h"

namespace corten::metadata {

namespace {

// Version 1: a snapshot's row lists its children.
Status LinkChildren(const bolt::Bucket& ns) {
  const MaybeBucket snapshots = TRY(ns.FindBucket(key::kSnapshots));
  if (!snapshots) return Ok();
  return ForEachBucket(*snapshots, [](std::string_view, bolt::Bucket rows) -> Status {
    std::vector<std::pair<std::string, std::string>> links;  // parent, child
    TRY(ForEachBucket(rows, [&](std::string_view name, const bolt::Bucket& row) -> Status {
      const std::string_view parent = TRY(ReadBytes(row, key::kParent));
      if (!parent.empty()) links.emplace_back(parent, name);
      return Ok();
    }));
    for (const auto& [parent, child] : links) {
      MaybeBucket row = TRY(rows.FindBucket(parent));
      if (!row) continue;
      bolt::Bucket children = TRY(row->CreateBucketIfNotExists(key::kChildren));
      TRY(children.Put(child, ""));
    }
    return Ok();
  });
}

// Version 2: an ingest is a bucket.
Status StructureIngests(const bolt::Bucket& ns) {
  MaybeBucket content = TRY(ns.FindBucket(key::kContent));
  if (!content) return Ok();
  const MaybeBucket old = TRY(content->FindBucket(key::kOldIngests));
  if (!old) return Ok();
  bolt::Bucket ingests = TRY(content->CreateBucketIfNotExists(key::kIngests));
  TRY(old->ForEach([&](const bolt::Entry& entry) -> Status {
    bolt::Bucket row = TRY(ingests.CreateBucketIfNotExists(entry.key));
    return row.Put(key::kRef, entry.value);
  }));
  return content->DeleteBucket(key::kOldIngests);
}

// Version 4: sandboxes move from NAMESPACE/sandboxes at the top into v1.
Status MoveSandboxes(bolt::Tx& tx) {
  std::vector<std::string> namespaces;
  TRY(ForEachBucket(tx.Root(), [&](std::string_view name, const bolt::Bucket& bucket) -> Status {
    const MaybeBucket sandboxes = TRY(bucket.FindBucket(key::kSandboxes));
    if (name != key::kV1 && sandboxes) namespaces.emplace_back(name);
    return Ok();
  }));
  for (const std::string& name : namespaces) {
    const MaybeBucket from = TRY(FindPath(tx.Root(), {name, key::kSandboxes}));
    const bolt::Bucket to = TRY(MakeIn(tx, model::Namespace(name), {key::kSandboxes}));
    TRY(CopyBucket(*from, to));
    TRY(tx.DeleteBucket(name));
  }
  return Ok();
}

Result<int64_t> Version(const bolt::Tx& tx) {
  const MaybeBucket top = TRY(tx.FindBucket(key::kV1));
  if (!top) return int64_t{-1};
  return ReadNumber(*top, key::kVersion);
}

}  // namespace

Status Migrate(bolt::Db& db) {
  int64_t version = 0;
  TRY(db.View([&](const bolt::Tx& tx) -> Status {
    version = TRY(Version(tx));
    return Ok();
  }));
  if (version >= kSchemaVersion) return Ok();
  return db.Update([&](bolt::Tx& tx) -> Status {
    bolt::Bucket top = TRY(tx.CreateBucketIfNotExists(key::kV1));
    const auto each = [&](Status (*step)(const bolt::Bucket&)) {
      return ForEachBucket(top, [&](std::string_view, const bolt::Bucket& ns) { return step(ns); });
    };
    if (version >= 0 && version < 1) TRY(each(&LinkChildren));
    if (version >= 0 && version < 2) TRY(each(&StructureIngests));
    if (version < 4) TRY(MoveSandboxes(tx));  // a file that only ever held sandboxes has no v1
    return top.Put(key::kVersion, EncodeVarint(kSchemaVersion));
  });
}

}  // namespace corten::metadata
