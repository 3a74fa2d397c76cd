#include "bolt/free_pages.h"

#include <algorithm>
#include <string>

namespace corten::bolt {

std::optional<uint64_t> FreePages::Take(uint64_t count) {
  const std::lock_guard lock(mutex_);
  const auto fits = by_count_.lower_bound({count, 0});
  if (fits == by_count_.end()) return std::nullopt;
  const auto run = by_first_.find(fits->second);
  const uint64_t first = run->first;
  const uint64_t left = run->second - count;
  Remove(run);
  if (left > 0) Add({first + count, left});
  return first;
}

void FreePages::GiveBack(const std::vector<PageRun>& runs) {
  const std::lock_guard lock(mutex_);
  for (const PageRun& run : runs) Add(run);
}

Status FreePages::CheckUnused(std::vector<PageRun> runs, const std::string& file_name) const {
  const std::lock_guard lock(mutex_);
  std::sort(runs.begin(), runs.end(), [](const PageRun& a, const PageRun& b) { return a.first < b.first; });
  for (size_t i = 0; i < runs.size(); ++i) {
    const PageRun& run = runs[i];
    if (i > 0 && runs[i - 1].first + runs[i - 1].count > run.first) {
      return DamageError(file_name, run.first, "is reached more than once");
    }
    const auto next = by_first_.upper_bound(run.first);
    const bool into_next = next != by_first_.end() && run.first + run.count > next->first;
    bool into_previous = false;
    if (next != by_first_.begin()) {
      const auto previous = std::prev(next);
      into_previous = previous->first + previous->second > run.first;
    }
    if (into_next || into_previous) return DamageError(file_name, run.first, "is in use and free at once");
  }
  return Ok();
}

void FreePages::AddPending(uint64_t txid, std::vector<PageRun> runs) {
  const std::lock_guard lock(mutex_);
  for (const PageRun& run : runs) counts_.pending += run.count;
  std::vector<PageRun>& pending = pending_[txid];
  pending.insert(pending.end(), runs.begin(), runs.end());
}

void FreePages::Release(uint64_t txid) {
  const std::lock_guard lock(mutex_);
  while (!pending_.empty() && pending_.begin()->first <= txid) {
    for (const PageRun& run : pending_.begin()->second) {
      counts_.pending -= run.count;
      Add(run);
    }
    pending_.erase(pending_.begin());
  }
}

void FreePages::AddWalked(const std::vector<PageRun>& runs) {
  const std::lock_guard lock(mutex_);
  for (const PageRun& run : runs) Add(run);
  counts_.walked = true;
}

FreePages::Counts FreePages::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

// Joins `run` with the free runs it touches.
void FreePages::Add(PageRun run) {
  if (run.count == 0) return;
  auto next = by_first_.upper_bound(run.first);
  if (next != by_first_.end() && run.first + run.count == next->first) {
    run.count += next->second;
    const auto gone = next++;
    Remove(gone);
  }
  if (next != by_first_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == run.first) {
      run = {previous->first, previous->second + run.count};
      Remove(previous);
    }
  }
  by_first_.emplace(run.first, run.count);
  by_count_.emplace(run.count, run.first);
  counts_.free += run.count;
}

void FreePages::Remove(std::map<uint64_t, uint64_t>::iterator run) {
  counts_.free -= run->second;
  by_count_.erase({run->second, run->first});
  by_first_.erase(run);
}

}  // namespace corten::bolt
