#include "shim/event_queue.h"

#include <gtest/gtest.h>

namespace corten::shim {
namespace {

Event Named(const std::string& topic, const std::string& payload = "") {
  return {topic, "type", payload, kZeroTime};
}

TEST(EventQueue, TheHeadStaysUntilItIsAcknowledged) {
  EventQueue queue;
  ASSERT_TRUE(queue.Push(Named("/a")));
  ASSERT_TRUE(queue.Push(Named("/b")));
  EXPECT_EQ(queue.head().topic, "/a");
  EXPECT_EQ(queue.head().topic, "/a");
  queue.Acknowledge();
  EXPECT_EQ(queue.head().topic, "/b");
  queue.Acknowledge();
  EXPECT_TRUE(queue.empty());
}

TEST(EventQueue, OneOomNoticePerContainerWaits) {
  EventQueue queue;
  queue.PushOom(Named("/tasks/oom", "c1"));
  queue.PushOom(Named("/tasks/oom", "c1"));
  queue.PushOom(Named("/tasks/oom", "c2"));
  EXPECT_EQ(queue.size(), 2U);
  queue.Acknowledge();
  queue.PushOom(Named("/tasks/oom", "c1"));
  EXPECT_EQ(queue.size(), 2U) << "the first has been delivered, so a new one is news";
}

TEST(EventQueue, NewWorkIsRefusedLongBeforeALifecycleEventIsLost) {
  EventQueue queue;
  while (queue.AcceptsWork()) ASSERT_TRUE(queue.Push(Named("/a")));
  EXPECT_EQ(queue.size(), EventQueue::kAcceptWork);
  queue.PushOom(Named("/tasks/oom", "c1"));
  EXPECT_EQ(queue.size(), EventQueue::kAcceptWork) << "notices go first";
  while (queue.size() < EventQueue::kLimit) ASSERT_TRUE(queue.Push(Named("/tasks/exit")));
  EXPECT_FALSE(queue.Push(Named("/tasks/exit")));
}

}  // namespace
}  // namespace corten::shim
