// What a transaction stands on: one committed state of the file. Internal to the room.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "bolt/file.h"
#include "bolt/page.h"
#include "bolt/tx.h"

namespace corten::bolt {

// Immutable; owners: the Db (the newest one) and every transaction on it.
struct Snapshot {
  Meta meta;
  std::shared_ptr<const Mapping> mapping;  // covers meta.high_water pages, and the file has them
};

class WriteTx;

class TxState {
 public:
  // `file_name` is borrowed from the Db.
  TxState(std::shared_ptr<const Snapshot> snapshot, const std::string* file_name, WriteTx* writer)
      : snapshot_(std::move(snapshot)), file_name_(file_name), writer_(writer), tx_(this) {}
  TxState(const TxState&) = delete;
  TxState& operator=(const TxState&) = delete;

  const Meta& meta() const { return snapshot_->meta; }
  const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }
  WriteTx* writer() const { return writer_; }  // null in a read transaction
  Tx& tx() { return tx_; }
  const std::string& file_name() const { return *file_name_; }
  // Any page below the high-water mark, whatever is in it.
  const char* RawPage(uint64_t id) const {
    return snapshot_->mapping->data() + id * meta().page_size;
  }

  // The branch or leaf page `id`. kDataLoss: out of range, another page's id, another type, more
  // elements than fit.
  Result<PageView> LoadPage(uint64_t id) const;
  // The page image of an inline bucket.
  Result<PageView> LoadInline(std::string_view image) const;

  Error Damage(uint64_t page, std::string_view what) const {
    return DamageError(*file_name_, page, what);
  }

  // The top-level bucket of a read transaction.
  Bucket ReadRoot();

 private:
  std::shared_ptr<const Snapshot> snapshot_;
  const std::string* file_name_;
  WriteTx* writer_;
  Tx tx_;
};

}  // namespace corten::bolt
