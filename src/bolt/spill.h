// Turns what a write transaction changed into pages: children before parents, merging nodes that
// have become small, splitting those that have become large, putting small buckets inside their
// parent's value. Internal to the room.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "bolt/free_pages.h"
#include "bolt/write_tx.h"

namespace corten::bolt {

// One page (with its overflow pages) to be written.
struct PageImage {
  uint64_t id = 0;
  std::string_view bytes;  // in the transaction's arena; whole pages
};

class Spill {
 public:
  // Both are borrowed for life.
  Spill(WriteTx& tx, FreePages& space);

  // Takes page numbers for everything that changed and fills images(), meta() and the transaction's
  // freed(). On error (kDataLoss) or when the commit is given up: call Abandon.
  Status Run();
  // Gives the taken pages back.
  void Abandon();

  const Meta& meta() const { return meta_; }  // of the new state
  const std::vector<PageImage>& images() const { return images_; }

 private:
  Result<bool> SpillBucket(BucketNode& bucket);
  Status Balance(Node& node, uint32_t depth);
  Status MergeChildren(Node& branch);
  Status ShortenRoot(BucketNode& bucket);
  Status WriteTree(BucketNode& bucket);
  std::vector<Item> WriteNode(Node& node);
  std::vector<size_t> Split(const Node& node) const;
  void StoreItems(const Node& node, size_t begin, size_t end, uint64_t id, uint32_t overflow,
                  char* out) const;
  bool FitsInline(const Node& root) const;
  std::string_view HeaderValue(const BucketNode& bucket, const Node* inline_root);
  uint64_t TakePages(uint64_t count);

  WriteTx& tx_;
  FreePages& space_;
  const uint64_t page_size_;
  Meta meta_;
  std::vector<PageImage> images_;
  std::vector<PageRun> taken_;  // from the free pages
};

}  // namespace corten::bolt
