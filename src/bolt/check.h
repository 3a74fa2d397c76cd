// A full look at one state of a bolt file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "bolt/tx.h"

namespace corten::bolt {

struct CheckReport {
  std::vector<std::string> problems;  // at most kMaxProblems, each naming its page; empty: sound
  uint64_t buckets = 0;
  uint64_t inline_buckets = 0;
  uint64_t keys = 0;  // plain values
  uint64_t branch_pages = 0;
  uint64_t leaf_pages = 0;
  uint64_t free_pages = 0;       // below the high-water page and not reached
  uint64_t free_list_pages = 0;  // of the stored list of free pages
  uint32_t deepest_tree = 0;     // levels of pages of one bucket
};
inline constexpr size_t kMaxProblems = 100;

// Walks every page of a read transaction: page headers, bounds, key order inside and between pages,
// each page reached once, buckets, and the stored list of free pages if there is one (none of them
// may be in use). The answer is Ok whatever is found; problems are in the report. Errors:
// kFailedPrecondition (a write transaction). Cost: reads every page once; a bit per page of memory.
Result<CheckReport> Check(const Tx& tx);

}  // namespace corten::bolt
