// Which pages may be written next. Internal to the room.
//
// A page that commit N no longer needs is pending until no reader of a state before N remains, then
// free. Pages that were free before the file was opened are unknown until the walk (FreeWalk)
// brings them. Before that none is given out at all: the walk also proves that no page is referred
// to twice, without which using a freed page again could destroy another. Threads: thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "bolt/page.h"

namespace corten::bolt {

class FreePages {
 public:
  struct Counts {
    uint64_t free = 0;  // 0 before the walk
    uint64_t pending = 0;
    bool walked = false;
  };

  // `count` adjacent free pages: the smallest run that fits; nullopt if there is none, or before
  // the walk.
  std::optional<uint64_t> Take(uint64_t count);
  // Returns pages that were taken for a commit that did not happen.
  void GiveBack(const std::vector<PageRun>& runs);

  // Commit `txid` no longer needs `runs`.
  // Errors: kDataLoss with the first page that is free or pending already, or named twice: then
  // nothing has changed.
  Status CheckUnused(std::vector<PageRun> runs, const std::string& file_name) const;
  void AddPending(uint64_t txid, std::vector<PageRun> runs);
  // Frees what was pending for the commits up to `txid`: every reader sees `txid` or a later state.
  void Release(uint64_t txid);

  // The walk has found the file sound, and `runs` free.
  void AddWalked(const std::vector<PageRun>& runs);
  Counts counts() const;

 private:
  using Runs = std::map<uint64_t, uint64_t>;  // first page -> count

  static bool Overlaps(const Runs& runs, const PageRun& run);
  void Add(PageRun run);
  void Remove(Runs::iterator run);

  mutable std::mutex mutex_;                          // guards all below; innermost
  Runs by_first_;                                     // the free ones; runs do not touch
  std::set<std::pair<uint64_t, uint64_t>> by_count_;  // the same as (count, first)
  std::map<uint64_t, std::vector<PageRun>> pending_;  // by txid
  Runs pending_by_first_;                             // the same
  Counts counts_;
};

}  // namespace corten::bolt
