// Visits every page that a state of the file reaches, checking it on the way. The full check and
// the search for free pages are both made of it. Internal to the room.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bolt/check.h"
#include "bolt/page.h"
#include "bolt/tx_state.h"

namespace corten::bolt {

class Walk {
 public:
  // Told of each problem; false ends the walk.
  using OnProblem = std::function<bool(uint64_t page, const std::string& what)>;

  // `tx` is a read transaction, borrowed; `stop` too, may be null.
  Walk(const TxState& tx, OnProblem on_problem, const std::atomic<bool>* stop);

  // Of the current meta page only: the other one may be what an interrupted commit left. Not part
  // of Run: the second commit after this state writes that page again, and the search for free
  // pages runs beside commits.
  void CheckMetaHeader();
  // False: ended early. Time and memory are bounded by the number of pages, whatever is in them.
  bool Run();

  const CheckReport& report() const { return report_; }  // the counts
  // Pages below the high-water mark that nothing reaches.
  std::vector<PageRun> Unreached() const;
  // The pages of the stored list of free pages; count 0: none is stored.
  PageRun stored_list() const { return stored_list_; }

 private:
  struct Visit {
    uint64_t page = 0;
    uint32_t bucket_depth = 0;
    uint32_t tree_depth = 0;
    bool bounded = false;   // `high` holds
    std::string_view low;   // no key may be less
    std::string_view high;  // and none equal or greater
  };

  void Problem(uint64_t page, const std::string& what);
  bool Mark(PageRun run);
  void VisitPage(const Visit& visit);
  void VisitItems(const PageView& page, const Visit& visit);
  void VisitBucketValue(const PageView& holder, std::string_view name, std::string_view value,
                        uint32_t depth);
  void VisitStoredFreeList();

  const TxState& tx_;
  const OnProblem on_problem_;
  const std::atomic<bool>* const stop_;
  bool ended_ = false;
  std::vector<bool> reached_;  // by page
  PageRun stored_list_;
  std::vector<Visit> todo_;
  CheckReport report_;
};

}  // namespace corten::bolt
