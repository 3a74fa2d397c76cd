// A directory of its own for a test, and short ways to say what tests say often. Test code.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/test_dir.h"
#include "bolt/check.h"
#include "bolt/db.h"

namespace corten::bolt {

// On a disk: some of its databases are large, and their flushes are what is tested.
class TestDir : public corten::TestDir {
 public:
  TestDir() : corten::TestDir(std::filesystem::temp_directory_path().string()) {}
  std::string File(const std::string& name = "test.db") const { return Path(name); }
};

#define ASSERT_STATUS(expr)                                          \
  do {                                                               \
    const ::corten::Status assert_status = (expr);                   \
    ASSERT_TRUE(assert_status.ok()) << assert_status.error().text(); \
  } while (false)
#define EXPECT_STATUS(expr)                                          \
  do {                                                               \
    const ::corten::Status expect_status = (expr);                   \
    EXPECT_TRUE(expect_status.ok()) << expect_status.error().text(); \
  } while (false)

// The value of a result that must have one.
template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.error().text();
    std::abort();
  }
  return std::move(result).value();
}

inline std::unique_ptr<Db> MustOpen(const std::string& path, const Options& options = {}) {
  return Must(Db::Open(path, options));
}

// Expects that the newest state has no problem.
inline CheckReport ExpectSound(Db& db) {
  CheckReport report;
  EXPECT_STATUS(db.View([&](const Tx& tx) -> Status {
    report = TRY(Check(tx));
    return Ok();
  }));
  for (const std::string& problem : report.problems) ADD_FAILURE() << problem;
  return report;
}

// Runs `fns` in one group, in this order: one more update holds the writer until all of them are
// queued. Answers their statuses.
inline std::vector<Status> UpdateAsGroup(Db& db, const std::vector<Db::UpdateFn>& fns) {
  std::vector<Status> statuses(fns.size());
  std::vector<std::thread> threads;
  EXPECT_STATUS(db.Update([&](Tx&) -> Status {
    for (size_t i = 0; i < fns.size(); ++i) {
      threads.emplace_back([&, i] { statuses[i] = db.Update(fns[i]); });
      while (db.GetStats().queued < i + 2) std::this_thread::yield();
    }
    return Ok();
  }));
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

// Expects that what the walk cannot reach is what the engine thinks is free: no page is lost, none
// is used twice. REQUIRES: no update runs.
inline void ExpectAllPagesAccountedFor(Db& db) {
  EXPECT_STATUS(db.WaitForFreePages());
  const CheckReport report = ExpectSound(db);
  const Stats stats = db.GetStats();
  EXPECT_TRUE(stats.free_pages_known);
  // The pages of a stored list are waiting for the commit that drops it.
  EXPECT_EQ(report.free_pages + report.free_list_pages, stats.free_pages + stats.pending_pages);
}

}  // namespace corten::bolt
