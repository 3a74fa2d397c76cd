#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

namespace corten {
namespace {

TEST(InParallel, EveryItemIsTakenOnceByNoMoreThreadsThanAsked) {
  constexpr size_t kThreads = 4;
  constexpr size_t kItems = 1000;
  std::atomic<size_t> next{0};
  std::atomic<int> taken[kItems] = {};
  std::mutex mutex;
  std::set<std::thread::id> threads;
  InParallel(kThreads, kItems, [&] {
    {
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    }
    for (size_t at = next++; at < kItems; at = next++) ++taken[at];
  });
  for (const auto& times : taken) EXPECT_EQ(times, 1);
  EXPECT_TRUE(threads.contains(std::this_thread::get_id()));
  EXPECT_LE(threads.size(), kThreads);
}

TEST(InParallel, NoMoreThreadsThanItems) {
  for (const size_t items : {0U, 1U, 2U}) {
    std::atomic<int> runs{0};
    InParallel(8, items, [&] { ++runs; });
    EXPECT_EQ(runs, items == 2 ? 2 : 1) << items;
  }
}

}  // namespace
}  // namespace corten
