#include "metadata/gc_scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace corten::metadata {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// A policy whose first run is behind it, with nothing to do.
GcPolicy Settled(GcSchedule schedule = {}) {
  schedule.startup_delay = milliseconds(100);
  GcPolicy policy(schedule, nanoseconds(0));
  EXPECT_TRUE(policy.Tick(milliseconds(100)));
  policy.OnFinished(true, milliseconds(1), milliseconds(110));
  EXPECT_FALSE(policy.Tick(*policy.NextTick()));
  EXPECT_EQ(policy.NextTick(), std::nullopt);
  return policy;
}

TEST(GcPolicy, FirstRunComesAfterTheStartupDelay) {
  const GcPolicy policy({}, seconds(5));
  EXPECT_EQ(policy.NextTick(), seconds(5) + milliseconds(100));
}

TEST(GcPolicy, WithoutStartupDelayNothingIsPlanned) {
  GcSchedule schedule;
  schedule.startup_delay = nanoseconds(0);
  EXPECT_EQ(GcPolicy(schedule, nanoseconds(0)).NextTick(), std::nullopt);
}

TEST(GcPolicy, IntervalKeepsThePauseBelowItsShareOfTime) {
  GcSchedule schedule;
  schedule.pause_threshold = 0.02;
  GcPolicy policy(schedule, nanoseconds(0));
  ASSERT_TRUE(policy.Tick(milliseconds(100)));
  policy.OnFinished(true, milliseconds(20), milliseconds(200));
  EXPECT_EQ(policy.interval(), milliseconds(980));  // 20 / 0.02 - 20
  EXPECT_EQ(policy.NextTick(), milliseconds(1180));
}

TEST(GcPolicy, ShortPausesCountAsFiveMilliseconds) {
  GcPolicy policy({}, nanoseconds(0));
  ASSERT_TRUE(policy.Tick(milliseconds(100)));
  policy.OnFinished(true, nanoseconds(10), milliseconds(200));
  EXPECT_EQ(policy.interval(), milliseconds(245));
}

TEST(GcPolicy, PauseThresholdIsClamped) {
  for (const auto& [threshold, interval] :
       {std::pair<double, nanoseconds>{0.9, milliseconds(10)}, {0, seconds(1)}, {-1, seconds(1)}}) {
    GcSchedule schedule;
    schedule.pause_threshold = threshold;
    GcPolicy policy(schedule, nanoseconds(0));
    ASSERT_TRUE(policy.Tick(milliseconds(100)));
    policy.OnFinished(true, milliseconds(10), milliseconds(200));
    EXPECT_EQ(policy.interval(), interval) << threshold;
  }
}

TEST(GcPolicy, TickWithoutChangesIsSkipped) {
  GcPolicy policy = Settled();
  policy.OnMutation(false, seconds(1));
  EXPECT_EQ(policy.NextTick(), std::nullopt);
}

TEST(GcPolicy, AnyDeletionPlansARunWhenNothingIsPlanned) {
  GcSchedule schedule;
  schedule.schedule_delay = milliseconds(30);
  GcPolicy policy = Settled(schedule);
  policy.OnMutation(true, seconds(1));
  EXPECT_EQ(policy.NextTick(), seconds(1) + milliseconds(30));
  EXPECT_TRUE(policy.Tick(seconds(2)));
}

TEST(GcPolicy, DeletionWaitsForThePlannedTick) {
  GcPolicy policy({}, nanoseconds(0));
  ASSERT_TRUE(policy.Tick(milliseconds(100)));
  policy.OnMutation(true, milliseconds(150));  // while it runs
  policy.OnFinished(true, milliseconds(20), milliseconds(200));
  EXPECT_EQ(policy.NextTick(), milliseconds(1180));
  EXPECT_TRUE(policy.Tick(milliseconds(1180)));
}

TEST(GcPolicy, DeletionThresholdStartsAtOnceEvenIfATickIsPlanned) {
  GcSchedule schedule;
  schedule.deletion_threshold = 2;
  GcPolicy policy(schedule, nanoseconds(0));
  ASSERT_TRUE(policy.Tick(milliseconds(100)));
  policy.OnFinished(true, milliseconds(20), milliseconds(200));
  policy.OnMutation(true, milliseconds(300));
  EXPECT_EQ(policy.NextTick(), milliseconds(1180));
  policy.OnMutation(true, milliseconds(310));
  EXPECT_EQ(policy.NextTick(), milliseconds(310));
}

TEST(GcPolicy, MutationThresholdPlansARun) {
  GcSchedule schedule;
  schedule.mutation_threshold = 3;
  GcPolicy policy = Settled(schedule);
  policy.OnMutation(false, seconds(1));
  policy.OnMutation(false, seconds(1));
  EXPECT_EQ(policy.NextTick(), std::nullopt);
  policy.OnMutation(false, seconds(2));
  EXPECT_EQ(policy.NextTick(), seconds(2));
  EXPECT_TRUE(policy.Tick(seconds(2)));
}

TEST(GcPolicy, FailureIsRetriedAfterTheIntervalAndASecond) {
  GcPolicy policy({}, nanoseconds(0));
  ASSERT_TRUE(policy.Tick(milliseconds(100)));
  policy.OnFinished(true, milliseconds(20), milliseconds(200));
  policy.OnTrigger(milliseconds(300));
  ASSERT_TRUE(policy.Tick(milliseconds(300)));
  policy.OnFinished(false, nanoseconds(0), milliseconds(400));
  EXPECT_EQ(policy.NextTick(), milliseconds(400 + 980 + 1000));
  EXPECT_TRUE(policy.Tick(*policy.NextTick()));
}

TEST(GcPolicy, WhatWasLeftBehindIsTriedAgainEverLater) {
  GcPolicy policy = Settled();
  nanoseconds now = seconds(10);
  policy.OnLeftBehind(true, now);
  nanoseconds expected = seconds(1);
  for (int i = 0; i < 12; ++i) {
    const auto tick = policy.NextTick();
    ASSERT_TRUE(tick.has_value());
    EXPECT_EQ(*tick, now + expected + milliseconds(1)) << i;
    now = *tick;
    ASSERT_TRUE(policy.Tick(now)) << i;
    policy.OnFinished(true, milliseconds(1), now);
    EXPECT_FALSE(policy.Tick(*policy.NextTick()));  // nothing else happened
    policy.OnLeftBehind(true, now);
    expected = std::min<nanoseconds>(2 * expected, GcPolicy::kLongestRetry);
  }
  ASSERT_TRUE(policy.Tick(*policy.NextTick()));
  policy.OnFinished(true, milliseconds(1), now);
  policy.OnLeftBehind(false, now);
  EXPECT_FALSE(policy.Tick(*policy.NextTick()));
  EXPECT_EQ(policy.NextTick(), std::nullopt);
  policy.OnLeftBehind(true, now);
  EXPECT_EQ(policy.NextTick(), now + seconds(1) + milliseconds(1)) << "from the beginning";
}

TEST(GcPolicy, ExpiryRunsWhileIdle) {
  GcPolicy policy = Settled();
  policy.OnExpiry(hours(1), seconds(1));
  policy.OnExpiry(hours(2), seconds(1));
  EXPECT_EQ(policy.NextTick(), hours(1) + seconds(1) + milliseconds(1));
  EXPECT_FALSE(policy.Tick(hours(1)));
  EXPECT_TRUE(policy.Tick(hours(1) + seconds(2)));
}

// A scheduler whose runs the test lets go one by one.
class GcSchedulerTest : public ::testing::Test {
 protected:
  GcScheduler::Options NoFirstRun() {
    GcScheduler::Options options;
    options.schedule.startup_delay = nanoseconds(0);
    return options;
  }
};

TEST_F(GcSchedulerTest, WaiterGetsARunThatStartedAfterItsCall) {
  std::promise<void> first_began;
  std::promise<void> first_may_end;
  std::atomic<int> runs = 0;
  GcScheduler scheduler(
      [&]() -> Result<GcOutcome> {
        if (++runs == 1) {
          first_began.set_value();
          first_may_end.get_future().wait();
        }
        return GcOutcome();
      },
      NoFirstRun());
  scheduler.OnMutation(true);
  first_began.get_future().wait();
  std::future<int> seen = std::async(std::launch::async, [&] {
    EXPECT_TRUE(scheduler.CollectAndWait().ok());
    return runs.load();
  });
  first_may_end.set_value();  // the waiter came while run 1 was under way, or after it: run 1 is
                              // not enough either way
  EXPECT_GE(seen.get(), 2);
}

TEST_F(GcSchedulerTest, FailedRunFailsItsWaiters) {
  GcScheduler scheduler([]() -> Result<GcOutcome> { return DataLossError("page 7"); },
                        NoFirstRun());
  const Status status = scheduler.CollectAndWait();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().text(), "gc failed: page 7");
  EXPECT_GE(scheduler.stats().failures, 1U);
}

TEST_F(GcSchedulerTest, StopEndsWaiters) {
  std::atomic<bool> ran = false;
  GcScheduler::Options options = NoFirstRun();
  options.schedule.schedule_delay = hours(1);
  GcScheduler scheduler(
      [&]() -> Result<GcOutcome> {
        ran = true;
        return GcOutcome();
      },
      options);
  std::future<Status> waiter =
      std::async(std::launch::async, [&] { return scheduler.CollectAndWait(); });
  scheduler.Stop();
  EXPECT_TRUE(waiter.get().error().Is(Code::kUnavailable));
  EXPECT_FALSE(ran);
}

TEST_F(GcSchedulerTest, ExpiryOfARowRunsTheCollectorWhenTheClockGetsThere) {
  std::atomic<int64_t> now_seconds = 1000;
  GcScheduler::Options options = NoFirstRun();
  options.clock = [&] { return Time{now_seconds.load(), 0}; };
  options.steady_clock = [&] { return nanoseconds(seconds(now_seconds.load())); };
  std::promise<void> ran;
  GcScheduler scheduler(
      [&]() -> Result<GcOutcome> {
        ran.set_value();
        return GcOutcome();
      },
      options);
  scheduler.OnExpiry(Time{1060, 0});
  now_seconds = 1059;
  scheduler.Wake();
  EXPECT_EQ(scheduler.stats().runs, 0U);
  now_seconds = 1062;
  std::future<void> done = ran.get_future();
  while (done.wait_for(milliseconds(1)) != std::future_status::ready) scheduler.Wake();
}

}  // namespace
}  // namespace corten::metadata
