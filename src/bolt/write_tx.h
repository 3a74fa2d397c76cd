// A write transaction in memory: changed nodes, opened buckets, and the undo that takes one
// function's changes back. Internal to the room; one thread.
//
// Pages are never changed in place. A page on the way to a changed key is taken into a Node;
// everything else is read from the snapshot. Undo entries name a place by node and index, which
// holds because nodes do not move items between each other before Spill (spill.h).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "bolt/arena.h"
#include "bolt/node.h"
#include "bolt/tx_state.h"

namespace corten::bolt {

class WriteTx {
 public:
  WriteTx(std::shared_ptr<const Snapshot> snapshot, const std::string* file_name);

  TxState& state() { return state_; }
  BucketNode* root() { return root_; }
  Arena& arena() { return arena_; }

  // One function's changes: made permanent in the transaction, or taken back.
  void Keep();
  void Undo();
  bool changed() const { return changed_; }  // by what was kept

  // The opened bucket under `name` in `parent`; null if there is none.
  Result<BucketNode*> OpenBucket(BucketNode& parent, std::string_view name);
  Status Put(BucketNode& bucket, std::string_view key, std::string_view value);
  Status Delete(BucketNode& bucket, std::string_view key);
  // `name` is legal and free, or holds a value (kInvalidArgument) or bucket (kAlreadyExists).
  Result<BucketNode*> CreateBucket(BucketNode& parent, std::string_view name);
  Status DeleteBucket(BucketNode& parent, std::string_view name);
  void SetSequence(BucketNode& bucket, uint64_t value);

  // For writing (spill.cc).
  struct Place {
    Node* leaf = nullptr;
    size_t index = 0;
    bool exact = false;
  };
  // The leaf that `key` belongs to, in memory with all nodes above it.
  Result<Place> FindPlace(BucketNode& bucket, std::string_view key);
  Status LoadRoot(BucketNode& bucket);
  Result<Node*> LoadChild(Node& parent, size_t index);
  Node* NewNode(bool leaf);
  void Free(PageRun run) {
    if (run.count != 0) freed_.push_back(run);
  }
  std::vector<PageRun>& freed() { return freed_; }

 private:
  enum class Act : uint8_t { kInsert, kErase, kReplace, kSequence, kCreateBucket, kDeleteBucket };
  struct UndoEntry {
    Act act;
    Node* node = nullptr;
    size_t index = 0;
    Item item;
    BucketNode* bucket = nullptr;
    uint64_t sequence = 0;
    bool new_header = false;
  };

  Result<Node*> Load(const PageView& page);
  BucketNode* NewBucket(BucketNode& parent, std::string_view name);
  void Insert(BucketNode& bucket, const Place& place, const Item& item);
  void Erase(BucketNode& bucket, const Place& place);
  void UndoOne(const UndoEntry& entry);
  Status FreeTree(const BucketNode& bucket, size_t limit);
  Status FreeNode(const BucketNode* bucket, const Node& node, uint32_t depth, size_t limit);
  Status FreePage(const BucketNode* bucket, uint64_t page, uint32_t bucket_depth, uint32_t depth,
                  size_t limit);
  Status FreeSubBucket(const BucketNode* bucket, const Item& item, uint32_t bucket_depth,
                       size_t limit);

  TxState state_;
  Arena arena_;
  std::deque<Node> nodes_;          // stable addresses
  std::deque<BucketNode> buckets_;  // stable addresses
  BucketNode* root_ = nullptr;
  std::vector<UndoEntry> undo_;  // of the function that runs
  std::vector<PageRun> freed_;   // pages of the snapshot that the commit no longer needs
  size_t freed_kept_ = 0;        // of them: by earlier functions
  bool changed_ = false;
};

}  // namespace corten::bolt
