#include "bolt/model.h"

#include <iterator>
#include <utility>

#include "base/strcat.h"

namespace corten::bolt {

namespace {

Error Differs(const std::string& path, const std::string& what) {
  return InternalError(path, ": ", what);
}

// Every key of a model bucket in order, with what kind it is.
std::map<std::string_view, bool> Keys(const ModelBucket& model) {
  std::map<std::string_view, bool> keys;
  for (const auto& [key, value] : model.values) keys.emplace(key, false);
  for (const auto& [key, bucket] : model.buckets) keys.emplace(key, true);
  return keys;
}

Status CompareEntry(const Bucket& bucket, const ModelBucket& model, const Entry& entry,
                    const std::string& path) {
  const std::string key(entry.key);
  const std::string at = StrCat(path, key);
  const std::optional<Entry> found = TRY(bucket.FindEntry(key));
  if (!found || found->value != entry.value || found->is_bucket != entry.is_bucket) {
    return Differs(at, "found by walking, not by key");
  }
  if (!entry.is_bucket) {
    if (model.values.at(key) != entry.value) return Differs(at, "another value");
    return Ok();
  }
  const Bucket child = TRY(bucket.GetBucket(key));
  return Compare(child, model.buckets.at(key), at + "/");
}

}  // namespace

Status Compare(const Bucket& bucket, const ModelBucket& model, const std::string& path) {
  if (bucket.Sequence() != model.sequence) return Differs(path, "another sequence");
  const std::map<std::string_view, bool> keys = Keys(model);
  Cursor cursor = bucket.NewCursor();
  auto expected = keys.begin();
  for (std::optional<Entry> entry = TRY(cursor.First()); entry; entry = TRY(cursor.Next())) {
    if (expected == keys.end())
      return Differs(path, StrCat("has ", Quoted(entry->key), ", which should not be there"));
    if (expected->first != entry->key) {
      return Differs(path, StrCat("has ", Quoted(entry->key), " where ", Quoted(expected->first),
                                  " should be"));
    }
    if (expected->second != entry->is_bucket)
      return Differs(path, StrCat(Quoted(entry->key), " is of another kind"));
    TRY(CompareEntry(bucket, model, *entry, path));
    ++expected;
  }
  if (expected != keys.end()) return Differs(path, StrCat("lacks ", Quoted(expected->first)));
  auto backwards = keys.rbegin();
  for (std::optional<Entry> entry = TRY(cursor.Prev()); entry; entry = TRY(cursor.Prev())) {
    if (backwards == keys.rend() || backwards->first != entry->key)
      return Differs(path, "differs when walked backwards");
    ++backwards;
  }
  if (backwards != keys.rend()) return Differs(path, "is shorter when walked backwards");
  return Ok();
}

std::string ModelSteps::Key() {
  const uint64_t number = Below(options_.max_keys);
  // Short and long keys, shared prefixes, bytes above 127.
  switch (number % 5) {
    case 0:
      return StrCat("k", number);
    case 1:
      return StrCat("sha256:", std::string(57, static_cast<char>('a' + number % 3)), number);
    case 2:
      return StrCat(std::string(1, static_cast<char>(number % 256)), number);
    case 3:
      return std::string(number % 200 + 1, 'z');
    default:
      return StrCat("namespace/", number, "/layer");
  }
}

std::string ModelSteps::Value() {
  const size_t size = Below(options_.max_value) * (Below(40) == 0 ? 20 : 1);
  return std::string(size, static_cast<char>(Below(256)));
}

Status ModelSteps::Take(Tx& tx, ModelBucket* model) {
  for (uint64_t left = Below(options_.max_steps) + 1; left > 0; --left) TRY(Step(tx.Root(), model));
  return Ok();
}

// Goes down into random buckets, then changes something there.
Status ModelSteps::Step(Bucket bucket, ModelBucket* model) {
  const ModelBucket* top = model;
  for (size_t depth = 0; depth < options_.max_depth && !model->buckets.empty() && Below(4) != 0;
       ++depth) {
    const auto child =
        std::next(model->buckets.begin(), static_cast<ptrdiff_t>(Below(model->buckets.size())));
    bucket = TRY(bucket.GetBucket(child->first));
    model = &child->second;
  }
  const uint64_t kind = Below(100);
  if (model == top) return StepBucket(bucket, model);  // the top level holds buckets only
  if (kind < 70) return StepValue(bucket, model);
  if (kind < 75) return StepSequence(bucket, model);
  if (kind < 92) return StepBucket(bucket, model);
  return StepCursor(bucket, model);
}

Status ModelSteps::StepValue(Bucket& bucket, ModelBucket* model) {
  const std::string key = Key();
  const bool is_bucket = model->buckets.contains(key);
  if (Below(3) == 0) {
    const Status status = bucket.Delete(key);
    if (status.ok() == is_bucket) return Differs(key, "delete differs");
    model->values.erase(key);
    return Ok();
  }
  const std::string value = Value();
  const Status status = bucket.Put(key, value);
  if (status.ok() == is_bucket) return Differs(key, "put differs");
  if (status.ok()) model->values[key] = value;
  return Ok();
}

Status ModelSteps::StepSequence(Bucket& bucket, ModelBucket* model) {
  const uint64_t sequence = TRY(bucket.NextSequence());
  if (sequence != ++model->sequence) return Differs("", "sequence differs");
  return Ok();
}

Status ModelSteps::StepBucket(Bucket& bucket, ModelBucket* model) {
  const std::string key = Key();
  const bool taken = model->values.contains(key) || model->buckets.contains(key);
  switch (Below(4)) {
    case 0: {
      const Status status = bucket.DeleteBucket(key);
      if (status.ok() != model->buckets.contains(key)) return Differs(key, "delete bucket differs");
      model->buckets.erase(key);
      return Ok();
    }
    case 1: {
      const Result<Bucket> created = bucket.CreateBucketIfNotExists(key);
      if (created.ok() == model->values.contains(key))
        return Differs(key, "create bucket if not exists differs");
      if (created.ok()) (void)model->buckets[key];
      return Ok();
    }
    default: {
      Result<Bucket> created = bucket.CreateBucket(key);
      if (created.ok() == taken) return Differs(key, "create bucket differs");
      if (!created.ok()) return Ok();
      TRY(created->SetSequence(Below(1000)));
      model->buckets[key].sequence = created->Sequence();
      return Ok();
    }
  }
}

// Deletes values along a walk from a random place.
Status ModelSteps::StepCursor(Bucket& bucket, ModelBucket* model) {
  const std::string from = Key();
  Cursor cursor = bucket.NewCursor();
  std::map<std::string_view, bool> keys = Keys(*model);
  auto expected = keys.lower_bound(from);
  std::vector<std::string> gone;
  std::optional<Entry> entry = TRY(cursor.Seek(from));
  for (uint64_t left = Below(30); left > 0; --left) {
    if (entry.has_value() != (expected != keys.end())) return Differs(from, "walk ends elsewhere");
    if (!entry) break;
    if (entry->key != expected->first) return Differs(from, "walk sees another key");
    if (!entry->is_bucket && Below(2) == 0) {
      TRY(cursor.Delete());
      gone.emplace_back(entry->key);
    }
    entry = TRY(cursor.Next());
    ++expected;
  }
  for (const std::string& key : gone) model->values.erase(key);
  return Ok();
}

}  // namespace corten::bolt
