// A write transaction's changed copy of pages and buckets. Internal to the room; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "bolt/page.h"

namespace corten::bolt {

struct Node;

// One element of a node. Views point into the mapping or the transaction's arena.
struct Item {
  std::string_view key;
  std::string_view value;   // leaf
  uint64_t child_page = 0;  // branch
  Node* child = nullptr;    // branch: the changed copy of that page, if there is one
  bool is_bucket = false;   // leaf
};

// A page taken into memory to be changed. Nodes keep their shape while functions run (no split, no
// merge), so that an undo can name a place by node and index; splitting and merging come once,
// before the pages are written.
struct Node {
  bool leaf = true;
  bool dirty = false;   // differs from its page; for branches set before writing, from the children
  bool shrunk = false;  // lost an item: may need merging
  bool grew_at_tail =
      true;       // all items it got were the last ones: fill the left pages when splitting
  PageRun pages;  // where it came from; count 0: new
  std::vector<Item> items;
};

// An opened bucket.
struct BucketNode {
  BucketNode* parent = nullptr;  // null: the top level
  std::string_view name;
  uint32_t depth = 0;
  bool deleted = false;
  bool new_header = false;  // sequence changed, or the bucket is new
  uint64_t root_page = 0;   // 0: inline
  uint64_t sequence = 0;
  std::string_view inline_page;
  Node* root = nullptr;  // the changed tree, if any part of it is in memory
  uint64_t changes = 0;  // counts them; tells cursors to find their place again
  std::map<std::string_view, BucketNode*> children;  // the opened ones
};

// Bytes that `item` takes in a page.
inline uint64_t ItemSize(const Item& item) {
  return kElementSize + item.key.size() + item.value.size();
}

}  // namespace corten::bolt
