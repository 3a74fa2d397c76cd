#include "bolt/walk.h"

#include <algorithm>
#include <utility>

#include "base/strcat.h"
#include "bolt/level.h"

namespace corten::bolt {

Walk::Walk(const TxState& tx, OnProblem on_problem, const std::atomic<bool>* stop)
    : tx_(tx), on_problem_(std::move(on_problem)), stop_(stop) {}

bool Walk::Run() {
  reached_.assign(tx_.meta().high_water, false);
  reached_[0] = reached_[1] = true;
  todo_.push_back({.page = tx_.meta().root_page, .low = {}, .high = {}});
  while (!todo_.empty() && !ended_) {
    if (stop_ != nullptr && stop_->load(std::memory_order_relaxed)) return false;
    const Visit visit = todo_.back();
    todo_.pop_back();
    VisitPage(visit);
  }
  if (!ended_ && tx_.meta().free_list != kNoFreeList) VisitStoredFreeList();
  if (ended_) return false;
  report_.free_pages = static_cast<uint64_t>(std::count(reached_.begin(), reached_.end(), false));
  return true;
}

void Walk::Problem(uint64_t page, const std::string& what) {
  if (!ended_ && !on_problem_(page, what)) ended_ = true;
}

// False, and a problem told: some of it was reached before.
bool Walk::Mark(PageRun run) {
  for (uint64_t id = run.first; id < run.first + run.count; ++id) {
    if (reached_[id]) {
      Problem(id, "is reached more than once");
      return false;
    }
    reached_[id] = true;
  }
  return true;
}

void Walk::CheckMetaHeader() {
  const uint64_t id = tx_.meta().txid % 2;
  const PageView page{tx_.RawPage(id), tx_.meta().page_size, id};
  if (page.stored_id() != id || page.flags() != kMetaPage)
    Problem(id, "is not marked as a meta page");
}

void Walk::VisitPage(const Visit& visit) {
  if (visit.tree_depth >= kMaxTreeDepth) return Problem(visit.page, "tree is too deep");
  const Result<PageView> loaded = tx_.LoadPage(visit.page);
  if (!loaded.ok()) return Problem(visit.page, loaded.error().text());
  const PageView& page = *loaded;
  if (!Mark({page.id, uint64_t{page.overflow()} + 1})) return;
  report_.deepest_tree = std::max(report_.deepest_tree, visit.tree_depth + 1);
  ++(page.leaf() ? report_.leaf_pages : report_.branch_pages);
  if (!page.leaf() && page.count() == 0) return Problem(page.id, "branch without children");
  VisitItems(page, visit);
}

void Walk::VisitItems(const PageView& page, const Visit& visit) {
  const Level level = LevelOf(page);
  std::string_view previous;
  for (size_t i = 0; i < page.count() && !ended_; ++i) {
    Item item;
    if (!(page.leaf() ? LeafAt(level, i, &item) : ChildAt(level, i, &item))) {
      return Problem(page.id, StrCat("element ", i, " reaches past its page"));
    }
    if (item.key.empty()) return Problem(page.id, StrCat("key ", i, " is empty"));
    if (i > 0 && item.key <= previous) {
      return Problem(page.id, StrCat("key ", i, " is not greater than the one before it"));
    }
    if (item.key < visit.low || (visit.bounded && item.key >= visit.high)) {
      return Problem(page.id, StrCat("key ", i, " is outside the range of its branch"));
    }
    previous = item.key;
    if (!page.leaf()) {
      Visit child{item.child_page, visit.bucket_depth, visit.tree_depth + 1,
                  visit.bounded,   item.key,           visit.high};
      Item next;
      if (i + 1 < page.count() && ChildAt(level, i + 1, &next)) {
        child.bounded = true;
        child.high = next.key;
      }
      todo_.push_back(child);
    } else if (item.is_bucket) {
      VisitBucketValue(page, item.key, item.value, visit.bucket_depth + 1);
    } else {
      ++report_.keys;
    }
  }
}

void Walk::VisitBucketValue(const PageView& holder, std::string_view name, std::string_view value,
                            uint32_t depth) {
  ++report_.buckets;
  const std::optional<BucketHeader> header = DecodeBucket(value);
  if (!header) return Problem(holder.id, StrCat("bucket ", Quoted(name), " is cut off"));
  if (depth > kMaxBucketDepth) return Problem(holder.id, "too many buckets inside each other");
  if (holder.id == 0) return Problem(holder.id, "a page image inside a bucket holds a bucket");
  if (header->root_page != 0) {
    Visit visit;
    visit.page = header->root_page;
    visit.bucket_depth = depth;
    todo_.push_back(visit);
    return;
  }
  ++report_.inline_buckets;
  const Result<PageView> image = tx_.LoadInline(header->inline_page);
  if (!image.ok())
    return Problem(holder.id, StrCat("bucket ", Quoted(name), ": ", image.error().text()));
  if (image->stored_id() != 0)
    return Problem(holder.id, StrCat("bucket ", Quoted(name), ": page image with a number"));
  Visit visit;
  visit.bucket_depth = depth;
  VisitItems(*image, visit);
}

void Walk::VisitStoredFreeList() {
  const uint64_t id = tx_.meta().free_list;
  PageView page{tx_.RawPage(id), tx_.meta().page_size, id};
  if (page.stored_id() != id || page.flags() != kFreeListPage ||
      page.overflow() >= tx_.meta().high_water - id) {
    return Problem(id, "is not a list of free pages");
  }
  page.length = (uint64_t{page.overflow()} + 1) * tx_.meta().page_size;
  stored_list_ = {id, uint64_t{page.overflow()} + 1};
  if (!Mark(stored_list_)) return;
  report_.free_list_pages = stored_list_.count;
  uint64_t count = page.count();
  uint64_t at = kPageHeaderSize;
  if (count == 0xFFFF) {
    count = LoadInt<uint64_t>(page.data + at);
    at += 8;
  }
  if (count > (page.length - at) / 8)
    return Problem(id, "list of free pages reaches past its page");
  uint64_t previous = 1;
  for (uint64_t i = 0; i < count && !ended_; ++i, at += 8) {
    const uint64_t free = LoadInt<uint64_t>(page.data + at);
    if (free <= previous || free >= tx_.meta().high_water)
      return Problem(id, StrCat("free page ", free, " is out of order"));
    if (reached_[free]) Problem(free, "is in use and free at once");
    previous = free;
  }
}

std::vector<PageRun> Walk::Unreached() const {
  std::vector<PageRun> runs;
  for (uint64_t id = kFirstPage; id < reached_.size(); ++id) {
    if (reached_[id]) continue;
    if (!runs.empty() && runs.back().first + runs.back().count == id) {
      ++runs.back().count;
    } else {
      runs.push_back({id, 1});
    }
  }
  return runs;
}

Result<CheckReport> Check(const Tx& tx) {
  if (tx.writable()) return FailedPreconditionError("check needs a read transaction");
  std::vector<std::string> problems;
  Walk walk(
      *tx.state(),
      [&](uint64_t page, const std::string& what) {
        problems.push_back(StrCat("page ", page, ": ", what));
        return problems.size() < kMaxProblems;
      },
      nullptr);
  walk.CheckMetaHeader();
  (void)walk.Run();  // an early end has its problems in the list
  CheckReport report = walk.report();
  report.problems = std::move(problems);
  return report;
}

}  // namespace corten::bolt
