// Many callers at once: groups, their bounds, and readers beside them. Meant to be run under
// ThreadSanitizer too.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/executor.h"
#include "base/strcat.h"
#include "bolt/test_dir.h"

namespace corten::bolt {
namespace {

Status PutNumber(Tx& tx, const std::string& bucket, const std::string& key, uint64_t number) {
  Bucket b = TRY(tx.CreateBucketIfNotExists(bucket));
  return b.Put(key, std::to_string(number));
}

uint64_t Number(const Bucket& bucket, const std::string& key) {
  return std::stoull(std::string(Must(bucket.Get(key))));
}

TEST(Group, SharesOnePairOfFlushes) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) { return PutNumber(tx, "b", "first", 0); }));
  const Stats before = db->GetStats();
  std::vector<Db::UpdateFn> functions;
  for (uint64_t i = 0; i < 20; ++i) {
    functions.emplace_back([i](Tx& tx) { return PutNumber(tx, "b", StrCat("k", i), i); });
  }
  for (const Status& status : UpdateAsGroup(*db, functions)) EXPECT_TRUE(status.ok());
  const Stats after = db->GetStats();
  EXPECT_EQ(after.commits, before.commits + 1);
  EXPECT_EQ(after.flushes, before.flushes + 2);
  EXPECT_EQ(after.updates, before.updates + 20);
  EXPECT_EQ(after.largest_group, 20U);
  EXPECT_EQ(after.groups[5], 1U);
  EXPECT_EQ(ExpectSound(*db).keys, 21U);
}

TEST(Group, ErrorOfOneLeavesItsNeighboursAlone) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  std::vector<int> runs(30, 0);
  std::vector<Db::UpdateFn> functions;
  for (size_t i = 0; i < 30; ++i) {
    functions.emplace_back([i, &runs](Tx& tx) -> Status {
      ++runs[i];
      Bucket b = TRY(tx.CreateBucketIfNotExists("b"));
      Bucket mine = TRY(b.CreateBucket(StrCat("n", i)));
      TRY(mine.Put("k", "v"));
      const uint64_t sequence = TRY(b.NextSequence());
      TRY(b.Put("last", std::to_string(sequence)));
      const bool before = Must(b.FindBucket(StrCat("n", i - 1))).has_value();
      EXPECT_EQ(before, i > 0 && i % 3 != 0);
      if (i % 3 == 2) return AbortedError("number ", i);
      return Ok();
    });
  }
  const std::vector<Status> statuses = UpdateAsGroup(*db, functions);
  for (size_t i = 0; i < 30; ++i) {
    EXPECT_EQ(statuses[i].ok(), i % 3 != 2);
    EXPECT_EQ(statuses[i].ok() ? "" : statuses[i].error().text(),
              i % 3 != 2 ? "" : StrCat("number ", i));
    EXPECT_EQ(runs[i], 1) << "functions never run twice";
  }
  EXPECT_EQ(db->GetStats().commits, 1U);
  EXPECT_EQ(db->GetStats().updates, 20U);
  EXPECT_EQ(db->GetStats().failed_updates, 10U);
  ASSERT_STATUS(db->View([](const Tx& tx) -> Status {
    const Bucket b = TRY(tx.GetBucket("b"));
    EXPECT_EQ(b.Sequence(), 20U);
    EXPECT_EQ(Number(b, "last"), 20U);
    for (size_t i = 0; i < 30; ++i)
      EXPECT_EQ(Must(b.FindBucket(StrCat("n", i))).has_value(), i % 3 != 2);
    return Ok();
  }));
  ExpectAllPagesAccountedFor(*db);
}

TEST(Group, RunsInOrderOfArrivalAndNoLargerThanItsBound) {
  const TestDir dir;
  const auto db = MustOpen(dir.File(), {.max_group = 4});
  std::vector<int> order;
  std::vector<Db::UpdateFn> functions;
  for (int i = 0; i < 18; ++i) {
    functions.emplace_back([i, &order](Tx& tx) {
      order.push_back(i);  // one function at a time
      return PutNumber(tx, "b", "k", static_cast<uint64_t>(i));
    });
  }
  for (const Status& status : UpdateAsGroup(*db, functions)) EXPECT_TRUE(status.ok());
  for (int i = 0; i < 18; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  EXPECT_EQ(db->GetStats().largest_group, 4U);
  EXPECT_EQ(db->GetStats().commits, 5U);
}

// A runner with one thread, as the daemon's executors are.
class Runner {
 public:
  explicit Runner(size_t threads = 1) : executor_("test", {.threads = threads, .queue = 4096}) {}
  Options MakeOptions() {
    Options options;
    options.runner = [this](std::function<void()> work) {
      return executor_.Submit(std::move(work)).ok();
    };
    return options;
  }
  Executor& executor() { return executor_; }

 private:
  Executor executor_;
};

TEST(Group, AnUpdateForLaterInsideAnUpdateIsRefused) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  std::string told;
  ASSERT_STATUS(db->Update([&](Tx& tx) {
    db->UpdateLater([](Tx&) { return Ok(); },
                    [&](Status status) { told = status.ok() ? "ok" : status.error().text(); });
    return PutNumber(tx, "b", "k", 1);
  }));
  EXPECT_EQ(told, "update inside an update of the same database");
}

TEST(Group, UpdatesForLaterNeedNoThreadThatWaits) {
  const TestDir dir;
  Runner runner;
  const auto db = MustOpen(dir.File(), runner.MakeOptions());
  ASSERT_STATUS(db->Update([](Tx& tx) { return PutNumber(tx, "b", "first", 0); }));
  const uint64_t commits = db->GetStats().commits;
  std::vector<std::string> told(20);
  std::atomic<bool> open{false};
  // Holds the only thread until all are in line.
  ASSERT_STATUS(runner.executor().Submit([&] {
    while (!open) std::this_thread::yield();
  }));
  for (size_t i = 0; i < 20; ++i) {
    db->UpdateLater(
        [i](Tx& tx) -> Status {
          TRY(PutNumber(tx, "b", StrCat("k", i), i));
          return i == 7 ? Status(AbortedError("seven")) : Ok();
        },
        [&told, i](Status status) { told[i] += status.ok() ? "ok" : status.error().text(); });
  }
  EXPECT_EQ(db->GetStats().queued, 20U);
  open = true;
  runner.executor().Close();  // after all that was accepted
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(told[i], i == 7 ? "seven" : "ok");
  EXPECT_EQ(db->GetStats().commits, commits + 1);
  EXPECT_EQ(db->GetStats().queued, 0U);
  EXPECT_EQ(ExpectSound(*db).keys, 20U);
}

// The runner's threads may all be waiting in Update themselves.
TEST(Group, WhoWaitsLeadsThoseForLater) {
  const TestDir dir;
  Runner runner;
  const auto db = MustOpen(dir.File(), runner.MakeOptions());
  std::atomic<int> told{0};
  std::atomic<bool> done{false};
  ASSERT_STATUS(runner.executor().Submit([&] {
    db->UpdateLater([](Tx& tx) { return PutNumber(tx, "b", "later", 1); },
                    [&](Status status) { told += status.ok() ? 1 : 100; });
    EXPECT_STATUS(db->Update([](Tx& tx) { return PutNumber(tx, "b", "now", 1); }));
    EXPECT_EQ(told, 1);
    done = true;
  }));
  while (!done) std::this_thread::yield();
  runner.executor().Close();
  EXPECT_EQ(ExpectSound(*db).keys, 2U);
}

TEST(Group, WithoutARunnerLaterIsNow) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  int told = 0;
  db->UpdateLater([](Tx& tx) { return PutNumber(tx, "b", "k", 1); },
                  [&](Status status) { told += status.ok() ? 1 : 100; });
  EXPECT_EQ(told, 1);
  EXPECT_EQ(ExpectSound(*db).keys, 1U);
}

// The runner's line is full: who asks leads, however many come from those who are told.
TEST(Group, ARunnerThatRefusesMakesTheCallerLead) {
  constexpr int kCalls = 20000;
  const TestDir dir;
  Options options;
  options.no_sync = true;
  options.runner = [](const std::function<void()>&) { return false; };
  const auto db = MustOpen(dir.File(), options);
  int told = 0;
  std::function<void(Status)> next = [&](Status status) {
    EXPECT_TRUE(status.ok());
    if (++told == kCalls) return;
    db->UpdateLater([&](Tx& tx) { return PutNumber(tx, "b", "k", static_cast<uint64_t>(told)); },
                    next);
  };
  db->UpdateLater([](Tx& tx) { return PutNumber(tx, "b", "k", 0); }, next);
  EXPECT_EQ(told, kCalls);
  EXPECT_EQ(db->GetStats().commits, static_cast<uint64_t>(kCalls));
  EXPECT_EQ(db->GetStats().queued, 0U);
}

TEST(Group, ACallerLeadsNoLongerThanTheRunnerRefuses) {
  constexpr size_t kCalls = 50;
  const TestDir dir;
  Runner runner;
  std::atomic<int> refusals{3};
  Options options = runner.MakeOptions();
  options.runner = [&, accept = options.runner](std::function<void()> work) {
    return refusals-- <= 0 && accept(std::move(work));
  };
  const auto db = MustOpen(dir.File(), options);
  std::vector<std::thread::id> told;  // one call at a time
  std::atomic<bool> done{false};
  std::function<void(Status)> next = [&](Status status) {
    EXPECT_TRUE(status.ok());
    told.push_back(std::this_thread::get_id());
    if (told.size() == kCalls) {
      done = true;
      return;
    }
    db->UpdateLater([&](Tx& tx) { return PutNumber(tx, "b", "k", told.size()); }, next);
  };
  db->UpdateLater([](Tx& tx) { return PutNumber(tx, "b", "k", 0); }, next);
  while (!done) std::this_thread::yield();
  runner.executor().Close();
  ASSERT_EQ(told.size(), kCalls);
  for (size_t i = 0; i < kCalls; ++i) EXPECT_EQ(told[i] == std::this_thread::get_id(), i < 3) << i;
}

TEST(Group, ThreadsThatWaitAndThoseThatDoNotAreAllServed) {
  constexpr int kEach = 100;
  const TestDir dir;
  Runner runner(2);
  Options options = runner.MakeOptions();
  options.max_queue = 6;
  options.max_group = 4;
  const auto db = MustOpen(dir.File(), options);
  std::atomic<int> told{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const auto put = [t, i](Tx& tx) { return PutNumber(tx, "b", StrCat(t, "-", i), 1); };
        if (t % 2 == 0) {
          EXPECT_STATUS(db->Update(put));
        } else {
          db->UpdateLater(put, [&](Status status) { told += status.ok() ? 1 : 1000; });
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  while (told < 3 * kEach) std::this_thread::yield();
  runner.executor().Close();
  EXPECT_EQ(told, 3 * kEach);
  EXPECT_EQ(db->GetStats().queued, 0U);
  EXPECT_EQ(ExpectSound(*db).keys, 6U * kEach);
}

TEST(Group, CallersBlockWhenTheQueueIsFullAndAllAreServed) {
  const TestDir dir;
  const auto db = MustOpen(dir.File(), {.max_queue = 2});
  std::vector<std::thread> threads;
  std::atomic<int> done{0};
  ASSERT_STATUS(db->Update([&](Tx&) -> Status {
    for (uint64_t i = 0; i < 10; ++i) {
      threads.emplace_back([&, i] {
        EXPECT_STATUS(db->Update([i](Tx& tx) { return PutNumber(tx, "b", StrCat("k", i), i); }));
        ++done;
      });
    }
    while (db->GetStats().queued < 3) std::this_thread::yield();  // this one and two that wait
    EXPECT_EQ(db->GetStats().queued, 3U);
    return Ok();
  }));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done, 10);
  EXPECT_EQ(ExpectSound(*db).keys, 10U);
}

TEST(Group, ManyCallersAreAllServed) {
  const TestDir dir;
  const auto db = MustOpen(dir.File(), {.max_queue = 5, .max_group = 3});
  constexpr int kThreads = 12;
  constexpr uint64_t kEach = 40;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kEach; ++i) {
        EXPECT_STATUS(
            db->Update([&](Tx& tx) { return PutNumber(tx, StrCat("t", t), StrCat("k", i), i); }));
        // Its own change is there at once.
        EXPECT_STATUS(db->View([&](const Tx& tx) -> Status {
          const Bucket mine = TRY(tx.GetBucket(StrCat("t", t)));
          EXPECT_EQ(Number(mine, StrCat("k", i)), i);
          return Ok();
        }));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ExpectSound(*db).keys, kThreads * kEach);
  EXPECT_LE(db->GetStats().largest_group, 3U);
  EXPECT_EQ(db->GetStats().queued, 0U);
}

// Each update moves one unit between two keys; every reader must see the same sum.
TEST(Readers, SeeOneStateWhileWritersGoOn) {
  const TestDir dir;
  const auto db = MustOpen(dir.File(), {.no_sync = true, .page_size = 1024});
  constexpr uint64_t kAccounts = 200;
  constexpr uint64_t kEach = 100;
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    for (uint64_t i = 0; i < kAccounts; ++i) TRY(PutNumber(tx, "accounts", StrCat("a", i), kEach));
    return Ok();
  }));
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> looks{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&] {
      uint64_t last_id = 0;
      while (!stop) {
        const ReadTx tx = Must(db->BeginView());
        EXPECT_GE(tx->id(), last_id);
        last_id = tx->id();
        const Bucket accounts = Must(tx->GetBucket("accounts"));
        uint64_t sum = 0;
        uint64_t count = 0;
        EXPECT_STATUS(accounts.ForEach([&](const Entry& entry) -> Status {
          sum += std::stoull(std::string(entry.value));
          ++count;
          return Ok();
        }));
        EXPECT_EQ(sum, kAccounts * kEach);
        EXPECT_EQ(count, kAccounts);
        ++looks;
      }
    });
  }
  std::vector<std::thread> writers;
  for (uint64_t w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      for (uint64_t i = 0; i < 150; ++i) {
        const std::string from = StrCat("a", (w * 31 + i * 7) % kAccounts);
        const std::string to = StrCat("a", (w * 17 + i * 13 + 1) % kAccounts);
        const Status status = db->Update([&](Tx& tx) -> Status {
          Bucket accounts = TRY(tx.GetBucket("accounts"));
          const uint64_t have = Number(accounts, from);
          TRY(accounts.Put(from, std::to_string(have - 1)));
          if (have == 0 || i % 10 == 3) return AbortedError("not this one");
          return accounts.Put(to, std::to_string(Number(accounts, to) + 1));
        });
        EXPECT_EQ(status.ok(), i % 10 != 3);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  while (looks < 10) std::this_thread::yield();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  ExpectAllPagesAccountedFor(*db);
  EXPECT_EQ(db->GetStats().readers, 0U);
}

TEST(Readers, OneTransactionServesManyThreads) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    for (uint64_t i = 0; i < 500; ++i) TRY(PutNumber(tx, StrCat("b", i % 10), StrCat("k", i), i));
    return Ok();
  }));
  const ReadTx tx = Must(db->BeginView());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (uint64_t i = 0; i < 500; ++i) {
        const Bucket bucket = Must(tx->GetBucket(StrCat("b", i % 10)));
        EXPECT_EQ(Number(bucket, StrCat("k", i)), i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace corten::bolt
