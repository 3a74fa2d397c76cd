#include "bolt/db.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/strcat.h"
#include "bolt/lock_holder.h"
#include "bolt/test_dir.h"

namespace corten::bolt {
namespace {

using ::testing::HasSubstr;

Status PutAt(Tx& tx, const std::string& bucket, const std::string& key, const std::string& value) {
  Bucket at = TRY(tx.CreateBucketIfNotExists(bucket));
  return at.Put(key, value);
}

std::string ValueAt(Db& db, const std::string& bucket, const std::string& key) {
  std::string value = "(none)";
  EXPECT_STATUS(db.View([&](const Tx& tx) -> Status {
    const std::optional<Bucket> at = TRY(tx.FindBucket(bucket));
    if (!at) return Ok();
    const std::optional<std::string_view> found = TRY(at->Find(key));
    if (found) value = *found;
    return Ok();
  }));
  return value;
}

TEST(Db, NewFileIsSoundAndHasFourPages) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  const CheckReport report = ExpectSound(*db);
  EXPECT_EQ(report.leaf_pages, 1U);
  EXPECT_EQ(db->GetStats().pages, 4U);
  EXPECT_EQ(db->GetStats().txid, 1U);
  EXPECT_EQ(db->GetStats().page_size, static_cast<uint32_t>(sysconf(_SC_PAGESIZE)));
}

TEST(Db, ValuesAreThereAfterReopening) {
  const TestDir dir;
  {
    const auto db = MustOpen(dir.File());
    ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
      EXPECT_EQ(tx.id(), 2U);
      Bucket v1 = TRY(tx.CreateBucket("v1"));
      TRY(v1.Put("version", "\x08"));
      Bucket ns = TRY(v1.CreateBucket("default"));
      Bucket labels = TRY(ns.CreateBucket("labels"));
      TRY(labels.Put("a", "b"));
      EXPECT_EQ(Must(ns.NextSequence()), 1U);
      EXPECT_EQ(Must(ns.NextSequence()), 2U);
      return Ok();
    }));
    EXPECT_EQ(db->GetStats().commits, 1U);
  }
  const auto db = MustOpen(dir.File());
  ExpectSound(*db);
  ASSERT_STATUS(db->View([](const Tx& tx) -> Status {
    const Bucket v1 = TRY(tx.GetBucket("v1"));
    EXPECT_EQ(Must(v1.Get("version")), "\x08");
    const Bucket ns = TRY(v1.GetBucket("default"));
    EXPECT_EQ(ns.Sequence(), 2U);
    const Bucket labels = TRY(ns.GetBucket("labels"));
    EXPECT_EQ(Must(labels.Get("a")), "b");
    EXPECT_EQ(v1.Get("default").error().code(), Code::kNotFound);
    EXPECT_EQ(v1.GetBucket("version").error().code(), Code::kNotFound);
    return Ok();
  }));
}

TEST(Db, ManyKeysInOneTransactionSplitPagesAndGrowTheFile) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    for (int i = 0; i < 20000; ++i)
      TRY(PutAt(tx, "b", StrCat("key", i * 7919 % 20000), std::string(100, 'x')));
    return Ok();
  }));
  const CheckReport report = ExpectSound(*db);
  EXPECT_EQ(report.keys, 20000U);
  EXPECT_GE(report.deepest_tree, 3U);
  EXPECT_GT(db->GetStats().file_bytes, 2000000U);
}

TEST(Db, DeletingEverythingLeavesAnEmptyTree) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    for (int i = 0; i < 5000; ++i) TRY(PutAt(tx, "b", StrCat("key", i), "value of some length"));
    return Ok();
  }));
  for (int part = 0; part < 5; ++part) {
    ASSERT_STATUS(db->Update([part](Tx& tx) -> Status {
      Bucket b = TRY(tx.GetBucket("b"));
      for (int i = part; i < 5000; i += 5) TRY(b.Delete(StrCat("key", i)));
      return Ok();
    }));
    EXPECT_EQ(ExpectSound(*db).keys, 5000U - 1000U * static_cast<uint64_t>(part + 1));
  }
  EXPECT_EQ(ExpectSound(*db).inline_buckets, 1U);
}

TEST(Db, ValueLargerThanAPageIsKept) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  const std::string large(100000, 'L');
  ASSERT_STATUS(db->Update([&](Tx& tx) -> Status {
    TRY(PutAt(tx, "b", "large", large));
    TRY(PutAt(tx, "b", "small", "s"));
    return PutAt(tx, "b", std::string(kMaxKeySize, 'k'), "long key");
  }));
  ExpectSound(*db);
  EXPECT_EQ(ValueAt(*db, "b", "large"), large);
  EXPECT_EQ(ValueAt(*db, "b", std::string(kMaxKeySize, 'k')), "long key");
}

TEST(Db, ErrorsHaveCodeAndText) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  const auto expect = [](const Status& status, Code code, const std::string& text) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code(), code) << status.error().text();
    EXPECT_THAT(status.error().text(), HasSubstr(text));
  };
  const auto error_of = [](auto result) -> Status {
    if (result.ok()) return Ok();
    return std::move(result).TakeError();
  };
  ASSERT_STATUS(db->Update([&](Tx& tx) -> Status {
    Bucket b = TRY(tx.CreateBucket("b"));
    TRY(b.Put("plain", "v"));
    TRY(b.CreateBucket("sub"));
    expect(b.Put("", "v"), Code::kInvalidArgument, "key required");
    expect(b.Put(std::string(kMaxKeySize + 1, 'k'), "v"), Code::kInvalidArgument, "key too large");
    expect(b.Put("sub", "v"), Code::kInvalidArgument, "incompatible value");
    expect(b.Delete("sub"), Code::kInvalidArgument, "incompatible value");
    expect(b.DeleteBucket("plain"), Code::kInvalidArgument, "incompatible value");
    expect(b.DeleteBucket("none"), Code::kNotFound, "bucket \"none\"");
    expect(error_of(b.CreateBucket("sub")), Code::kAlreadyExists, "bucket already exists");
    expect(error_of(b.CreateBucket("plain")), Code::kInvalidArgument, "incompatible value");
    expect(error_of(b.CreateBucketIfNotExists("plain")), Code::kInvalidArgument,
           "incompatible value");
    expect(error_of(b.CreateBucket("")), Code::kInvalidArgument, "bucket name required");
    EXPECT_STATUS(b.Delete("none"));
    expect(tx.Root().Put("k", "v"), Code::kInvalidArgument, "top level holds buckets only");
    Bucket sub = TRY(b.GetBucket("sub"));
    TRY(tx.DeleteBucket("b"));
    expect(sub.Put("k", "v"), Code::kFailedPrecondition, "was deleted");
    expect(error_of(b.Find("plain")), Code::kFailedPrecondition, "was deleted");
    TRY(tx.CreateBucket("b"));
    return Ok();
  }));
  ASSERT_STATUS(db->View([&](const Tx& tx) -> Status {
    Bucket b = TRY(tx.GetBucket("b"));
    expect(b.Put("k", "v"), Code::kFailedPrecondition, "tx not writable");
    expect(error_of(b.NextSequence()), Code::kFailedPrecondition, "tx not writable");
    EXPECT_TRUE(Must(b.Empty()));
    return Ok();
  }));
}

TEST(Db, FunctionThatFailsLeavesNoTrace) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    for (int i = 0; i < 500; ++i) TRY(PutAt(tx, "old", StrCat("k", i), "value"));
    Bucket old = TRY(tx.GetBucket("old"));
    Bucket sub = TRY(old.CreateBucket("sub"));
    return sub.Put("deep", "kept");
  }));
  const uint64_t txid = db->GetStats().txid;
  const Status status = db->Update([](Tx& tx) -> Status {
    TRY(PutAt(tx, "new", "k", "v"));
    Bucket old = TRY(tx.GetBucket("old"));
    for (int i = 0; i < 500; i += 2) TRY(old.Delete(StrCat("k", i)));
    for (int i = 1; i < 500; i += 2) TRY(old.Put(StrCat("k", i), "changed"));
    TRY(old.SetSequence(77));
    TRY(old.DeleteBucket("sub"));
    Bucket again = TRY(old.CreateBucket("sub"));
    TRY(again.Put("other", "x"));
    TRY(tx.DeleteBucket("old"));
    return AbortedError("changed my mind");
  });
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().text(), "changed my mind");
  EXPECT_EQ(db->GetStats().txid, txid) << "nothing to commit";
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status { return PutAt(tx, "later", "k", "v"); }));
  EXPECT_EQ(ExpectSound(*db).keys, 502U);
  EXPECT_EQ(ValueAt(*db, "old", "k7"), "value");
  EXPECT_EQ(ValueAt(*db, "new", "k"), "(none)");
  ASSERT_STATUS(db->View([](const Tx& tx) -> Status {
    const Bucket old = TRY(tx.GetBucket("old"));
    EXPECT_EQ(old.Sequence(), 0U);
    const Bucket sub = TRY(old.GetBucket("sub"));
    EXPECT_EQ(Must(sub.Get("deep")), "kept");
    return Ok();
  }));
}

TEST(Db, FunctionThatChangesNothingCostsNoFlush) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status { return PutAt(tx, "b", "k", "v"); }));
  const Stats before = db->GetStats();
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status { return PutAt(tx, "b", "k", "v"); }));
  EXPECT_EQ(db->GetStats().flushes, before.flushes);
  EXPECT_EQ(db->GetStats().txid, before.txid);
}

TEST(Db, UpdateInsideUpdateIsRefusedInsteadOfHanging) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  Status inner;
  ASSERT_STATUS(db->Update([&](Tx&) -> Status {
    inner = db->Update([](Tx&) -> Status { return Ok(); });
    return Ok();
  }));
  ASSERT_FALSE(inner.ok());
  EXPECT_EQ(inner.error().code(), Code::kFailedPrecondition);
}

TEST(Db, ReaderKeepsItsStateWhileWritersGoOn) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    for (int i = 0; i < 200; ++i) TRY(PutAt(tx, "b", StrCat("k", i), "first"));
    return Ok();
  }));
  ASSERT_STATUS(db->WaitForFreePages());
  Result<ReadTx> old = db->BeginView();
  ASSERT_TRUE(old.ok());
  for (int round = 0; round < 50; ++round) {
    ASSERT_STATUS(db->Update([&](Tx& tx) -> Status {
      for (int i = 0; i < 200; ++i) TRY(PutAt(tx, "b", StrCat("k", i), StrCat("round", round)));
      return Ok();
    }));
  }
  EXPECT_EQ(db->GetStats().oldest_reader, (*old)->id());
  EXPECT_GT(db->GetStats().pending_pages, 50U);
  const Result<CheckReport> report = Check(**old);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->problems.empty());
  const auto seen = (*old)->GetBucket("b")->Get("k199");
  EXPECT_EQ(*seen, "first");
  {
    const ReadTx ended = std::move(*old);
  }
  const uint64_t pages = db->GetStats().pages;
  for (int round = 0; round < 50; ++round) {
    ASSERT_STATUS(
        db->Update([&](Tx& tx) -> Status { return PutAt(tx, "b", "k1", StrCat("again", round)); }));
  }
  EXPECT_EQ(db->GetStats().pages, pages) << "freed pages are used again";
  EXPECT_EQ(db->GetStats().readers, 0U);
}

TEST(Db, PagesFreeAtOpeningAreFoundAndUsed) {
  const TestDir dir;
  {
    const auto db = MustOpen(dir.File());
    ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
      for (int i = 0; i < 3000; ++i) TRY(PutAt(tx, "b", StrCat("k", i), std::string(50, 'v')));
      return Ok();
    }));
    ASSERT_STATUS(db->Update([](Tx& tx) -> Status { return tx.DeleteBucket("b"); }));
  }
  const auto db = MustOpen(dir.File());
  EXPECT_FALSE(db->GetStats().free_pages_known);
  ASSERT_STATUS(db->WaitForFreePages());
  const Stats stats = db->GetStats();
  EXPECT_TRUE(stats.free_pages_known);
  EXPECT_GT(stats.free_pages, 40U);
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    for (int i = 0; i < 1000; ++i) TRY(PutAt(tx, "c", StrCat("k", i), std::string(50, 'v')));
    return Ok();
  }));
  EXPECT_EQ(db->GetStats().pages, stats.pages);
  ExpectSound(*db);
}

TEST(Db, TooManyReadersIsAnErrorAndNotAHang) {
  const TestDir dir;
  const auto db = MustOpen(dir.File(), {.max_readers = 2});
  const Result<ReadTx> first = db->BeginView();
  const Result<ReadTx> second = db->BeginView();
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(db->BeginView().error().code(), Code::kResourceExhausted);
}

TEST(Db, SecondProcessIsToldWhoHoldsTheFile) {
  const TestDir dir;
  int ready[2];
  int quit[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(quit), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(quit[1]);
    const auto db = Db::Open(dir.File());
    char byte = db.ok() ? 'y' : 'n';
    if (write(ready[1], &byte, 1) != 1 || read(quit[0], &byte, 1) != 0) _exit(1);
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  const auto begin = std::chrono::steady_clock::now();
  const auto refused = Db::Open(dir.File(), {.lock_timeout = std::chrono::milliseconds(120)});
  ASSERT_FALSE(refused.ok());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(120));
  EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  EXPECT_THAT(refused.error().text(), HasSubstr(StrCat("locked by process ", child, " (")));
  close(quit[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Db::Open(dir.File()).ok());
}

TEST(LockHolder, IsFoundByDeviceAndInode) {
  const std::string locks =
      "1: POSIX  ADVISORY  WRITE 11 08:02:130 0 EOF\n"
      "2: FLOCK  ADVISORY  WRITE 22 08:01:130 0 EOF\n"
      "3: FLOCK  ADVISORY  WRITE 33 08:02:130 0 EOF\n"
      "3: -> FLOCK  ADVISORY  WRITE 44 08:02:130 0 EOF\n"
      "4: FLOCK  ADVISORY  WRITE 55 00:2a:131 0 EOF\n"
      "nonsense\n";
  EXPECT_EQ(FindLockHolder(locks, makedev(8, 2), 130), 33);
  EXPECT_EQ(FindLockHolder(locks, makedev(9, 9), 131), 55) << "the only lock with this inode";
  EXPECT_EQ(FindLockHolder(locks, makedev(9, 9), 130), 0) << "two candidates";
  EXPECT_EQ(FindLockHolder(locks, makedev(8, 2), 999), 0);
}

TEST(Db, ReadOnlyOpensBesideAnotherReaderAndRefusesUpdates) {
  const TestDir dir;
  EXPECT_EQ(Db::Open(dir.File(), {.mode = Mode::kReadOnly}).error().code(), Code::kNotFound);
  EXPECT_EQ(Db::Open(dir.File(), {.mode = Mode::kExisting}).error().code(), Code::kNotFound);
  {
    const auto db = MustOpen(dir.File());
  }
  const auto one = MustOpen(dir.File(), {.mode = Mode::kReadOnly});
  const auto two = MustOpen(dir.File(), {.mode = Mode::kReadOnly});
  EXPECT_EQ(one->Update([](Tx&) -> Status { return Ok(); }).error().code(),
            Code::kFailedPrecondition);
  EXPECT_EQ(Db::Open(dir.File()).error().code(), Code::kUnavailable);
}

TEST(Db, FilesThatAreNoDatabaseAreRefusedWithTheReason) {
  const TestDir dir;
  const auto text_of = [&](const std::string& content) {
    std::ofstream(dir.File(), std::ios::binary | std::ios::trunc) << content;
    const auto db = Db::Open(dir.File());
    return db.ok() ? std::string("opened") : db.error().text();
  };
  EXPECT_THAT(text_of(std::string(100000, 'x')), HasSubstr("no bolt file"));
  EXPECT_THAT(text_of(std::string(100000, '\0')), HasSubstr("no bolt file"))
      << "too long for an unfinished creation";
  EXPECT_EQ(text_of(std::string(4000, '\0')), "opened") << "creation was cut short: made again";
  EXPECT_EQ(text_of(std::string(32768, '\0')), "opened") << "as long as a new file";
  EXPECT_EQ(text_of(std::string(8192, '\0') + std::string(8192, 'x') + std::string(16384, '\0')),
            "opened")
      << "its pages were written, its metas not";
  EXPECT_THAT(text_of(std::string(32767, '\0') + "x"), HasSubstr("no bolt file"))
      << "a page that a new file has not";
  EXPECT_EQ(text_of(""), "opened");
  EXPECT_THAT(Db::Open("/dev/null").error().text(), HasSubstr("not a regular file"));
}

TEST(Db, AFileThatWasCutOffIsRefusedNamingThePage) {
  const TestDir dir;
  {
    const auto db = MustOpen(dir.File());
    ASSERT_STATUS(
        db->Update([](Tx& tx) -> Status { return PutAt(tx, "b", "k", std::string(100000, 'v')); }));
  }
  std::filesystem::resize_file(dir.File(), 20000);
  const auto db = Db::Open(dir.File());
  ASSERT_FALSE(db.ok());
  EXPECT_EQ(db.error().code(), Code::kDataLoss);
  EXPECT_THAT(db.error().text(), HasSubstr("page 4: is cut off"));
  EXPECT_THAT(db.error().text(), HasSubstr(dir.File()));
  EXPECT_THAT(db.error().text(), HasSubstr("bbolt surgery"));
}

TEST(Db, OneDamagedMetaPageIsSurvived) {
  const TestDir dir;
  uint64_t txid = 0;
  {
    const auto db = MustOpen(dir.File());
    ASSERT_STATUS(db->Update([](Tx& tx) -> Status { return PutAt(tx, "b", "k", "one"); }));
    ASSERT_STATUS(db->Update([](Tx& tx) -> Status { return PutAt(tx, "b", "k", "two"); }));
    txid = db->GetStats().txid;
  }
  std::fstream file(dir.File(), std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(
      static_cast<std::streamoff>((txid % 2) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) + 40));
  file << "damage";
  file.close();
  const auto db = MustOpen(dir.File());
  EXPECT_EQ(db->GetStats().txid, txid - 1);
  EXPECT_EQ(ValueAt(*db, "b", "k"), "one");
}

TEST(Db, PageSizesFromOneToSixtyFourKiBWork) {
  for (const uint32_t page_size : {1024U, 2048U, 8192U, 65536U}) {
    const TestDir dir;
    {
      const auto db = MustOpen(dir.File(), {.page_size = page_size});
      ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
        for (int i = 0; i < 2000; ++i) TRY(PutAt(tx, "b", StrCat("k", i), StrCat("v", i)));
        return Ok();
      }));
    }
    const auto db = MustOpen(dir.File());
    EXPECT_EQ(db->GetStats().page_size, page_size);
    EXPECT_EQ(ExpectSound(*db).keys, 2000U);
  }
  const TestDir dir;
  EXPECT_EQ(Db::Open(dir.File(), {.page_size = 3000}).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace corten::bolt
