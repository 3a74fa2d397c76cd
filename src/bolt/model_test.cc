// Thousands of random steps against a model, with failing functions, long readers and reopening.
// CORTEN_SEED=N runs that seed alone; CORTEN_ROUNDS=N takes N transactions a seed.
#include "bolt/model.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/strcat.h"
#include "bolt/test_dir.h"

namespace corten::bolt {
namespace {

struct OldReader {
  ReadTx tx;
  ModelBucket model;
};

class ModelRun {
 public:
  ModelRun(uint64_t seed, uint32_t page_size, ModelOptions options)
      : steps_(seed, options), page_size_(page_size) {}

  void Run(int rounds) {
    Open();
    for (int round = 0; round < rounds && !::testing::Test::HasFailure(); ++round) {
      Round();
      if (steps_.Below(25) == 0) LookAround();
      if (steps_.Below(60) == 0) Open();
    }
    LookAround();
    ExpectAllPagesAccountedFor(*db_);
    EXPECT_TRUE(groups_ > 0 || rounds < 100);
  }

 private:
  void Open() {
    readers_.clear();
    if (db_) ExpectAllPagesAccountedFor(*db_);
    db_.reset();
    db_ = MustOpen(dir_.File(), {.no_sync = true, .page_size = page_size_});
    if (steps_.Below(2) == 0) EXPECT_STATUS(db_->WaitForFreePages());
  }

  // A function that takes random steps. `*after` becomes what the database must hold once it has
  // run: the steps' result, or `*after` as it was if the function fails on purpose.
  Db::UpdateFn Function(ModelBucket* after, bool fails) {
    return [this, after, fails](Tx& tx) -> Status {
      ModelBucket next = *after;
      const Status inside = steps_.Take(tx, &next);
      EXPECT_TRUE(inside.ok()) << inside.error().text();
      if (steps_.Below(8) == 0)
        EXPECT_STATUS(Compare(tx.Root(), next));  // before the pages are written
      if (fails) return AbortedError("on purpose");
      *after = std::move(next);
      return Ok();
    };
  }

  void Round() {
    std::vector<bool> fails;
    std::vector<Db::UpdateFn> functions;
    for (uint64_t left = steps_.Below(10) == 0 ? steps_.Below(6) + 2 : 1; left > 0; --left) {
      fails.push_back(steps_.Below(4) == 0);
      functions.push_back(Function(&model_, fails.back()));
    }
    std::vector<Status> statuses;
    if (functions.size() == 1) {
      statuses.push_back(db_->Update(functions[0]));
    } else {
      statuses = UpdateAsGroup(*db_, functions);
      ++groups_;
    }
    for (size_t i = 0; i < fails.size(); ++i) EXPECT_NE(statuses[i].ok(), fails[i]);
  }

  void LookAround() {
    EXPECT_STATUS(db_->View([&](const Tx& tx) -> Status { return Compare(tx.Root(), model_); }));
    for (const OldReader& reader : readers_)
      EXPECT_STATUS(Compare(reader.tx->Root(), reader.model));
    if (readers_.size() > 3)
      readers_.erase(readers_.begin() + static_cast<ptrdiff_t>(steps_.Below(3)));
    readers_.push_back({Must(db_->BeginView()), model_});
  }

  TestDir dir_;
  ModelSteps steps_;
  const uint32_t page_size_;
  ModelBucket model_;
  int groups_ = 0;
  std::unique_ptr<Db> db_;
  std::vector<OldReader> readers_;  // end before db_
};

int Rounds(int usual) {
  const char* asked = std::getenv("CORTEN_ROUNDS");
#ifdef CORTEN_SANITIZED
  usual /= 5;
#endif
  return asked != nullptr ? std::atoi(asked) : usual;
}

class ModelTest : public ::testing::TestWithParam<int> {};

TEST_P(ModelTest, RandomStepsAgreeWithATreeOfMaps) {
  const char* asked = std::getenv("CORTEN_SEED");
  const uint64_t seed =
      asked != nullptr ? std::strtoull(asked, nullptr, 10) : static_cast<uint64_t>(GetParam());
  SCOPED_TRACE(StrCat("seed ", seed));
  ModelRun(seed, 1024, {}).Run(Rounds(300));
  ModelRun(seed + 1000, 4096, {.max_keys = 3000, .max_steps = 300}).Run(Rounds(100));
  ModelRun(seed + 2000, 1024, {.max_keys = 40, .max_value = 30, .max_steps = 10}).Run(Rounds(500));
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, ::testing::Range(1, 7));

}  // namespace
}  // namespace corten::bolt
