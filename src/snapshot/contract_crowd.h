// Part of snapshot/contract.h: many callers at once, and cleaning up.
#pragma once

#include <atomic>
#include <set>
#include <thread>

#include "snapshot/contract.h"

namespace corten::snapshot {

TEST_P(SnapshotterContract, OneOfManyAtOnceGetsTheKey) {
  constexpr int kThreads = 8;
  std::atomic<int> made{0};
  std::atomic<int> existed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const Code code = CodeOf(snapshotter().Prepare("same", "", {}));
      if (code == Code::kOk) ++made;
      if (code == Code::kAlreadyExists) ++existed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made.load(), 1);
  EXPECT_EQ(existed.load(), kThreads - 1);
  EXPECT_EQ(Names(), std::vector<std::string>{"same"});
}

TEST_P(SnapshotterContract, ManyAtOnceEachGetTheirOwnTree) {
  constexpr int kThreads = 8;
  constexpr int kEach = 10;
  MustAddLayer("base");
  std::vector<std::vector<Mounts>> mounts(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const std::string key = StrCat("c", t, "-", i);
        Result<Mounts> prepared = snapshotter().Prepare(key, "base", {});
        if (prepared.ok()) mounts[static_cast<size_t>(t)].push_back(std::move(prepared).value());
        if (i % 2 == 0)
          (void)snapshotter().Cleanup();  // must not take what is being made; may be kUnimplemented
        if (i % 3 == 0 && !snapshotter().Remove(key).ok()) mounts[static_cast<size_t>(t)].clear();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> places;
  for (const auto& list : mounts) {
    EXPECT_EQ(list.size(), static_cast<size_t>(kEach));
    for (const Mounts& one : list) {
      std::string place = one.back().source;
      for (const std::string& option : one.back().options) place += "," + option;
      EXPECT_TRUE(places.insert(place).second) << place << " was given twice";
    }
  }
  EXPECT_EQ(Names({"kind==active"}).size(), static_cast<size_t>(kThreads * 6));
}

TEST_P(SnapshotterContract, CleanupLeavesWhatIsThere) {
  MustAddLayer("base");
  MustPrepare("active", "base");
  MustPrepare("removed", "base");
  ASSERT_TRUE(snapshotter().Remove("removed").ok());
  const Code code = CodeOf(snapshotter().Cleanup());
  EXPECT_TRUE(code == Code::kOk || code == Code::kUnimplemented);
  EXPECT_EQ(Names(), (std::vector<std::string>{"active", "base"}));
  EXPECT_TRUE(snapshotter().Mounts("active").ok());
  MustCommit("after", "active");
}

}  // namespace corten::snapshot
