#include "base/background_work.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <thread>

namespace corten {
namespace {

TEST(BackgroundWork, TheThreadIsBatchMeanwhileWithTheSameShare) {
  ASSERT_EQ(sched_getscheduler(0), SCHED_OTHER);
  int policy = -1;
  int nice_level = -100;
  int policy_after = -1;
  std::thread([&] {
    {
      const BackgroundWork work;
      policy = sched_getscheduler(0);
      nice_level = getpriority(PRIO_PROCESS, 0);
    }
    policy_after = sched_getscheduler(0);
  }).join();
  EXPECT_EQ(policy, SCHED_BATCH);
  EXPECT_EQ(nice_level, getpriority(PRIO_PROCESS, 0));
  EXPECT_EQ(policy_after, SCHED_OTHER);
}

TEST(BackgroundWork, AThreadOfAnotherKindStaysAsItIs) {
  int meanwhile = -1;
  int after = -1;
  std::thread([&] {
    const sched_param none = {};
    ASSERT_EQ(sched_setscheduler(0, SCHED_BATCH, &none), 0);
    {
      const BackgroundWork work;
      meanwhile = sched_getscheduler(0);
    }
    after = sched_getscheduler(0);
  }).join();
  EXPECT_EQ(meanwhile, SCHED_BATCH);
  EXPECT_EQ(after, SCHED_BATCH);
}

}  // namespace
}  // namespace corten
