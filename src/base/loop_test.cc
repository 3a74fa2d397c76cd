#include "base/loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <thread>

namespace corten {
namespace {

TEST(Loop, RunsPostedTasksInOrderFromAnotherThread) {
  auto loop = Loop::Create().value();
  std::vector<int> seen;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) loop->Post([&seen, i] { seen.push_back(i); });
    loop->Post([&] { loop->Stop(); });
  });
  ASSERT_TRUE(loop->Run().ok());
  other.join();
  ASSERT_EQ(seen.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST(Loop, CallsTimersInTimeOrderAndNotAfterCancel) {
  auto loop = Loop::Create().value();
  std::string seen;
  loop->After(std::chrono::milliseconds(20), [&] {
    seen += 'b';
    loop->Stop();
  });
  loop->After(std::chrono::milliseconds(5), [&] { seen += 'a'; });
  const auto gone = loop->After(std::chrono::milliseconds(1), [&] { seen += 'x'; });
  loop->Cancel(gone);
  ASSERT_TRUE(loop->Run().ok());
  EXPECT_EQ(seen, "ab");
}

TEST(Loop, AHandlerMayRemoveAnotherInTheSameRound) {
  auto loop = Loop::Create().value();
  Pipe a = MakePipe().value();
  Pipe b = MakePipe().value();
  int calls = 0;
  ASSERT_TRUE(loop->Add(a.read, EPOLLIN,
                        [&](uint32_t) {
                          ++calls;
                          loop->Remove(b.read);
                          loop->Remove(a.read);
                        })
                  .ok());
  ASSERT_TRUE(loop->Add(b.read, EPOLLIN,
                        [&](uint32_t) {
                          ++calls;
                          loop->Remove(a.read);
                          loop->Remove(b.read);
                        })
                  .ok());
  ASSERT_TRUE(WriteAll(a.write, "x", "pipe").ok());
  ASSERT_TRUE(WriteAll(b.write, "x", "pipe").ok());
  ASSERT_TRUE(loop->RunOnce(std::chrono::milliseconds(1000)).ok());
  ASSERT_TRUE(loop->RunOnce(std::chrono::milliseconds(0)).ok());
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace corten
