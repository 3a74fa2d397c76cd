// Which pages may be written next. Internal to the room.
//
// A page that commit N no longer needs is pending until no reader of a state before N remains, then free. Pages that
// were free before the file was opened are unknown until the walk (free_walk.h) brings them.
// Threads: thread-safe.
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
    uint64_t free = 0;
    uint64_t pending = 0;
    bool walked = false;
  };

  // `count` adjacent free pages: the smallest run that fits; nullopt if there is none.
  std::optional<uint64_t> Take(uint64_t count);
  // Returns pages that were taken for a commit that did not happen.
  void GiveBack(const std::vector<PageRun>& runs);

  // Commit `txid` no longer needs `runs`.
  // Errors: kDataLoss with the first page that is free or pending already, or named twice: then nothing has changed.
  Status CheckUnused(std::vector<PageRun> runs, const std::string& file_name) const;
  void AddPending(uint64_t txid, std::vector<PageRun> runs);
  // Frees what was pending for the commits up to `txid`: every reader sees `txid` or a later state.
  void Release(uint64_t txid);

  // What the walk found.
  void AddWalked(const std::vector<PageRun>& runs);
  Counts counts() const;

 private:
  void Add(PageRun run);
  void Remove(std::map<uint64_t, uint64_t>::iterator run);

  mutable std::mutex mutex_;                             // guards all below; innermost
  std::map<uint64_t, uint64_t> by_first_;                // first page -> count; runs do not touch
  std::set<std::pair<uint64_t, uint64_t>> by_count_;     // the same as (count, first)
  std::map<uint64_t, std::vector<PageRun>> pending_;     // by txid
  Counts counts_;
};

}  // namespace corten::bolt
