#include "events/exchange.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace corten::events {
namespace {

const model::Namespace kNs("default");

TEST(Exchange, DeliversInOneOrderToEverySubscriberThatMatches) {
  Exchange exchange({});
  auto all = exchange.Subscribe({}, {}).value();
  auto starts = exchange.Subscribe({R"(topic=="/tasks/start")", "namespace==other"}, {}).value();
  ASSERT_TRUE(exchange.Publish(kNs, "/tasks/create", {"t", "1"}).ok());
  ASSERT_TRUE(exchange.Publish(kNs, "/tasks/start", {"t", "2"}).ok());
  EXPECT_EQ(all->TryNext().value()->event.value, "1");
  EXPECT_EQ(all->TryNext().value()->event.value, "2");
  EXPECT_EQ(all->TryNext().value(), nullptr);
  EXPECT_EQ(starts->TryNext().value()->event.value, "2");
  EXPECT_EQ(starts->TryNext().value(), nullptr);
}

TEST(Exchange, RefusesBadTopicsAndNamespaces) {
  Exchange exchange({});
  for (const char* topic : {"", "x", "/", "/a//b", "/a/-"}) {
    EXPECT_EQ(exchange.Publish(kNs, topic, {}).error().code(), Code::kInvalidArgument) << topic;
  }
  EXPECT_EQ(exchange.Publish(model::Namespace(), "/a", {}).error().code(),
            Code::kFailedPrecondition);
  EXPECT_EQ(exchange.Forward({kZeroTime, kNs, "/a", {}}).error().code(), Code::kInvalidArgument);
}

TEST(Exchange, ASlowSubscriberIsEndedAndDoesNotBlockOthers) {
  Exchange exchange({}, 2);
  std::atomic<int> wakes{0};
  auto slow = exchange.Subscribe({}, [&] { ++wakes; }).value();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(exchange.Publish(kNs, "/a", {}).ok());
  EXPECT_EQ(wakes.load(), 2);  // first envelope, overflow
  EXPECT_NE(slow->TryNext().value(), nullptr);
  EXPECT_NE(slow->TryNext().value(), nullptr);
  EXPECT_EQ(slow->TryNext().error().code(), Code::kResourceExhausted);
}

TEST(Exchange, FiltersReadPayloadFieldsThroughTheGivenReader) {
  Exchange exchange([](const model::Any& event,
                       const std::vector<std::string>& path) -> std::optional<std::string> {
    return path == std::vector<std::string>{"container_id"} ? std::optional(event.value)
                                                            : std::nullopt;
  });
  auto one = exchange.Subscribe({"event.container_id==c1"}, {}).value();
  ASSERT_TRUE(exchange.Publish(kNs, "/a", {"t", "c2"}).ok());
  ASSERT_TRUE(exchange.Publish(kNs, "/a", {"t", "c1"}).ok());
  EXPECT_EQ(one->TryNext().value()->event.value, "c1");
  EXPECT_EQ(one->TryNext().value(), nullptr);
}

TEST(Exchange, SurvivesSubscribersThatComeAndGoWhilePublishing) {
  Exchange exchange({});
  std::atomic<bool> stop{false};
  std::thread publisher([&] {
    while (!stop) (void)exchange.Publish(kNs, "/a", {});
  });
  for (int i = 0; i < 200; ++i) {
    auto subscription = exchange.Subscribe({}, [] {}).value();
    while (subscription->TryNext().value() == nullptr) std::this_thread::yield();
  }
  stop = true;
  publisher.join();
  EXPECT_EQ(exchange.subscribers(), 0u);
}

}  // namespace
}  // namespace corten::events
