// Power goes at every write and at every flush; afterwards the file is exactly before or after a
// commit, and no acknowledged commit is lost. The suite's power is proved: without any one of the
// engine's flushes it fails. CORTEN_SEED=N runs that seed alone.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/strcat.h"
#include "bolt/faulty_disk.h"
#include "bolt/model.h"
#include "bolt/test_dir.h"

namespace corten::bolt {
namespace {

constexpr uint32_t kPageSize = 1024;

enum class Missing : uint8_t {
  kNone,
  kDataFlush,
  kMetaFlush,
  kGrowthFlush,
  kFirstFlush,
  kCreationFlush
};

class PowerLossRun {
 public:
  PowerLossRun(uint64_t seed, Missing missing)
      : seed_(seed), missing_(missing), random_(seed), steps_(seed, kSmall) {}

  // Empty: no crash did harm.
  const std::vector<std::string>& problems() const { return problems_; }
  uint64_t crashes() const { return crashes_; }

  void Run(int updates) {
    allowed_ = {ModelBucket{}};
    auto disk = std::make_unique<FaultyDisk>();
    for (int generation = 0; disk != nullptr && problems_.empty() && generation < 4; ++generation) {
      disk = RunUntilKilled(std::move(disk), updates);
    }
  }

 private:
  static constexpr ModelOptions kSmall{
      .max_keys = 60, .max_value = 60, .max_steps = 12, .max_depth = 2};

  // Updates on `disk`; now and then the process is killed on the way: answers the disk as the next
  // one finds it.
  std::unique_ptr<FaultyDisk> RunUntilKilled(std::unique_ptr<FaultyDisk> owned, int updates) {
    FaultyDisk* disk = owned.get();
    std::unique_ptr<FaultyDisk> left;
    std::vector<ModelBucket> allowed_at_kill;
    int kill_in = static_cast<int>(random_() % 300) + 20;  // operations
    disk->lies = [&, flushes = 0](FaultyDisk::Op op) mutable { return Lies(*disk, op, flushes++); };
    disk->after = [&](FaultyDisk::Op) {
      CrashHere(*disk);
      if (--kill_in != 0) return;
      left = disk->Clone();
      allowed_at_kill = allowed_;
    };
    Result<std::unique_ptr<Db>> db = Db::OpenOn(std::move(owned), {.page_size = kPageSize});
    if (!db.ok()) {
      problems_.push_back("open: " + db.error().text());
      return nullptr;
    }
    RecogniseState(**db);
    // So that pages that were free at opening are used at once.
    if (const Status walked = (*db)->WaitForFreePages(); !walked.ok())
      problems_.push_back(walked.error().text());
    for (int i = 0; i < updates && left == nullptr && problems_.empty(); ++i) Update(**db, *disk);
    disk->after = nullptr;
    if (left != nullptr) allowed_ = allowed_at_kill;
    return left;
  }

  // After a kill the database may be in any allowed state; what is done next stands on the one it
  // is in. The other one stays allowed until an update is acknowledged: its flushes may not have
  // happened.
  void RecogniseState(Db& db) {
    for (const ModelBucket& state : allowed_) {
      if (Holds(db, state)) {
        current_ = state;
        return;
      }
    }
    problems_.push_back("opened in no allowed state");
  }

  void Update(Db& db, FaultyDisk& disk) {
    const Status status = db.Update([&](Tx& tx) -> Status {
      ModelBucket next = current_;
      TRY(steps_.Take(tx, &next));
      allowed_.push_back(next);
      return Ok();
    });
    if (!status.ok()) {
      problems_.push_back(status.error().text());
      return;
    }
    current_ = allowed_.back();
    allowed_ = {current_};
    CrashHere(disk);
  }

  bool Lies(const FaultyDisk& disk, FaultyDisk::Op op, int flushes) const {
    const bool data = disk.UnflushedFrom(2 * kPageSize);
    const bool meta = disk.UnflushedBelow(2 * kPageSize);
    switch (missing_) {
      case Missing::kNone:
        return false;
      case Missing::kDataFlush:
        return op == FaultyDisk::Op::kDataSync && data && !meta;
      case Missing::kMetaFlush:
        return op == FaultyDisk::Op::kDataSync && meta && flushes > 0;
      case Missing::kGrowthFlush:
        return op == FaultyDisk::Op::kSync && !data && !meta;
      case Missing::kFirstFlush:
        return op == FaultyDisk::Op::kDataSync && flushes == 0;
      case Missing::kCreationFlush:
        return op == FaultyDisk::Op::kSync && flushes == 0;
    }
    return false;
  }

  static bool Holds(Db& db, const ModelBucket& state) {
    return db.View([&](const Tx& tx) { return Compare(tx.Root(), state); }).ok();
  }

  // Every kind of loss at this moment.
  void CrashHere(const FaultyDisk& disk) {
    for (const Loss loss : kLosses) {
      const std::string content = disk.Crash(loss, random_);
      ++crashes_;
      const std::string problem = Recover(content);
      if (!problem.empty()) {
        problems_.push_back(StrCat("seed ", seed_, ", crash ", crashes_, ", loss ",
                                   static_cast<int>(loss), ": ", problem));
      }
    }
  }

  std::string Recover(const std::string& content) {
    const Result<std::unique_ptr<Db>> db =
        Db::OpenOn(std::make_unique<FaultyDisk>(content), {.page_size = kPageSize});
    if (!db.ok()) return db.error().text();
    CheckReport report;
    const Status checked = (*db)->View([&](const Tx& tx) -> Status {
      report = TRY(Check(tx));
      return Ok();
    });
    if (!checked.ok()) return checked.error().text();
    if (!report.problems.empty()) return report.problems.front();
    for (const ModelBucket& state : allowed_) {
      if (Holds(**db, state)) return GoOn(**db, state);
    }
    return StrCat("holds neither the state before nor after the commit (txid ",
                  (*db)->GetStats().txid, ")");
  }

  // The recovered database can be written.
  std::string GoOn(Db& db, const ModelBucket& state) {
    if (crashes_ % 16 != 0) return {};
    ModelBucket next = state;
    const Status written = db.Update([&](Tx& tx) -> Status { return steps_.Take(tx, &next); });
    if (!written.ok()) return written.error().text();
    return Holds(db, next) ? std::string() : "differs after an update of the recovered file";
  }

  const uint64_t seed_;
  const Missing missing_;
  std::mt19937_64 random_;
  ModelSteps steps_;
  std::vector<ModelBucket> allowed_;  // states that a crash may leave
  ModelBucket current_;
  std::vector<std::string> problems_;
  uint64_t crashes_ = 0;
};

#ifdef CORTEN_SANITIZED
constexpr int kUpdates = 8;  // many times slower there; the plain build looks longer
#else
constexpr int kUpdates = 40;
#endif

// A killed process had written its meta page and not flushed it. The next one finds its value
// there, "puts" it again and is told that it is durable.
TEST(PowerLossAfterKill, ValueThatWasFoundAlreadyThereIsDurableOnceAcknowledged) {
  const auto put = [](Tx& tx) -> Status {
    Bucket b = TRY(tx.CreateBucketIfNotExists("b"));
    return b.Put("k", "v");
  };
  auto owned = std::make_unique<FaultyDisk>();
  FaultyDisk* disk = owned.get();
  std::unique_ptr<FaultyDisk> killed;
  {
    const auto db = Must(Db::OpenOn(std::move(owned), {.page_size = kPageSize}));
    disk->after = [&](FaultyDisk::Op op) {
      if (op == FaultyDisk::Op::kWrite && disk->UnflushedBelow(2 * kPageSize))
        killed = disk->Clone();
    };
    ASSERT_STATUS(db->Update(put));
    disk->after = nullptr;
  }
  ASSERT_NE(killed, nullptr);
  disk = killed.get();
  const auto db = Must(Db::OpenOn(std::move(killed), {.page_size = kPageSize}));
  ASSERT_STATUS(db->Update(put));
  EXPECT_EQ(db->GetStats().commits, 0U) << "it was there";
  std::mt19937_64 random(1);
  const auto after = Must(Db::OpenOn(std::make_unique<FaultyDisk>(disk->Crash(Loss::kAll, random)),
                                     {.page_size = kPageSize}));
  ASSERT_STATUS(after->View([](const Tx& tx) -> Status {
    const Bucket b = TRY(tx.GetBucket("b"));
    EXPECT_EQ(Must(b.Get("k")), "v");
    return Ok();
  }));
}

class PowerLoss : public ::testing::TestWithParam<int> {};

TEST_P(PowerLoss, LeavesTheStateBeforeOrAfterACommit) {
  const char* asked = std::getenv("CORTEN_SEED");
  PowerLossRun run(
      asked != nullptr ? std::strtoull(asked, nullptr, 10) : static_cast<uint64_t>(GetParam()),
      Missing::kNone);
  run.Run(kUpdates);
  EXPECT_TRUE(run.problems().empty()) << run.problems().front();
  EXPECT_GT(run.crashes(), 6U * 3U * kUpdates);
  RecordProperty("crashes", static_cast<int>(run.crashes()));
}

INSTANTIATE_TEST_SUITE_P(Seeds, PowerLoss, ::testing::Range(1, 5));

#ifndef CORTEN_SANITIZED  // proves the suite, not the engine
bool SomeSeedFails(Missing missing) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    PowerLossRun run(seed, missing);
    run.Run(60);
    if (!run.problems().empty()) return true;
  }
  return false;
}

TEST(PowerLossProof, WithoutTheFlushOfPagesTheSuiteFails) {
  EXPECT_TRUE(SomeSeedFails(Missing::kDataFlush));
}
TEST(PowerLossProof, WithoutTheFlushOfTheMetaPageTheSuiteFails) {
  EXPECT_TRUE(SomeSeedFails(Missing::kMetaFlush));
}
TEST(PowerLossProof, WithoutTheFlushOfANewSizeTheSuiteFails) {
  EXPECT_TRUE(SomeSeedFails(Missing::kGrowthFlush));
}
TEST(PowerLossProof, WithoutTheFirstFlushAfterAKillTheSuiteFails) {
  EXPECT_TRUE(SomeSeedFails(Missing::kFirstFlush));
}
TEST(PowerLossProof, WithoutTheFlushDuringCreationTheSuiteFails) {
  EXPECT_TRUE(SomeSeedFails(Missing::kCreationFlush));
}
#endif

}  // namespace
}  // namespace corten::bolt
