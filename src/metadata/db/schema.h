// Names and shapes of the buckets of meta.db, schema v1 version 4, and the ways through them.
//
//   v1 / NAMESPACE / { labels, images, containers, content { blob, ingests }, snapshots /
//   SNAPSHOTTER, leases, sandboxes } v1 / version
//
// The full tree with every key is in docs/formats/metadata.md.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "bolt/tx.h"
#include "metadata/stores.h"
#include "model/filter.h"
#include "model/ids.h"
#include "model/labels.h"

namespace corten::metadata {

namespace key {
inline constexpr std::string_view kV1 = "v1";
inline constexpr std::string_view kVersion = "version";
inline constexpr std::string_view kLabels = "labels";
inline constexpr std::string_view kImages = "images";
inline constexpr std::string_view kContainers = "containers";
inline constexpr std::string_view kContent = "content";
inline constexpr std::string_view kBlob = "blob";
inline constexpr std::string_view kIngests = "ingests";
inline constexpr std::string_view kOldIngests = "ingest";  // before version 2
inline constexpr std::string_view kSnapshots = "snapshots";
inline constexpr std::string_view kLeases = "leases";
inline constexpr std::string_view kSandboxes = "sandboxes";
inline constexpr std::string_view kCreatedAt = "createdat";
inline constexpr std::string_view kUpdatedAt = "updatedat";
inline constexpr std::string_view kAnnotations = "annotations";
inline constexpr std::string_view kTarget = "target";
inline constexpr std::string_view kDigest = "digest";
inline constexpr std::string_view kMediaType = "mediatype";
inline constexpr std::string_view kSize = "size";
inline constexpr std::string_view kSpec = "spec";
inline constexpr std::string_view kImage = "image";
inline constexpr std::string_view kSnapshotter = "snapshotter";
inline constexpr std::string_view kSnapshotKey = "snapshotKey";
inline constexpr std::string_view kSandboxId = "sandboxid";
inline constexpr std::string_view kRuntime = "runtime";
inline constexpr std::string_view kName = "name";
inline constexpr std::string_view kOptions = "options";
inline constexpr std::string_view kExtensions = "extensions";
inline constexpr std::string_view kRef = "ref";
inline constexpr std::string_view kExpireAt = "expireat";
inline constexpr std::string_view kExpected = "expected";
inline constexpr std::string_view kParent = "parent";
inline constexpr std::string_view kChildren = "children";
inline constexpr std::string_view kSandboxer = "sandboxer";
}  // namespace key

inline constexpr int64_t kSchemaVersion = 4;

namespace gc_label {
inline constexpr std::string_view kPrefix = "containerd.io/gc.";
inline constexpr std::string_view kExpire = "containerd.io/gc.expire";
inline constexpr std::string_view kFlat = "containerd.io/gc.flat";
inline constexpr std::string_view kRoot = "containerd.io/gc.root";
inline constexpr std::string_view kRef = "containerd.io/gc.ref.";
inline constexpr std::string_view kBackRef = "containerd.io/gc.bref.";
inline constexpr std::string_view kCondSnapshot = "containerd.io/gc.cond.snapshot.";
inline constexpr std::string_view kUsedAt = "containerd.io/gc.cond.value-usedat";
}  // namespace gc_label

using MaybeBucket = std::optional<bolt::Bucket>;

// Follows names from `bucket`; nullopt as soon as one is missing.
Result<MaybeBucket> FindPath(const bolt::Bucket& bucket,
                             std::initializer_list<std::string_view> names);
// v1/NAMESPACE/names...
Result<MaybeBucket> FindIn(const bolt::Tx& tx, const model::Namespace& ns,
                           std::initializer_list<std::string_view> names);
// The same, creating what is missing (the namespace too).
Result<bolt::Bucket> MakeIn(bolt::Tx& tx, const model::Namespace& ns,
                            std::initializer_list<std::string_view> names);

// Everything in `from`, nested buckets and sequences too.
Status CopyBucket(const bolt::Bucket& from, bolt::Bucket to);

// Calls `visit(entry, bucket)` for each entry in byte order; bucket is nullptr for plain values.
template <typename F>
Status ForEachEntry(const bolt::Bucket& parent, F&& visit) {
  bolt::Cursor cursor = parent.NewCursor();
  std::optional<bolt::Entry> entry = TRY(cursor.First());
  while (entry) {
    if (entry->is_bucket) {
      const MaybeBucket child = TRY(cursor.FindBucket());
      TRY(visit(*entry, child ? &*child : nullptr));
    } else {
      TRY(visit(*entry, static_cast<const bolt::Bucket*>(nullptr)));
    }
    entry = TRY(cursor.Next());
  }
  return Ok();
}

// Calls `visit(name, bucket)` for each bucket inside `parent`, in byte order.
template <typename F>
Status ForEachBucket(const bolt::Bucket& parent, F&& visit) {
  return ForEachEntry(parent, [&](const bolt::Entry& entry, const bolt::Bucket* child) -> Status {
    return child != nullptr ? visit(entry.key, *child) : Ok();
  });
}

// The value of `name`, "" if there is none.
Result<std::string_view> ReadBytes(const bolt::Bucket& bucket, std::string_view name);
Result<Time> ReadTime(const bolt::Bucket& bucket, std::string_view name);  // zero time if missing
Result<int64_t> ReadNumber(const bolt::Bucket& bucket, std::string_view name);  // 0 if missing
Result<std::optional<model::Any>> ReadAny(const bolt::Bucket& bucket, std::string_view name);

// String maps are buckets: none for an empty map, none for an absent one; empty values are left
// out. An empty key is kUnknown `key required`, the store's own word for it.
Result<model::Labels> ReadMap(const bolt::Bucket& bucket, std::string_view name);
Result<model::Labels> ReadPairs(
    const bolt::Bucket& stored);  // the same, of the map's bucket itself
Status WriteMap(bolt::Bucket bucket, std::string_view name, const model::Labels& map);
// nullopt: not in the map.
Result<std::optional<std::string_view>> ReadLabel(const bolt::Bucket& bucket,
                                                  std::string_view label);

// Extensions and runtimes of containers and sandboxes.
Result<std::map<std::string, model::Any>> ReadAnys(const bolt::Bucket& stored);
Status MergeExtensions(bolt::Bucket bucket, const std::map<std::string, model::Any>& extensions);
Result<RuntimeInfo> ReadRuntime(const bolt::Bucket& stored);
Status WriteRuntime(bolt::Bucket bucket, const RuntimeInfo& runtime);

// Splits "labels.KEY" for a mask path; false if `path` is not `field` plus "." plus something.
bool MaskKey(std::string_view path, std::string_view field, std::string* key);
// Applies label mask `paths` of `wanted` to `labels`. kInvalidArgument `cannot update "x" field on
// WHAT`.
Status ApplyLabelMask(const FieldPaths& paths, const model::Labels& wanted, std::string_view what,
                      model::Labels* labels);

// kInvalidArgument `CONTEXT: label key and value ...`.
Status CheckLabels(const model::Labels& labels, std::string_view context);
Status CheckNamespace(
    const model::Namespace& ns);  // kFailedPrecondition if empty; kInvalidArgument
// The filters of a List of containers, images, leases or sandboxes.
// Wire: containerd ends these parse errors with the marker twice, and ctr shows it (golden:
// storage.scenario).
Result<model::Filter> ParseListFilters(const std::vector<std::string>& filters);

}  // namespace corten::metadata
