#include "content/local/live_ingests.h"

#include <algorithm>

namespace corten::content {

Result<std::shared_ptr<LiveIngest>> LiveIngests::Lock(const std::string& ref, Time now) {
  const std::lock_guard lock(mutex_);
  const auto found = locked_.find(ref);
  if (found != locked_.end()) {
    const Time since = found->second->locked_since;
    // Wire: Go clients show this text; the length of the lock tells a stuck writer from a busy one.
    return UnavailableError("ref ", ref, " locked for ",
                            FormatDuration(now.UnixNanos() - since.UnixNanos()), " (since ",
                            FormatRfc3339(since), ")");
  }
  auto ingest = std::make_shared<LiveIngest>(ref, now);
  locked_.emplace(ref, ingest);
  return ingest;
}

void LiveIngests::Unlock(const LiveIngest& ingest) {
  const std::lock_guard lock(mutex_);
  CHECK(locked_.erase(ingest.ref) == 1);
}

std::shared_ptr<LiveIngest> LiveIngests::Find(const std::string& ref) const {
  const std::lock_guard lock(mutex_);
  const auto found = locked_.find(ref);
  return found == locked_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<LiveIngest>> LiveIngests::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<LiveIngest>> all;
  all.reserve(locked_.size());
  for (const auto& [ref, ingest] : locked_) all.push_back(ingest);
  return all;
}

void LiveIngests::Park(const std::string& ref, ParkedHash state) {
  const std::lock_guard lock(mutex_);
  parked_.erase(ref);
  std::erase(parked_order_, ref);
  while (parked_.size() >= max_parked_) {
    parked_.erase(parked_order_.front());
    parked_order_.pop_front();
  }
  parked_.emplace(ref, std::move(state));
  parked_order_.push_back(ref);
}

std::optional<ParkedHash> LiveIngests::Unpark(const std::string& ref) {
  const std::lock_guard lock(mutex_);
  const auto found = parked_.find(ref);
  if (found == parked_.end()) return std::nullopt;
  ParkedHash state = std::move(found->second);
  parked_.erase(found);
  std::erase(parked_order_, ref);
  return state;
}

}  // namespace corten::content
