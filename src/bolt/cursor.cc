#include "base/strcat.h"
#include "bolt/level.h"
#include "bolt/tx.h"
#include "bolt/tx_state.h"
#include "bolt/write_tx.h"

namespace corten::bolt {

uint64_t Cursor::Changes() const { return bucket_.node_ != nullptr ? bucket_.node_->changes : 0; }

Status Cursor::StartAtRoot() {
  TRY(bucket_.CheckAlive());
  at_ = At::kBegin;  // until the move has arrived somewhere
  path_.clear();
  changes_ = Changes();
  const Level root = TRY(bucket_.RootLevel());
  path_.push_back(root);
  return Ok();
}

// Into the child that the last level of the path points at.
Status Cursor::Enter() {
  const Level& branch = path_.back();
  if (path_.size() >= kMaxTreeDepth) return bucket_.tx_->Damage(branch.id, "tree is too deep");
  const Level child = TRY(ChildOf(*bucket_.tx_, branch, branch.index));
  path_.push_back(child);
  return Ok();
}

// From the last level of the path down to a leaf: before its first element, or behind its last one.
Status Cursor::Descend(bool to_last) {
  while (true) {
    Level& level = path_.back();
    level.index = to_last ? Count(level) : 0;
    if (IsLeaf(level)) return Ok();
    if (to_last && level.index > 0) --level.index;
    TRY(Enter());
  }
}

// The entry the path leads to.
Result<std::optional<Entry>> Cursor::Arrive() {
  const Level& leaf = path_.back();
  Item item;
  if (!LeafAt(leaf, leaf.index, &item)) return ElementDamage(*bucket_.tx_, leaf);
  at_ = At::kEntry;
  key_ = item.key;
  return std::optional<Entry>(
      Entry{item.key, item.is_bucket ? std::string_view() : item.value, item.is_bucket});
}

// To the entry at the path's place in a leaf, or the next one if that is behind the leaf's last.
Result<std::optional<Entry>> Cursor::StepForward() {
  at_ = At::kBegin;
  for (uint64_t empty_leaves = 0;; ++empty_leaves) {
    const Level& leaf = path_.back();
    if (leaf.index < Count(leaf)) return Arrive();
    if (empty_leaves > bucket_.tx_->meta().high_water + kMaxTreeDepth) {
      return bucket_.tx_->Damage(leaf.id, "pages are reached more than once");
    }
    do {
      path_.pop_back();
    } while (!path_.empty() && path_.back().index + 1 >= Count(path_.back()));
    if (path_.empty()) {
      at_ = At::kEnd;
      return std::optional<Entry>();
    }
    ++path_.back().index;
    TRY(Enter());
    TRY(Descend(/*to_last=*/false));
  }
}

// To the entry before the path's place in a leaf.
Result<std::optional<Entry>> Cursor::StepBackward() {
  at_ = At::kBegin;
  for (uint64_t empty_leaves = 0;; ++empty_leaves) {
    Level& leaf = path_.back();
    if (leaf.index > 0) {
      --leaf.index;
      return Arrive();
    }
    if (empty_leaves > bucket_.tx_->meta().high_water + kMaxTreeDepth) {
      return bucket_.tx_->Damage(leaf.id, "pages are reached more than once");
    }
    do {
      path_.pop_back();
    } while (!path_.empty() && path_.back().index == 0);
    if (path_.empty()) return std::optional<Entry>();
    --path_.back().index;
    TRY(Enter());
    TRY(Descend(/*to_last=*/true));
  }
}

Result<std::optional<Entry>> Cursor::First() {
  TRY(StartAtRoot());
  TRY(Descend(/*to_last=*/false));
  return StepForward();
}

Result<std::optional<Entry>> Cursor::Last() {
  TRY(StartAtRoot());
  TRY(Descend(/*to_last=*/true));
  return StepBackward();
}

Result<std::optional<Entry>> Cursor::SeekNotLess(std::string_view key) {
  TRY(StartAtRoot());
  while (!IsLeaf(path_.back())) {
    if (!ChildFor(path_.back(), key, &path_.back().index))
      return ElementDamage(*bucket_.tx_, path_.back());
    TRY(Enter());
  }
  bool exact = false;
  if (!LowerBound(path_.back(), key, &path_.back().index, &exact)) {
    return ElementDamage(*bucket_.tx_, path_.back());
  }
  return StepForward();
}

Result<std::optional<Entry>> Cursor::Seek(std::string_view key) {
  const std::optional<Entry> entry = TRY(SeekNotLess(key));
  if (entry && entry->key < key)
    return bucket_.tx_->Damage(path_.back().id, "keys are out of order");
  return entry;
}

Result<std::optional<Entry>> Cursor::Next() {
  TRY(bucket_.CheckAlive());
  if (at_ == At::kBegin) return First();
  if (at_ == At::kEnd) return std::optional<Entry>();
  const std::string_view from = key_;
  std::optional<Entry> entry;
  if (changes_ == Changes()) {
    ++path_.back().index;
    entry = TRY(StepForward());
  } else {
    entry = TRY(SeekNotLess(from));
    if (entry && entry->key == from) {
      ++path_.back().index;
      entry = TRY(StepForward());
    }
  }
  if (entry && entry->key <= from)
    return bucket_.tx_->Damage(path_.back().id, "keys are out of order");
  return entry;
}

Result<std::optional<Entry>> Cursor::Prev() {
  TRY(bucket_.CheckAlive());
  if (at_ == At::kBegin) return std::optional<Entry>();
  if (at_ == At::kEnd) return Last();
  const std::string_view from = key_;
  std::optional<Entry> entry;
  if (changes_ != Changes()) {
    const std::optional<Entry> there = TRY(SeekNotLess(from));
    if (!there) return Last();
  }
  entry = TRY(StepBackward());
  if (entry && entry->key >= from)
    return bucket_.tx_->Damage(path_.back().id, "keys are out of order");
  return entry;
}

Result<std::optional<Bucket>> Cursor::FindBucket() const {
  if (at_ != At::kEntry) return std::optional<Bucket>();
  if (bucket_.node_ != nullptr) return bucket_.FindBucket(key_);
  return bucket_.OpenAt(path_.back());
}

Status Cursor::Delete() {
  TRY(bucket_.CheckWritable());
  if (at_ != At::kEntry) return FailedPreconditionError("cursor stands on no entry");
  return bucket_.Delete(key_);
}

}  // namespace corten::bolt
