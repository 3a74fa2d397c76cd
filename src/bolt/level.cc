#include "bolt/level.h"

namespace corten::bolt {

bool LowerBound(const Level& level, std::string_view key, size_t* index, bool* exact) {
  size_t low = 0;
  size_t high = Count(level);
  *exact = false;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    std::string_view at;
    if (!KeyAt(level, middle, &at)) return false;
    const int order = at.compare(key);
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
      if (order == 0) {  // keys differ from each other: nothing smaller can be equal
        *exact = true;
        low = middle;
      }
    }
  }
  *index = low;
  return true;
}

bool ChildFor(const Level& level, std::string_view key, size_t* index) {
  bool exact = false;
  if (!LowerBound(level, key, index, &exact)) return false;
  if (!exact && *index > 0) --*index;  // keys before the first branch key belong to the first child
  return true;
}

Error ElementDamage(const TxState& tx, const Level& level) {
  return tx.Damage(level.id, "element reaches past its page");
}

Result<Level> RootOf(const TxState& tx, const BucketNode& bucket) {
  if (bucket.root != nullptr) return LevelOf(bucket.root);
  const PageView page = TRY(bucket.root_page != 0 ? tx.LoadPage(bucket.root_page)
                                                  : tx.LoadInline(bucket.inline_page));
  return LevelOf(page);
}

Result<Level> ChildOf(const TxState& tx, const Level& branch, size_t index) {
  Item item;
  if (index >= Count(branch)) return tx.Damage(branch.id, "branch without children");
  if (!ChildAt(branch, index, &item)) return ElementDamage(tx, branch);
  if (item.child != nullptr) return LevelOf(item.child);
  const PageView page = TRY(tx.LoadPage(item.child_page));
  return LevelOf(page);
}

Result<bool> SeekLeaf(const TxState& tx, const Level& root, std::string_view key, Level* leaf) {
  *leaf = root;
  for (uint32_t depth = 0; !IsLeaf(*leaf); ++depth) {
    size_t index = 0;
    if (depth >= kMaxTreeDepth) return tx.Damage(leaf->id, "tree is too deep");
    if (!ChildFor(*leaf, key, &index)) return ElementDamage(tx, *leaf);
    *leaf = TRY(ChildOf(tx, *leaf, index));
  }
  bool exact = false;
  if (!LowerBound(*leaf, key, &leaf->index, &exact)) return ElementDamage(tx, *leaf);
  return exact;
}

}  // namespace corten::bolt
