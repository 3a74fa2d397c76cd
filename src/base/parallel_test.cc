#include "base/parallel.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
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

#ifndef CORTEN_SANITIZED  // whose own memory is beyond any limit
// Without address space for its stack a thread cannot start.
TEST(InParallel, WhereNoThreadIsToBeHadTheCallerDoesAll) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // anew: the C library keeps stacks of threads
  const auto without_threads = [] {
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    if (setrlimit(RLIMIT_AS, &none) != 0) std::_Exit(2);
    std::atomic<int> runs{0};
    size_t taken = 0;
    InParallel(4, 10, [&] {
      ++runs;
      while (taken < 10) ++taken;
    });
    std::_Exit(runs == 1 && taken == 10 ? 0 : 1);
  };
  EXPECT_EXIT(without_threads(), ::testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace corten
