#include <string>

#include "base/strcat.h"
#include "bolt/level.h"
#include "bolt/tx.h"
#include "bolt/tx_state.h"
#include "bolt/write_tx.h"

namespace corten::bolt {

Status Bucket::CheckAlive() const {
  for (const BucketNode* bucket = node_; bucket != nullptr; bucket = bucket->parent) {
    if (bucket->deleted)
      return FailedPreconditionError("bucket ", Quoted(bucket->name), " was deleted");
  }
  return Ok();
}

Status Bucket::CheckWritable() const {
  if (node_ == nullptr) return FailedPreconditionError("tx not writable");
  return CheckAlive();
}

Result<Level> Bucket::RootLevel() const {
  if (node_ != nullptr) return RootOf(*tx_, *node_);
  const PageView page =
      TRY(root_.page != 0 ? tx_->LoadPage(root_.page) : tx_->LoadInline(root_.inline_page));
  return LevelOf(page);
}

Result<std::optional<Entry>> Bucket::FindEntry(std::string_view key) const {
  TRY(CheckAlive());
  const Level root = TRY(RootLevel());
  Level leaf;
  const bool exact = TRY(SeekLeaf(*tx_, root, key, &leaf));
  if (!exact) return std::optional<Entry>();
  Item item;
  if (!LeafAt(leaf, leaf.index, &item)) return ElementDamage(*tx_, leaf);
  return std::optional<Entry>(
      Entry{item.key, item.is_bucket ? std::string_view() : item.value, item.is_bucket});
}

Result<std::optional<std::string_view>> Bucket::Find(std::string_view key) const {
  const std::optional<Entry> entry = TRY(FindEntry(key));
  if (!entry || entry->is_bucket) return std::optional<std::string_view>();
  return std::optional<std::string_view>(entry->value);
}

Result<std::string_view> Bucket::Get(std::string_view key) const {
  const std::optional<std::string_view> value = TRY(Find(key));
  if (!value) return NotFoundError("key ", Quoted(key));
  return *value;
}

Result<std::optional<Bucket>> Bucket::FindBucket(std::string_view name) const {
  TRY(CheckAlive());
  if (node_ != nullptr) {
    BucketNode* bucket = TRY(tx_->writer()->OpenBucket(*node_, name));
    if (bucket == nullptr) return std::optional<Bucket>();
    return std::optional<Bucket>(Bucket(tx_, bucket));
  }
  const Level root = TRY(RootLevel());
  Level leaf;
  const bool exact = TRY(SeekLeaf(*tx_, root, name, &leaf));
  if (!exact) return std::optional<Bucket>();
  return OpenAt(leaf);
}

// The bucket that a leaf's element at its index holds. In a read transaction.
Result<std::optional<Bucket>> Bucket::OpenAt(const Level& leaf) const {
  Item item;
  if (!LeafAt(leaf, leaf.index, &item)) return ElementDamage(*tx_, leaf);
  if (!item.is_bucket) return std::optional<Bucket>();
  const std::optional<BucketHeader> header = DecodeBucket(item.value);
  if (!header || depth_ >= kMaxBucketDepth || leaf.id == 0) {
    return tx_->Damage(leaf.id, StrCat("bucket ", Quoted(item.key), " cannot be opened"));
  }
  return std::optional<Bucket>(
      Bucket(tx_, {header->root_page, header->sequence, header->inline_page}, depth_ + 1));
}

Result<Bucket> Bucket::GetBucket(std::string_view name) const {
  const std::optional<Bucket> bucket = TRY(FindBucket(name));
  if (!bucket) return NotFoundError("bucket ", Quoted(name));
  return *bucket;
}

Cursor Bucket::NewCursor() const { return Cursor(*this); }

Status Bucket::ForEach(const std::function<Status(const Entry&)>& fn) const {
  Cursor cursor = NewCursor();
  for (std::optional<Entry> entry = TRY(cursor.First()); entry; entry = TRY(cursor.Next()))
    TRY(fn(*entry));
  return Ok();
}

Result<bool> Bucket::Empty() const {
  const std::optional<Entry> first = TRY(NewCursor().First());
  return !first.has_value();
}

uint64_t Bucket::Sequence() const { return node_ != nullptr ? node_->sequence : root_.sequence; }

// The original has no way to put anything but buckets there, and parts of it end when they meet
// something else.
Status Bucket::CheckBelowTop() const {
  TRY(CheckWritable());
  if (node_->parent == nullptr) return InvalidArgumentError("the top level holds buckets only");
  return Ok();
}

Status Bucket::Put(std::string_view key, std::string_view value) {
  TRY(CheckBelowTop());
  if (key.empty()) return InvalidArgumentError("key required");
  if (key.size() > kMaxKeySize) return InvalidArgumentError("key too large");
  if (value.size() > kMaxValueSize) return InvalidArgumentError("value too large");
  return tx_->writer()->Put(*node_, key, value);
}

Status Bucket::Delete(std::string_view key) {
  TRY(CheckWritable());
  return tx_->writer()->Delete(*node_, key);
}

Status Bucket::CheckNewName(std::string_view name) const {
  TRY(CheckWritable());
  if (name.empty()) return InvalidArgumentError("bucket name required");
  if (name.size() > kMaxKeySize) return InvalidArgumentError("key too large");
  return Ok();
}

Result<Bucket> Bucket::CreateBucket(std::string_view name) {
  TRY(CheckNewName(name));
  BucketNode* bucket = TRY(tx_->writer()->CreateBucket(*node_, name));
  return Bucket(tx_, bucket);
}

Result<Bucket> Bucket::CreateBucketIfNotExists(std::string_view name) {
  TRY(CheckNewName(name));
  const std::optional<Bucket> existing = TRY(FindBucket(name));
  if (existing) return *existing;
  return CreateBucket(name);
}

Status Bucket::DeleteBucket(std::string_view name) {
  TRY(CheckWritable());
  return tx_->writer()->DeleteBucket(*node_, name);
}

Result<uint64_t> Bucket::NextSequence() {
  TRY(CheckBelowTop());
  tx_->writer()->SetSequence(*node_, node_->sequence + 1);
  return node_->sequence;
}

Status Bucket::SetSequence(uint64_t value) {
  TRY(CheckBelowTop());
  tx_->writer()->SetSequence(*node_, value);
  return Ok();
}

}  // namespace corten::bolt
