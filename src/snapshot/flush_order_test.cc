// What stands on the disk before what: the order of system calls that a power loss would judge.
// Needs strace.
#include <gtest/gtest.h>

#include "base/test_dir.h"
#include "base/test_trace.h"

namespace corten::snapshot {
namespace {

class SnapshotFlushOrderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::vector<std::string>> calls =
        TraceCalls({CORTEN_CRASH_JOURNEY, temp_.Path("root")},
                   "fsync,fdatasync,renameat2,unlinkat,write", temp_.Path("log"));
    ASSERT_TRUE(calls.ok()) << calls.error().text();
    calls_ = std::move(calls).value();
  }

  TestDir temp_;
  std::vector<std::string> calls_;
};

TEST_F(SnapshotFlushOrderTest, TreesAreListedBeforeTheirRows) {
  size_t at = 0;
  for (const char* key : {"making-base", "making-middle", "view", "container", "making-top"}) {
    const size_t promised = FindCall(calls_, at, "write(1<", {StrCat("\"made ", key, "\\n\"")});
    ASSERT_LT(promised, calls_.size()) << key;
    const size_t renamed = FindCall(calls_, at, "renameat2(", {"\"new-"});
    const size_t listed = FindCall(calls_, renamed, "fsync(", {"/snapshots>"});
    const size_t row = FindCall(calls_, renamed, "fdatasync(", {"/metadata.db>"});
    EXPECT_LT(renamed, listed) << key;
    EXPECT_LT(listed, row) << key << ": the row may survive a power loss and its tree not (I2)";
    EXPECT_LT(row, promised) << key;
    at = promised;
  }
}

TEST_F(SnapshotFlushOrderTest, ACommitThatSyncsFlushesTheTreeBeforeTheRow) {
  const auto calls = TraceCalls({CORTEN_CRASH_JOURNEY, temp_.Path("synced"), "sync"},
                                "syncfs,fdatasync,write", temp_.Path("log"));
  ASSERT_TRUE(calls.ok()) << calls.error().text();
  const size_t asked = FindCall(*calls, 0, "write(1<", {"gone making-base"});
  const size_t flushed = FindCall(*calls, asked, "syncfs(", {"/snapshots>"});
  const size_t row = FindCall(*calls, asked, "fdatasync(", {"/metadata.db>"});
  ASSERT_LT(row, calls->size());
  EXPECT_LT(flushed, row);
}

TEST_F(SnapshotFlushOrderTest, ATreeGoesAfterItsRow) {
  const size_t asked = FindCall(calls_, 0, "write(1<", {"gone view"});
  const size_t deleted = FindCall(calls_, asked, "unlinkat(", {"/snapshots>", "AT_REMOVEDIR"});
  const size_t row = FindCall(calls_, asked, "fdatasync(", {"/metadata.db>"});
  ASSERT_LT(deleted, calls_.size());
  EXPECT_LT(row, deleted);
}

TEST_F(SnapshotFlushOrderTest, APrepareCostsOneFlushOfTheDirectoryAndTwoOfTheRows) {
  const size_t from = FindCall(calls_, 0, "write(1<", {"\"made view\\n\""});
  const size_t to = FindCall(calls_, 0, "write(1<", {"\"made container\\n\""});
  ASSERT_LT(from, to);
  int flushes = 0;
  for (size_t i = from; i < to; ++i)
    flushes += calls_[i].starts_with("fsync(") || calls_[i].starts_with("fdatasync(") ? 1 : 0;
  EXPECT_EQ(flushes, 3);
}

}  // namespace
}  // namespace corten::snapshot
