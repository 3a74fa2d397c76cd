// A disk that is full, fails, or gives back other bytes than were written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>

#include "base/strcat.h"
#include "bolt/faulty_disk.h"
#include "bolt/model.h"
#include "bolt/test_dir.h"

namespace corten::bolt {
namespace {

using ::testing::HasSubstr;
using Op = FaultyDisk::Op;

constexpr uint32_t kPageSize = 1024;

Status PutK(Tx& tx, const std::string& value) {
  Bucket b = TRY(tx.CreateBucketIfNotExists("b"));
  return b.Put("k", value);
}

std::string K(Db& db) {
  std::string value;
  EXPECT_STATUS(db.View([&](const Tx& tx) -> Status {
    const Bucket b = TRY(tx.GetBucket("b"));
    value = TRY(b.Get("k"));
    return Ok();
  }));
  return value;
}

struct OnFaultyDisk {
  OnFaultyDisk() {
    auto owned = std::make_unique<FaultyDisk>();
    disk = owned.get();
    db = Must(Db::OpenOn(std::move(owned), {.page_size = kPageSize}));
    EXPECT_STATUS(db->Update([](Tx& tx) { return PutK(tx, "before"); }));
  }
  FaultyDisk* disk;
  std::unique_ptr<Db> db;
};

TEST(Fault, FullDiskChangesNothingAndLaterUpdatesWork) {
  for (const Op full : {Op::kWrite, Op::kResize}) {
    OnFaultyDisk on;
    on.disk->before = [&](Op op) -> Status {
      if (op == full) return ErrnoError(ENOSPC, "faulty.db");
      return Ok();
    };
    const Status refused = on.db->Update([](Tx& tx) { return PutK(tx, std::string(200000, 'x')); });
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
    EXPECT_EQ(K(*on.db), "before");
    on.disk->before = nullptr;
    ExpectAllPagesAccountedFor(*on.db);
    EXPECT_STATUS(on.db->Update([](Tx& tx) { return PutK(tx, "after"); }));
    EXPECT_EQ(K(*on.db), "after");
    ExpectAllPagesAccountedFor(*on.db);
  }
}

// The second write of a commit is its meta page.
TEST(Fault, AfterAFailedFlushWritesAreRefusedUntilReopened) {
  for (const int failing_step : {1, 2, 3}) {
    OnFaultyDisk on;
    int step = 0;
    on.disk->before = [&](Op op) -> Status {
      if (op == Op::kResize || op == Op::kSync) return Ok();
      if (step++ == failing_step) return ErrnoError(EIO, "faulty.db");
      return Ok();
    };
    const Status failed = on.db->Update([](Tx& tx) { return PutK(tx, "doubtful"); });
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().sys_errno(), EIO);
    on.disk->before = nullptr;
    const Status refused = on.db->Update([](Tx& tx) { return PutK(tx, "never"); });
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), Code::kUnavailable);
    EXPECT_THAT(refused.error().text(), HasSubstr("until it is opened anew"));
    EXPECT_EQ(K(*on.db), "before") << "readers go on";
    const auto reopened = Must(Db::OpenOn(on.disk->Clone()));
    EXPECT_STATUS(reopened->Update([](Tx& tx) { return PutK(tx, "anew"); }));
    ExpectSound(*reopened);
  }
}

TEST(Fault, OnFullDiskEveryMemberOfTheGroupIsTold) {
  OnFaultyDisk on;
  std::vector<Db::UpdateFn> functions;
  for (int i = 0; i < 5; ++i)
    functions.emplace_back([](Tx& tx) { return PutK(tx, std::string(100000, 'x')); });
  functions.emplace_back([](Tx&) -> Status { return AbortedError("own error"); });
  on.disk->before = [](Op op) -> Status {
    return op == Op::kWrite ? ErrnoError(ENOSPC, "faulty.db") : Ok();
  };
  const std::vector<Status> statuses = UpdateAsGroup(*on.db, functions);
  for (int i = 0; i < 5; ++i) {
    ASSERT_FALSE(statuses[static_cast<size_t>(i)].ok());
    EXPECT_EQ(statuses[static_cast<size_t>(i)].error().code(), Code::kResourceExhausted);
  }
  EXPECT_EQ(statuses[5].error().text(), "own error");
}

// --- bytes that changed on the disk ---

std::string SomeDatabase(uint64_t seed) {
  auto owned = std::make_unique<FaultyDisk>();
  FaultyDisk* disk = owned.get();
  std::string content;
  const auto db = Must(Db::OpenOn(std::move(owned), {.page_size = kPageSize}));
  ModelSteps steps(seed, {.max_keys = 200, .max_value = 100, .max_steps = 60});
  ModelBucket model;
  for (int i = 0; i < 30; ++i) {
    EXPECT_STATUS(db->Update([&](Tx& tx) { return steps.Take(tx, &model); }));
  }
  std::mt19937_64 random(seed);
  return disk->Crash(Loss::kNothing, random);
}

// Everything that can be read, however damaged. Bounded by what it meets.
Status ReadAll(const Bucket& bucket, int depth, int* budget) {
  Cursor cursor = bucket.NewCursor();
  for (std::optional<Entry> e = TRY(cursor.First()); e && --*budget > 0; e = TRY(cursor.Next())) {
    const std::optional<Entry> again = TRY(bucket.FindEntry(e->key));
    (void)again;
    if (!e->is_bucket || depth == 0) continue;
    const std::optional<Bucket> child = TRY(bucket.FindBucket(e->key));
    if (child) TRY(ReadAll(*child, depth - 1, budget));
  }
  for (std::optional<Entry> e = TRY(cursor.Last()); e && --*budget > 0; e = TRY(cursor.Prev())) {
  }
  return Ok();
}

TEST(Damage, IsReportedAndNeverACrashOrAHang) {
  const std::string sound = SomeDatabase(1);
  std::mt19937_64 random(1);
  int refused = 0;
  int reported = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string content = sound;
    for (uint64_t left = random() % 8 + 1; left > 0; --left) {
      // Half of the changes hit a page's head and its elements, where structure is.
      const uint64_t page = random() % (content.size() / kPageSize);
      const uint64_t at = page * kPageSize + random() % (random() % 2 == 0 ? 64 : kPageSize);
      content[at] = static_cast<char>(random() % 3 == 0 ? random() % 8 : random() % 256);
    }
    const Result<std::unique_ptr<Db>> db = Db::OpenOn(std::make_unique<FaultyDisk>(content));
    if (!db.ok()) {
      EXPECT_TRUE(db.error().Is(Code::kDataLoss) || db.error().Is(Code::kUnimplemented))
          << db.error().text();
      ++refused;
      continue;
    }
    int budget = 20000;
    const Status read = (*db)->View([&](const Tx& tx) { return ReadAll(tx.Root(), 8, &budget); });
    if (!read.ok()) {
      EXPECT_EQ(read.error().code(), Code::kDataLoss) << read.error().text();
      EXPECT_THAT(read.error().text(), HasSubstr("page "));
    }
    CheckReport report;
    EXPECT_STATUS((*db)->View([&](const Tx& tx) -> Status {
      report = TRY(Check(tx));
      return Ok();
    }));
    EXPECT_LE(report.problems.size(), kMaxProblems);
    if (!report.problems.empty()) ++reported;
    EXPECT_TRUE(read.ok() || !report.problems.empty()) << read.error().text();
    // Writing into it: whatever happens is an error or a success.
    ModelSteps steps(random(), {.max_keys = 200, .max_steps = 30});
    ModelBucket ignored;
    for (int i = 0; i < 3; ++i)
      (void)(*db)->Update([&](Tx& tx) { return steps.Take(tx, &ignored); });
    (void)(*db)->WaitForFreePages();
  }
  EXPECT_GT(reported, 200);
  RecordProperty("refused", refused);
  RecordProperty("reported", reported);
}

TEST(Damage, FoundByTheWalkStandsInTheStatistics) {
  std::string content = SomeDatabase(2);
  // The type of the last page that is in use somewhere becomes nonsense.
  const auto db = Must(Db::OpenOn(std::make_unique<FaultyDisk>(content)));
  EXPECT_STATUS(db->WaitForFreePages());
  EXPECT_EQ(db->GetStats().damage, "");
  int found = 0;
  for (uint64_t page = 2; page < content.size() / kPageSize; ++page) {
    std::string damaged = content;
    damaged[page * kPageSize + 8] = 0x40;
    const auto opened = Db::OpenOn(std::make_unique<FaultyDisk>(damaged));
    if (!opened.ok()) continue;
    const Status walked = (*opened)->WaitForFreePages();
    if (walked.ok()) continue;  // the page is free
    ++found;
    EXPECT_EQ(walked.error().code(), Code::kDataLoss);
    EXPECT_THAT((*opened)->GetStats().damage, HasSubstr(StrCat("faulty.db: page ", page, ": ")));
    EXPECT_FALSE((*opened)->GetStats().free_pages_known);
  }
  EXPECT_GT(found, 5);
}

}  // namespace
}  // namespace corten::bolt
