#include "bolt/spill.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/strcat.h"

namespace corten::bolt {

namespace {

// A branch with one child would only be a longer way to it.
constexpr size_t kMinBranchItems = 2;

uint64_t NodeSize(const Node& node) {
  uint64_t size = kPageHeaderSize;
  for (const Item& item : node.items) size += ItemSize(item);
  return size;
}

bool TooSmall(const Node& node, uint64_t page_size) {
  if (node.items.size() < (node.leaf ? 1 : kMinBranchItems)) return true;
  return NodeSize(node) < page_size / 4;
}

}  // namespace

Spill::Spill(WriteTx& tx, FreePages& space)
    : tx_(tx), space_(space), page_size_(tx.state().meta().page_size), meta_(tx.state().meta()) {}

Status Spill::Run() {
  BucketNode& root = *tx_.root();
  const bool changed = TRY(SpillBucket(root));
  CHECK(changed);
  meta_.root_page = root.root_page;
  meta_.root_sequence = root.sequence;
  meta_.free_list =
      kNoFreeList;  // the pages of a stored list become free when the walk has seen them
  ++meta_.txid;
  return space_.CheckUnused(tx_.freed(), tx_.state().file_name());
}

void Spill::Abandon() {
  space_.GiveBack(taken_);
  taken_.clear();
}

// True: the bucket's value in its parent must be written anew (or for the top level: the meta
// page).
Result<bool> Spill::SpillBucket(BucketNode& bucket) {
  for (const auto& [name, child] : bucket.children) {
    const bool changed = TRY(SpillBucket(*child));
    if (!changed) continue;
    const WriteTx::Place place = TRY(tx_.FindPlace(bucket, name));
    CHECK(place.exact);
    place.leaf->items[place.index].value =
        HeaderValue(*child, child->root_page == 0 ? child->root : nullptr);
    place.leaf->dirty = true;
  }
  if (bucket.root == nullptr) {
    if (!bucket.new_header) return false;
    if (bucket.root_page == 0)
      TRY(tx_.LoadRoot(bucket));  // an inline one is written again with its header
    return true;
  }
  TRY(Balance(*bucket.root, 0));
  if (!bucket.root->dirty) return bucket.new_header;
  TRY(ShortenRoot(bucket));
  if (bucket.parent != nullptr && FitsInline(*bucket.root)) {
    tx_.Free(std::exchange(bucket.root->pages, PageRun{}));
    bucket.root_page = 0;
    return true;
  }
  TRY(WriteTree(bucket));
  return true;
}

// Merges children that have become small, from below, and marks branches dirty whose children are.
Status Spill::Balance(Node& node, uint32_t depth) {
  if (node.leaf) return Ok();
  if (depth >= kMaxTreeDepth) return tx_.state().Damage(node.pages.first, "tree is too deep");
  for (Item& item : node.items) {
    if (item.child == nullptr) continue;
    TRY(Balance(*item.child, depth + 1));
    node.dirty |= item.child->dirty;
  }
  return MergeChildren(node);
}

Status Spill::MergeChildren(Node& branch) {
  for (size_t i = 0; i < branch.items.size();) {
    Node* child = branch.items[i].child;
    if (child == nullptr || !child->shrunk || !TooSmall(*child, page_size_)) {
      ++i;
      continue;
    }
    if (child->items.empty()) {
      tx_.Free(child->pages);
      branch.items.erase(branch.items.begin() + static_cast<ptrdiff_t>(i));
      branch.dirty = branch.shrunk = true;
      continue;
    }
    if (branch.items.size() == 1)
      break;  // no neighbour: ShortenRoot or the level above deals with it
    const size_t left_index = i > 0 ? i - 1 : i;
    Node* left = TRY(tx_.LoadChild(branch, left_index));
    Node* right = TRY(tx_.LoadChild(branch, left_index + 1));
    if (left->leaf != right->leaf)
      return tx_.state().Damage(right->pages.first, "is of another kind than its neighbour");
    left->items.insert(left->items.end(), right->items.begin(), right->items.end());
    left->dirty = left->shrunk = true;
    left->grew_at_tail = false;
    tx_.Free(right->pages);
    branch.items.erase(branch.items.begin() + static_cast<ptrdiff_t>(left_index) + 1);
    branch.dirty = branch.shrunk = true;
    i = left_index;  // still too small? then once more
  }
  return Ok();
}

// A root branch with one child gives way to it; one without children becomes an empty leaf.
Status Spill::ShortenRoot(BucketNode& bucket) {
  Node* root = bucket.root;
  while (!root->leaf && root->items.size() <= 1) {
    tx_.Free(root->pages);
    if (root->items.empty()) {
      root = tx_.NewNode(/*leaf=*/true);
    } else {
      root = TRY(tx_.LoadChild(*root, 0));
    }
    root->dirty = true;
  }
  bucket.root = root;
  return Ok();
}

bool Spill::FitsInline(const Node& root) const {
  if (!root.leaf || NodeSize(root) > page_size_ / 4) return false;
  return std::none_of(root.items.begin(), root.items.end(),
                      [](const Item& item) { return item.is_bucket; });
}

// `inline_root`: the leaf that goes into the value; null: the bucket has a page.
std::string_view Spill::HeaderValue(const BucketNode& bucket, const Node* inline_root) {
  const uint64_t size = kBucketHeaderSize + (inline_root != nullptr ? NodeSize(*inline_root) : 0);
  char* out = tx_.arena().Allocate(size);
  StoreInt<uint64_t>(out, bucket.root_page);
  StoreInt<uint64_t>(out + 8, bucket.sequence);
  if (inline_root != nullptr) {
    StoreItems(*inline_root, 0, inline_root->items.size(), 0, 0, out + kBucketHeaderSize);
  }
  return {out, size};
}

Status Spill::WriteTree(BucketNode& bucket) {
  std::vector<Item> level = WriteNode(*bucket.root);
  while (level.size() > 1) {
    Node* branch = tx_.NewNode(/*leaf=*/false);
    branch->items = std::move(level);
    branch->dirty = true;
    branch->grew_at_tail = bucket.root->grew_at_tail;
    level = WriteNode(*branch);
  }
  bucket.root_page = level.front().child_page;
  return Ok();
}

// Writes a dirty node and what is dirty below it; answers the elements for its parent: one for each
// page it became.
std::vector<Item> Spill::WriteNode(Node& node) {
  if (!node.leaf) {
    std::vector<Item> items;
    items.reserve(node.items.size() + 4);
    for (size_t i = 0; i < node.items.size(); ++i) {
      Item& item = node.items[i];
      if (item.child == nullptr || !item.child->dirty) {
        items.push_back(item);
        continue;
      }
      std::vector<Item> parts = WriteNode(*item.child);
      if (parts.size() > 1 && i + 1 != node.items.size()) node.grew_at_tail = false;
      std::move(parts.begin(), parts.end(), std::back_inserter(items));
    }
    node.items = std::move(items);
  }
  tx_.Free(node.pages);
  std::vector<Item> written;
  size_t begin = 0;
  for (const size_t end : Split(node)) {
    uint64_t size = kPageHeaderSize;
    for (size_t i = begin; i < end; ++i) size += ItemSize(node.items[i]);
    const uint64_t count = (size + page_size_ - 1) / page_size_;
    const uint64_t id = TakePages(count);
    char* out = tx_.arena().Allocate(count * page_size_);
    StoreItems(node, begin, end, id, static_cast<uint32_t>(count - 1), out);
    images_.push_back({id, {out, count * page_size_}});
    Item item;
    if (end > begin) item.key = node.items[begin].key;
    item.child_page = id;
    written.push_back(item);
    begin = end;
  }
  return written;
}

// Where the pages end that the items go to: indexes behind their last items.
std::vector<size_t> Spill::Split(const Node& node) const {
  const size_t count = node.items.size();
  const uint64_t room = page_size_ - kPageHeaderSize;
  const uint64_t total = NodeSize(node) - kPageHeaderSize;
  const size_t least = node.leaf ? 1 : kMinBranchItems;
  if (total <= room || count < 2 * least) return {count};
  // Keys that come in order fill the pages on the left; otherwise all pages get about the same.
  const uint64_t pages = (total + room - 1) / room;
  const uint64_t target = node.grew_at_tail ? room - room / 16 : (total + pages - 1) / pages;
  std::vector<size_t> ends;
  uint64_t size = 0;
  size_t begin = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t next = ItemSize(node.items[i]);
    const bool full = size + next > room || size >= target;
    if (full && i - begin >= least && count - i >= least) {
      ends.push_back(i);
      begin = i;
      size = 0;
    }
    size += next;
  }
  ends.push_back(count);
  return ends;
}

// A page of items [begin, end) at `out`, which has room for it.
void Spill::StoreItems(const Node& node, size_t begin, size_t end, uint64_t id, uint32_t overflow,
                       char* out) const {
  StorePageHeader(out, id, node.leaf ? kLeafPage : kBranchPage, static_cast<uint16_t>(end - begin),
                  overflow);
  char* element = out + kPageHeaderSize;
  char* data = element + kElementSize * (end - begin);
  for (size_t i = begin; i < end; ++i, element += kElementSize) {
    const Item& item = node.items[i];
    const auto pos = static_cast<uint32_t>(data - element);
    if (node.leaf) {
      StoreInt<uint32_t>(element, item.is_bucket ? kBucketFlag : 0);
      StoreInt<uint32_t>(element + 4, pos);
      StoreInt<uint32_t>(element + 8, static_cast<uint32_t>(item.key.size()));
      StoreInt<uint32_t>(element + 12, static_cast<uint32_t>(item.value.size()));
    } else {
      StoreInt<uint32_t>(element, pos);
      StoreInt<uint32_t>(element + 4, static_cast<uint32_t>(item.key.size()));
      StoreInt<uint64_t>(element + 8, item.child_page);
    }
    std::copy(item.key.begin(), item.key.end(), data);
    data += item.key.size();
    std::copy(item.value.begin(), item.value.end(), data);
    data += item.value.size();
  }
}

uint64_t Spill::TakePages(uint64_t count) {
  if (const std::optional<uint64_t> first = space_.Take(count)) {
    taken_.push_back({*first, count});
    return *first;
  }
  const uint64_t first = meta_.high_water;
  meta_.high_water += count;
  return first;
}

}  // namespace corten::bolt
