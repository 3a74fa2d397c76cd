#include "bolt/free_pages.h"

#include <algorithm>
#include <string>

namespace corten::bolt {

std::optional<uint64_t> FreePages::Take(uint64_t count) {
  const std::lock_guard lock(mutex_);
  if (!counts_.walked) return std::nullopt;
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

bool FreePages::Overlaps(const Runs& runs, const PageRun& run) {
  const auto next = runs.upper_bound(run.first);
  if (next != runs.end() && run.first + run.count > next->first) return true;
  if (next == runs.begin()) return false;
  const auto previous = std::prev(next);
  return previous->first + previous->second > run.first;
}

Status FreePages::CheckUnused(std::vector<PageRun> runs, const std::string& file_name) const {
  const std::lock_guard lock(mutex_);
  std::sort(runs.begin(), runs.end(),
            [](const PageRun& a, const PageRun& b) { return a.first < b.first; });
  for (size_t i = 0; i < runs.size(); ++i) {
    const PageRun& run = runs[i];
    if (i > 0 && runs[i - 1].first + runs[i - 1].count > run.first) {
      return DamageError(file_name, run.first, "is reached more than once");
    }
    if (Overlaps(by_first_, run) || Overlaps(pending_by_first_, run)) {
      return DamageError(file_name, run.first, "is in use and free at once");
    }
  }
  return Ok();
}

void FreePages::AddPending(uint64_t txid, std::vector<PageRun> runs) {
  const std::lock_guard lock(mutex_);
  for (const PageRun& run : runs) {
    counts_.pending += run.count;
    pending_by_first_.emplace(run.first, run.count);
  }
  std::vector<PageRun>& pending = pending_[txid];
  pending.insert(pending.end(), runs.begin(), runs.end());
}

void FreePages::Release(uint64_t txid) {
  const std::lock_guard lock(mutex_);
  while (!pending_.empty() && pending_.begin()->first <= txid) {
    for (const PageRun& run : pending_.begin()->second) {
      counts_.pending -= run.count;
      pending_by_first_.erase(run.first);
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
  Counts counts = counts_;
  if (!counts.walked) counts.free = 0;
  return counts;
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

void FreePages::Remove(Runs::iterator run) {
  counts_.free -= run->second;
  by_count_.erase({run->second, run->first});
  by_first_.erase(run);
}

}  // namespace corten::bolt
