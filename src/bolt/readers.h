// The newest committed state, and who still looks at which older one. Internal to the room.
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/error.h"
#include "bolt/tx_state.h"

namespace corten::bolt {

class Readers {
 public:
  Readers(std::shared_ptr<const Snapshot> newest, uint32_t limit)
      : newest_(std::move(newest)), limit_(limit) {}

  // The newest state; its pages stay untouched until End(its txid). kResourceExhausted: too many
  // readers.
  Result<std::shared_ptr<const Snapshot>> Begin() {
    const std::lock_guard lock(mutex_);
    if (open_ >= limit_)
      return ResourceExhaustedError("too many open read transactions (", limit_, ")");
    ++open_;
    ++by_txid_[newest_->meta.txid];
    return newest_;
  }
  void End(uint64_t txid) {
    const std::lock_guard lock(mutex_);
    const auto at = by_txid_.find(txid);
    CHECK(at != by_txid_.end());
    if (--at->second == 0) by_txid_.erase(at);
    --open_;
  }
  // Without counting as a reader: for the writer, whose commits are the only thing that could reuse
  // pages.
  std::shared_ptr<const Snapshot> newest() const {
    const std::lock_guard lock(mutex_);
    return newest_;
  }
  void Publish(std::shared_ptr<const Snapshot> snapshot) {
    const std::lock_guard lock(mutex_);
    newest_ = std::move(snapshot);
  }
  std::optional<uint64_t> oldest() const {
    const std::lock_guard lock(mutex_);
    if (by_txid_.empty()) return std::nullopt;
    return by_txid_.begin()->first;
  }
  uint64_t open() const {
    const std::lock_guard lock(mutex_);
    return open_;
  }

 private:
  mutable std::mutex mutex_;  // guards all below; innermost
  std::shared_ptr<const Snapshot> newest_;
  std::map<uint64_t, uint64_t> by_txid_;  // open read transactions
  uint64_t open_ = 0;
  const uint32_t limit_;
};

}  // namespace corten::bolt
