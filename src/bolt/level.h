// One look at the two things a path leads through: pages of the file and nodes that the transaction
// changed. Internal to the room.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "bolt/node.h"
#include "bolt/page.h"
#include "bolt/tx.h"
#include "bolt/tx_state.h"

namespace corten::bolt {

using internal::Level;

inline Level LevelOf(const PageView& page) { return {nullptr, page.data, page.length, page.id, 0}; }
inline Level LevelOf(const Node* node) { return {node, nullptr, 0, node->pages.first, 0}; }
inline const Node* NodeOf(const Level& level) { return static_cast<const Node*>(level.node); }
inline PageView PageOf(const Level& level) { return {level.page, level.length, level.id}; }

inline bool IsLeaf(const Level& level) {
  return level.node ? NodeOf(level)->leaf : PageOf(level).leaf();
}
inline size_t Count(const Level& level) {
  return level.node ? NodeOf(level)->items.size() : PageOf(level).count();
}

// False: the element points outside its page. REQUIRES: i < Count(level).
inline bool KeyAt(const Level& level, size_t i, std::string_view* key) {
  if (!level.node) return PageOf(level).KeyAt(i, key);
  *key = NodeOf(level)->items[i].key;
  return true;
}
inline bool LeafAt(const Level& level, size_t i, Item* item) {
  if (level.node) {
    *item = NodeOf(level)->items[i];
    return true;
  }
  uint32_t flags = 0;
  if (!PageOf(level).LeafAt(i, &flags, &item->key, &item->value)) return false;
  item->is_bucket = (flags & kBucketFlag) != 0;
  return true;
}
inline bool ChildAt(const Level& level, size_t i, Item* item) {
  if (level.node) {
    *item = NodeOf(level)->items[i];
    return true;
  }
  return PageOf(level).BranchAt(i, &item->key, &item->child_page);
}

// The first element whose key is not less than `key`. False: damage.
bool LowerBound(const Level& level, std::string_view key, size_t* index, bool* exact);
// The child that `key` belongs to. REQUIRES: Count(level) > 0. False: damage.
bool ChildFor(const Level& level, std::string_view key, size_t* index);

// The first page or node of an opened bucket.
Result<Level> RootOf(const TxState& tx, const BucketNode& bucket);
// The page or node under element `index` of a branch. kDataLoss.
Result<Level> ChildOf(const TxState& tx, const Level& branch, size_t index);
// From `root` to the leaf that `key` belongs to; leaf->index is its first element that is not less.
// True: it is equal.
Result<bool> SeekLeaf(const TxState& tx, const Level& root, std::string_view key, Level* leaf);
// The error for an element that points outside its page.
Error ElementDamage(const TxState& tx, const Level& level);

}  // namespace corten::bolt
