#include "bolt/write_tx.h"

#include <algorithm>
#include <utility>

#include "base/strcat.h"
#include "bolt/level.h"

namespace corten::bolt {

WriteTx::WriteTx(std::shared_ptr<const Snapshot> snapshot, const std::string* file_name)
    : state_(std::move(snapshot), file_name, this) {
  root_ = &buckets_.emplace_back();
  root_->root_page = state_.meta().root_page;
  root_->sequence = state_.meta().root_sequence;
}

// --- taking pages into memory ---

Node* WriteTx::NewNode(bool leaf) {
  Node* node = &nodes_.emplace_back();
  node->leaf = leaf;
  return node;
}

Result<Node*> WriteTx::Load(const PageView& page) {
  Node* node = NewNode(page.leaf());
  if (page.id != 0) node->pages = {page.id, uint64_t{page.overflow()} + 1};
  const Level level = LevelOf(page);
  const size_t count = Count(level);
  if (!node->leaf && count == 0) return state_.Damage(page.id, "branch without children");
  node->items.resize(count);
  for (size_t i = 0; i < count; ++i) {
    Item& item = node->items[i];
    if (!(node->leaf ? LeafAt(level, i, &item) : ChildAt(level, i, &item))) {
      return state_.Damage(page.id, StrCat("element ", i, " reaches past its page"));
    }
    if (i > 0 && item.key <= node->items[i - 1].key) {
      return state_.Damage(page.id, StrCat("key ", i, " is not greater than the one before it"));
    }
  }
  return node;
}

Status WriteTx::LoadRoot(BucketNode& bucket) {
  if (bucket.root != nullptr) return Ok();
  const Level root = TRY(RootOf(state_, bucket));
  bucket.root = TRY(Load(PageOf(root)));
  return Ok();
}

Result<Node*> WriteTx::LoadChild(Node& parent, size_t index) {
  Item& item = parent.items[index];
  if (item.child != nullptr) return item.child;
  const PageView page = TRY(state_.LoadPage(item.child_page));
  Node* child = TRY(Load(page));
  if (!child->items.empty()) {
    const bool too_small = index > 0 && child->items.front().key < item.key;
    const bool too_large =
        index + 1 < parent.items.size() && child->items.back().key >= parent.items[index + 1].key;
    if (too_small || too_large)
      return state_.Damage(page.id, "holds keys outside the range of its branch");
  }
  item.child = child;
  return child;
}

Result<WriteTx::Place> WriteTx::FindPlace(BucketNode& bucket, std::string_view key) {
  TRY(LoadRoot(bucket));
  Node* node = bucket.root;
  Place place;
  for (uint32_t depth = 0; !node->leaf; ++depth) {
    if (depth >= kMaxTreeDepth) return state_.Damage(node->pages.first, "tree is too deep");
    size_t index = 0;
    (void)ChildFor(LevelOf(node), key,
                   &index);  // cannot fail: a node's elements were checked when it was loaded
    node = TRY(LoadChild(*node, index));
  }
  place.leaf = node;
  (void)LowerBound(LevelOf(node), key, &place.index, &place.exact);
  return place;
}

// --- buckets ---

BucketNode* WriteTx::NewBucket(BucketNode& parent, std::string_view name) {
  BucketNode* bucket = &buckets_.emplace_back();
  bucket->parent = &parent;
  bucket->name = name;
  bucket->depth = parent.depth + 1;
  return bucket;
}

Result<BucketNode*> WriteTx::OpenBucket(BucketNode& parent, std::string_view name) {
  const auto opened = parent.children.find(name);
  if (opened != parent.children.end()) return opened->second;

  const Level root = TRY(RootOf(state_, parent));
  Level leaf;
  const bool exact = TRY(SeekLeaf(state_, root, name, &leaf));
  if (!exact) return nullptr;
  Item item;
  if (!LeafAt(leaf, leaf.index, &item)) return ElementDamage(state_, leaf);
  if (!item.is_bucket) return nullptr;
  const std::optional<BucketHeader> header = DecodeBucket(item.value);
  if (!header || parent.depth >= kMaxBucketDepth || (leaf.node == nullptr && leaf.id == 0)) {
    return state_.Damage(leaf.id, StrCat("bucket ", Quoted(name), " cannot be opened"));
  }
  BucketNode* bucket = NewBucket(parent, item.key);
  bucket->root_page = header->root_page;
  bucket->sequence = header->sequence;
  bucket->inline_page = header->inline_page;
  parent.children.emplace(bucket->name, bucket);
  return bucket;
}

Result<BucketNode*> WriteTx::CreateBucket(BucketNode& parent, std::string_view name) {
  if (parent.depth >= kMaxBucketDepth)
    return InvalidArgumentError("too many buckets inside each other");
  const Place place = TRY(FindPlace(parent, name));
  if (place.exact) {
    if (place.leaf->items[place.index].is_bucket)
      return AlreadyExistsError("bucket already exists");
    return InvalidArgumentError("incompatible value");
  }
  Item item;
  item.key = arena_.Copy(name);
  item.is_bucket = true;  // the value is made when the bucket is written
  BucketNode* bucket = NewBucket(parent, item.key);
  bucket->root = NewNode(/*leaf=*/true);
  bucket->root->dirty = true;
  bucket->new_header = true;
  Insert(parent, place, item);
  parent.children[bucket->name] = bucket;
  undo_.push_back({.act = Act::kCreateBucket, .item = {}, .bucket = bucket});
  return bucket;
}

Status WriteTx::DeleteBucket(BucketNode& parent, std::string_view name) {
  const Place place = TRY(FindPlace(parent, name));
  if (!place.exact) return NotFoundError("bucket ", Quoted(name));
  if (!place.leaf->items[place.index].is_bucket) return InvalidArgumentError("incompatible value");
  BucketNode* bucket = TRY(OpenBucket(parent, name));
  if (bucket == nullptr)
    return state_.Damage(place.leaf->pages.first, "bucket cannot be found again");
  const size_t freed_before = freed_.size();
  // Each page is freed once, so a sound file ends the walk before this limit.
  const Status walked = FreeTree(*bucket, freed_before + state_.meta().high_water);
  if (!walked.ok()) {
    freed_.resize(freed_before);
    return walked.error().Clone();
  }
  Erase(parent, place);
  parent.children.erase(bucket->name);
  bucket->deleted = true;
  undo_.push_back({.act = Act::kDeleteBucket, .item = {}, .bucket = bucket});
  return Ok();
}

// --- freeing the pages of a deleted bucket, as it stands now ---

Status WriteTx::FreeTree(const BucketNode& bucket, size_t limit) {
  if (bucket.root != nullptr) return FreeNode(&bucket, *bucket.root, 0, limit);
  if (bucket.root_page != 0) return FreePage(&bucket, bucket.root_page, bucket.depth, 0, limit);
  return Ok();  // an untouched inline bucket has no pages, and no buckets inside
}

Status WriteTx::FreeNode(const BucketNode* bucket, const Node& node, uint32_t depth, size_t limit) {
  if (depth >= kMaxTreeDepth || freed_.size() > limit) {
    return state_.Damage(node.pages.first, "pages are reached more than once");
  }
  Free(node.pages);
  for (const Item& item : node.items) {
    if (!node.leaf && item.child != nullptr) {
      TRY(FreeNode(bucket, *item.child, depth + 1, limit));
    } else if (!node.leaf) {
      TRY(FreePage(bucket, item.child_page, bucket->depth, depth + 1, limit));
    } else if (item.is_bucket) {
      TRY(FreeSubBucket(bucket, item, bucket->depth, limit));
    }
  }
  return Ok();
}

// `bucket` is null below the buckets that are opened.
Status WriteTx::FreePage(const BucketNode* bucket, uint64_t id, uint32_t bucket_depth,
                         uint32_t depth, size_t limit) {
  const PageView page = TRY(state_.LoadPage(id));
  if (depth >= kMaxTreeDepth || freed_.size() > limit)
    return state_.Damage(id, "pages are reached more than once");
  Free({id, uint64_t{page.overflow()} + 1});
  const Level level = LevelOf(page);
  for (size_t i = 0; i < Count(level); ++i) {
    Item item;
    if (!(page.leaf() ? LeafAt(level, i, &item) : ChildAt(level, i, &item))) {
      return state_.Damage(id, StrCat("element ", i, " reaches past its page"));
    }
    if (!page.leaf()) {
      TRY(FreePage(bucket, item.child_page, bucket_depth, depth + 1, limit));
    } else if (item.is_bucket) {
      TRY(FreeSubBucket(bucket, item, bucket_depth, limit));
    }
  }
  return Ok();
}

Status WriteTx::FreeSubBucket(const BucketNode* bucket, const Item& item, uint32_t bucket_depth,
                              size_t limit) {
  if (bucket != nullptr) {
    const auto opened = bucket->children.find(item.key);
    if (opened != bucket->children.end()) return FreeTree(*opened->second, limit);
  }
  const std::optional<BucketHeader> header = DecodeBucket(item.value);
  if (!header || bucket_depth >= kMaxBucketDepth)
    return state_.Damage(0, "bucket inside a deleted one cannot be read");
  if (header->root_page == 0) return Ok();
  return FreePage(nullptr, header->root_page, bucket_depth + 1, 0, limit);
}

// --- changes ---

void WriteTx::Insert(BucketNode& bucket, const Place& place, const Item& item) {
  Node& leaf = *place.leaf;
  if (place.index != leaf.items.size()) leaf.grew_at_tail = false;
  leaf.items.insert(leaf.items.begin() + static_cast<ptrdiff_t>(place.index), item);
  leaf.dirty = true;
  ++bucket.changes;
  undo_.push_back(
      {.act = Act::kInsert, .node = &leaf, .index = place.index, .item = {}, .bucket = &bucket});
}

void WriteTx::Erase(BucketNode& bucket, const Place& place) {
  Node& leaf = *place.leaf;
  undo_.push_back({.act = Act::kErase,
                   .node = &leaf,
                   .index = place.index,
                   .item = leaf.items[place.index],
                   .bucket = &bucket});
  leaf.items.erase(leaf.items.begin() + static_cast<ptrdiff_t>(place.index));
  leaf.dirty = true;
  leaf.shrunk = true;
  ++bucket.changes;
}

Status WriteTx::Put(BucketNode& bucket, std::string_view key, std::string_view value) {
  const Place place = TRY(FindPlace(bucket, key));
  if (!place.exact) {
    Item item;
    item.key = arena_.Copy(key);
    item.value = arena_.Copy(value);
    Insert(bucket, place, item);
    return Ok();
  }
  Item& item = place.leaf->items[place.index];
  if (item.is_bucket) return InvalidArgumentError("incompatible value");
  if (item.value == value) return Ok();
  undo_.push_back({.act = Act::kReplace,
                   .node = place.leaf,
                   .index = place.index,
                   .item = item,
                   .bucket = &bucket});
  if (value.size() < item.value.size()) place.leaf->shrunk = true;
  item.value = arena_.Copy(value);
  place.leaf->dirty = true;
  ++bucket.changes;
  return Ok();
}

Status WriteTx::Delete(BucketNode& bucket, std::string_view key) {
  const Place place = TRY(FindPlace(bucket, key));
  if (!place.exact) return Ok();
  if (place.leaf->items[place.index].is_bucket) return InvalidArgumentError("incompatible value");
  Erase(bucket, place);
  return Ok();
}

void WriteTx::SetSequence(BucketNode& bucket, uint64_t value) {
  if (bucket.sequence == value) return;
  undo_.push_back({.act = Act::kSequence,
                   .item = {},
                   .bucket = &bucket,
                   .sequence = bucket.sequence,
                   .new_header = bucket.new_header});
  bucket.sequence = value;
  bucket.new_header = true;
}

// --- undo ---

void WriteTx::Keep() {
  if (!undo_.empty()) changed_ = true;
  undo_.clear();
  freed_kept_ = freed_.size();
}

void WriteTx::Undo() {
  for (auto entry = undo_.rbegin(); entry != undo_.rend(); ++entry) UndoOne(*entry);
  undo_.clear();
  freed_.resize(freed_kept_);
}

// Flags that only cause work (dirty, shrunk) are left as they are.
void WriteTx::UndoOne(const UndoEntry& entry) {
  const auto at = static_cast<ptrdiff_t>(entry.index);
  switch (entry.act) {
    case Act::kInsert:
      entry.node->items.erase(entry.node->items.begin() + at);
      ++entry.bucket->changes;
      break;
    case Act::kErase:
      entry.node->items.insert(entry.node->items.begin() + at, entry.item);
      ++entry.bucket->changes;
      break;
    case Act::kReplace:
      entry.node->items[entry.index] = entry.item;
      ++entry.bucket->changes;
      break;
    case Act::kSequence:
      entry.bucket->sequence = entry.sequence;
      entry.bucket->new_header = entry.new_header;
      break;
    case Act::kCreateBucket:
      entry.bucket->deleted = true;
      entry.bucket->parent->children.erase(entry.bucket->name);
      break;
    case Act::kDeleteBucket:
      entry.bucket->deleted = false;
      entry.bucket->parent->children[entry.bucket->name] = entry.bucket;
      break;
  }
}

}  // namespace corten::bolt
