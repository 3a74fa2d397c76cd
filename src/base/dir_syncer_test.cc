#include "base/dir_syncer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/dir.h"

namespace corten {
namespace {

TEST(DirSyncer, CallersDuringAFlushShareTheNext) {
  constexpr uint64_t kThreads = 16;
  DirSyncer* all = nullptr;
  DirSyncer syncer([&] {
    while (all->waiting() < kThreads && all->flushes() == 0)
      std::this_thread::yield();  // the first flush lasts until all have come
    return Ok();
  });
  all = &syncer;
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      DirSyncer::Change change(syncer);
      if (!change.Sync().ok()) ++failures;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0);
  EXPECT_EQ(syncer.flushes(), 2u);
  EXPECT_EQ(syncer.waiting(), 0u);
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
