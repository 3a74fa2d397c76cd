#include "metadata/db/schema.h"

#include "metadata/db/codec.h"

namespace corten::metadata {

Result<MaybeBucket> FindPath(const bolt::Bucket& bucket,
                             std::initializer_list<std::string_view> names) {
  MaybeBucket at = bucket;
  for (const std::string_view name : names) {
    at = TRY(at->FindBucket(name));
    if (!at) break;
  }
  return at;
}

Result<MaybeBucket> FindIn(const bolt::Tx& tx, const model::Namespace& ns,
                           std::initializer_list<std::string_view> names) {
  const MaybeBucket top = TRY(FindPath(tx.Root(), {key::kV1, ns.str()}));
  if (!top) return MaybeBucket();
  return FindPath(*top, names);
}

Result<bolt::Bucket> MakeIn(bolt::Tx& tx, const model::Namespace& ns,
                            std::initializer_list<std::string_view> names) {
  if (ns.str() == key::kVersion) return UnknownError("incompatible value");  // that key is taken
  bolt::Bucket at = TRY(tx.CreateBucketIfNotExists(key::kV1));
  at = TRY(at.CreateBucketIfNotExists(ns.str()));
  for (const std::string_view name : names) at = TRY(at.CreateBucketIfNotExists(name));
  return at;
}

Status CopyBucket(const bolt::Bucket& from, bolt::Bucket to) {
  TRY(to.SetSequence(from.Sequence()));
  return from.ForEach([&](const bolt::Entry& entry) -> Status {
    if (!entry.is_bucket) return to.Put(entry.key, entry.value);
    const bolt::Bucket child = TRY(from.GetBucket(entry.key));
    const bolt::Bucket copy = TRY(to.CreateBucketIfNotExists(entry.key));
    return CopyBucket(child, copy);
  });
}

Result<std::string_view> ReadBytes(const bolt::Bucket& bucket, std::string_view name) {
  const std::optional<std::string_view> value = TRY(bucket.Find(name));
  return value.value_or(std::string_view());
}

Result<Time> ReadTime(const bolt::Bucket& bucket, std::string_view name) {
  const std::optional<std::string_view> value = TRY(bucket.Find(name));
  if (!value) return kZeroTime;
  return DecodeTime(*value);
}

Result<int64_t> ReadNumber(const bolt::Bucket& bucket, std::string_view name) {
  const std::optional<std::string_view> value = TRY(bucket.Find(name));
  if (!value || value->empty()) return 0;
  return DecodeVarint(*value);
}

Result<std::optional<model::Any>> ReadAny(const bolt::Bucket& bucket, std::string_view name) {
  const std::optional<std::string_view> value = TRY(bucket.Find(name));
  if (!value) return std::optional<model::Any>();
  model::Any any = TRY(DecodeAny(*value));
  return std::optional<model::Any>(std::move(any));
}

Result<model::Labels> ReadMap(const bolt::Bucket& bucket, std::string_view name) {
  const MaybeBucket stored = TRY(bucket.FindBucket(name));
  if (!stored) return model::Labels();
  return ReadPairs(*stored);
}

Result<model::Labels> ReadPairs(const bolt::Bucket& stored) {
  model::Labels map;
  TRY(stored.ForEach([&](const bolt::Entry& entry) -> Status {
    if (!entry.is_bucket)
      map.emplace_hint(map.end(), std::string(entry.key), std::string(entry.value));
    return Ok();
  }));
  return map;
}

Status WriteMap(bolt::Bucket bucket, std::string_view name, const model::Labels& map) {
  const MaybeBucket before = TRY(bucket.FindBucket(name));
  if (before) TRY(bucket.DeleteBucket(name));
  if (map.empty()) return Ok();
  bolt::Bucket stored = TRY(bucket.CreateBucket(name));
  for (const auto& [label, value] : map) {
    if (value.empty()) continue;
    if (label.empty())
      return UnknownError("failed to set label \"\"=", Quoted(value), ": key required");
    TRY(stored.Put(label, value));
  }
  return Ok();
}

Result<std::optional<std::string_view>> ReadLabel(const bolt::Bucket& bucket,
                                                  std::string_view label) {
  const MaybeBucket stored = TRY(bucket.FindBucket(key::kLabels));
  if (!stored) return std::optional<std::string_view>();
  return stored->Find(label);
}

Result<std::map<std::string, model::Any>> ReadAnys(const bolt::Bucket& stored) {
  std::map<std::string, model::Any> anys;
  TRY(stored.ForEach([&](const bolt::Entry& entry) -> Status {
    if (entry.is_bucket) return Ok();
    model::Any any = TRY(DecodeAny(entry.value));
    anys.emplace_hint(anys.end(), std::string(entry.key), std::move(any));
    return Ok();
  }));
  return anys;
}

Status MergeExtensions(bolt::Bucket bucket, const std::map<std::string, model::Any>& extensions) {
  if (extensions.empty()) return Ok();
  bolt::Bucket stored = TRY(bucket.CreateBucketIfNotExists(key::kExtensions));
  for (const auto& [name, any] : extensions) TRY(stored.Put(name, EncodeAny(any)));
  return Ok();
}

Result<RuntimeInfo> ReadRuntime(const bolt::Bucket& stored) {
  RuntimeInfo runtime;
  runtime.name = TRY(ReadBytes(stored, key::kName));
  runtime.options = TRY(ReadAny(stored, key::kOptions));
  return runtime;
}

Status WriteRuntime(bolt::Bucket bucket, const RuntimeInfo& runtime) {
  bolt::Bucket stored = TRY(bucket.CreateBucketIfNotExists(key::kRuntime));
  TRY(stored.Put(key::kName, runtime.name));
  if (runtime.options) TRY(stored.Put(key::kOptions, EncodeAny(*runtime.options)));
  return Ok();
}

bool MaskKey(std::string_view path, std::string_view field, std::string* key) {
  if (!path.starts_with(field) || path.size() <= field.size() || path[field.size()] != '.')
    return false;
  *key = path.substr(field.size() + 1);
  return true;
}

Status ApplyLabelMask(const FieldPaths& paths, const model::Labels& wanted, std::string_view what,
                      model::Labels* labels) {
  if (paths.empty()) *labels = wanted;
  for (const std::string& path : paths) {
    std::string label;
    if (path == "labels") {
      *labels = wanted;
    } else if (MaskKey(path, "labels", &label)) {
      const auto value = wanted.find(label);
      (*labels)[label] = value == wanted.end() ? std::string() : value->second;
    } else {
      return InvalidArgumentError("cannot update ", Quoted(path), " field on ", what);
    }
  }
  return Ok();
}

Status CheckLabels(const model::Labels& labels, std::string_view context) {
  return model::ValidateLabels(labels).Context(context);
}

Result<model::Filter> ParseListFilters(const std::vector<std::string>& filters) {
  Result<model::Filter> filter = model::Filter::Parse(filters);
  if (filter.ok()) return filter;
  return InvalidArgumentError(filter.error().WireText(), ": invalid argument");
}

Status CheckNamespace(const model::Namespace& ns) {
  if (ns.empty()) return FailedPreconditionError("namespace is required");
  return model::ValidateIdentifier(ns.str(), "identifier").Context("namespace validation");
}

}  // namespace corten::metadata
