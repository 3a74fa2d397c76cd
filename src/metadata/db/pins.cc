#include "metadata/db/pins.h"

namespace corten::metadata {

PinTable::Pin PinTable::Acquire(const std::string& name) {
  std::unique_lock lock(mutex_);
  released_.wait(lock, [&] { return !claimed_.contains(name); });
  ++pinned_[name];
  if (sweeping_) recent_.insert(name);
  return Pin(this, name);
}

std::set<std::string> PinTable::Pinned() const {
  const std::lock_guard lock(mutex_);
  std::set<std::string> names;
  for (const auto& [name, count] : pinned_) names.insert(name);
  return names;
}

void PinTable::Unpin(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = pinned_.find(name);
  if (--found->second == 0) pinned_.erase(found);
}

PinTable::Sweep::Sweep(PinTable* table) : table_(table) {
  const std::lock_guard lock(table_->mutex_);
  table_->sweeping_ = true;
  for (const auto& [name, count] : table_->pinned_) table_->recent_.insert(name);
}

PinTable::Sweep::~Sweep() {
  const std::lock_guard lock(table_->mutex_);
  table_->sweeping_ = false;
  table_->recent_.clear();
}

bool PinTable::Sweep::TryClaim(const std::string& name) {
  const std::lock_guard lock(table_->mutex_);
  if (table_->recent_.contains(name)) return false;
  table_->claimed_.insert(name);
  return true;
}

void PinTable::Sweep::Release(const std::string& name) {
  {
    const std::lock_guard lock(table_->mutex_);
    table_->claimed_.erase(name);
  }
  table_->released_.notify_all();
}

KeyLocks::Hold KeyLocks::Lock(const std::string& key) {
  std::unique_lock lock(mutex_);
  free_.wait(lock, [&] { return !held_.contains(key); });
  held_.insert(key);
  return Hold(this, key);
}

void KeyLocks::Unlock(const std::string& key) {
  {
    const std::lock_guard lock(mutex_);
    held_.erase(key);
  }
  free_.notify_all();
}

}  // namespace corten::metadata
