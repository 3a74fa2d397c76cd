#include "bolt/tx.h"

#include "base/strcat.h"
#include "bolt/tx_state.h"
#include "bolt/write_tx.h"

namespace corten::bolt {

bool Tx::writable() const { return state_->writer() != nullptr; }

uint64_t Tx::id() const { return state_->meta().txid + (writable() ? 1 : 0); }

Bucket Tx::Root() const { return state_->ReadRoot(); }

Bucket TxState::ReadRoot() {
  if (writer_ != nullptr) return Bucket(this, writer_->root());
  return Bucket(this, {meta().root_page, meta().root_sequence, {}}, 0);
}

Result<PageView> TxState::LoadPage(uint64_t id) const {
  const Meta& meta = snapshot_->meta;
  if (id < kFirstPage || id >= meta.high_water) {
    return Damage(id, StrCat("is referred to, but pages go from 2 to ", meta.high_water - 1));
  }
  PageView page{RawPage(id), meta.page_size, id};
  if (page.stored_id() != id) return Damage(id, StrCat("calls itself page ", page.stored_id()));
  if (page.flags() != kBranchPage && page.flags() != kLeafPage) {
    return Damage(id, StrCat("is neither branch nor leaf (flags ", page.flags(), ")"));
  }
  if (page.overflow() >= meta.high_water - id) {
    return Damage(id, StrCat("goes on for ", page.overflow(), " pages, past the last one"));
  }
  page.length = (uint64_t{page.overflow()} + 1) * meta.page_size;
  if (kPageHeaderSize + kElementSize * page.count() > page.length) {
    return Damage(id, StrCat("has ", page.count(), " elements, more than fit"));
  }
  return page;
}

Result<PageView> TxState::LoadInline(std::string_view image) const {
  const PageView page{image.data(), image.size(), 0};
  // Writers put at most a quarter of a page inside a value; the bound keeps damaged files from
  // costing much.
  if (image.size() < kPageHeaderSize || image.size() > meta().page_size || !page.leaf() ||
      kPageHeaderSize + kElementSize * page.count() > page.length) {
    return Damage(0, "page image inside a bucket is not a leaf");
  }
  return page;
}

}  // namespace corten::bolt
