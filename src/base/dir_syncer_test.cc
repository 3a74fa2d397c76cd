#include "base/dir_syncer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "base/dir.h"

namespace corten {
namespace {

TEST(DirSyncer, CallersAtOnceShareFlushes) {
  const Dir dir = Dir::Open("/tmp").value();
  DirSyncer syncer(dir.fd(), dir.path());
  constexpr int kThreads = 16;
  constexpr int kRounds = 20;
  std::barrier start(kThreads);
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        start.arrive_and_wait();
        DirSyncer::Change change(syncer);
        if (!change.Sync().ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0);
  EXPECT_GE(syncer.flushes(), static_cast<uint64_t>(kRounds));
  EXPECT_LT(syncer.flushes(), static_cast<uint64_t>(kThreads * kRounds));
}

TEST(DirSyncer, SettleFlushesOnlyWhileAChangeIsUnderWay) {
  const Dir dir = Dir::Open("/tmp").value();
  DirSyncer syncer(dir.fd(), dir.path());
  EXPECT_TRUE(syncer.Settle().ok());
  EXPECT_EQ(syncer.flushes(), 0u);
  {
    const DirSyncer::Change change(syncer);
    EXPECT_TRUE(syncer.Settle().ok());
    EXPECT_EQ(syncer.flushes(), 1u);
  }
  EXPECT_TRUE(syncer.Settle().ok());
  EXPECT_EQ(syncer.flushes(), 1u);
}

TEST(DirSyncer, AFailedFlushIsTheAnswerOfItsCaller) {
  Pipe pipe = MakePipe().value();  // a pipe cannot be flushed: EINVAL
  DirSyncer syncer(pipe.read, "pipe");
  DirSyncer::Change change(syncer);
  const Status status = change.Sync();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().sys_errno(), EINVAL);
}

}  // namespace
}  // namespace corten
