#include "os/cgroup.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/cgroup_metrics.h"

namespace corten::os {
namespace {

constexpr char kMounts[] =
    "30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "31 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 29 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    "33 29 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "34 29 0:30 / /home rw - ext4 /dev/vda rw\n";

TEST(Cgroup, HybridPlacesAreFoundPerController) {
  const auto place =
      ParseCgroupPlace("9:name=systemd:/ns/c1\n4:memory:/ns/c1\n3:cpu,cpuacct:/ns/c1\n0::/ns/c1\n",
                       kMounts, CgroupMode::kHybrid);
  ASSERT_TRUE(place.ok());
  EXPECT_FALSE(place->unified);
  EXPECT_EQ(place->V1("memory"), "/sys/fs/cgroup/memory/ns/c1");
  EXPECT_EQ(place->V1("cpuacct"), "/sys/fs/cgroup/cpu,cpuacct/ns/c1");
  EXPECT_EQ(place->V1("name=systemd"), "/sys/fs/cgroup/systemd/ns/c1");
  EXPECT_EQ(place->V1("pids"), "");
  EXPECT_EQ(place->v2_dir, "/sys/fs/cgroup/unified/ns/c1");
}

TEST(Cgroup, ASubgroupOfAScopeStandsForItsScope) {
  const auto place = ParseCgroupPlace("0::/system.slice/crun-x.scope/container\n",
                                      "30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
                                      CgroupMode::kUnified);
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->v2_dir, "/sys/fs/cgroup/system.slice/crun-x.scope");
}

TEST(Cgroup, AMountOfAPartShortensThePath) {
  const auto place = ParseCgroupPlace(
      "0::/docker/abc/inner\n", "30 29 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
      CgroupMode::kUnified);
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->v2_dir, "/sys/fs/cgroup/inner");
}

TEST(Cgroup, APlaceOutsideOfWhatIsMountedIsNone) {
  const auto place =
      ParseCgroupPlace("0::/../other\n", "30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
                       CgroupMode::kUnified);
  ASSERT_TRUE(place.ok());
  EXPECT_TRUE(place->v2_dir.empty());
}

TEST(Cgroup, OwnProcessHasAPlaceAndAMissingOneHasNot) {
  EXPECT_TRUE(CgroupOfProcess(getpid()).ok());
  const auto missing = CgroupOfProcess(0x7ffffff0);
  ASSERT_FALSE(missing.ok());
  EXPECT_TRUE(missing.error().Is(Code::kNotFound));
}

TEST(Cgroup, TheLocatorFindsTheLivingOnly) {
  const auto locator = CgroupLocator::Create();
  ASSERT_TRUE(locator.ok()) << locator.error().text();
  const auto here = locator->Of(getpid());
  ASSERT_TRUE(here.ok()) << here.error().text();
  EXPECT_EQ(here->v2_dir, CgroupOfProcess(getpid())->v2_dir);
  EXPECT_EQ(here->v1_dirs, CgroupOfProcess(getpid())->v1_dirs);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t ended = {};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  const auto zombie = locator->Of(child);
  ASSERT_FALSE(zombie.ok());
  EXPECT_TRUE(zombie.error().Is(Code::kNotFound)) << zombie.error().text();
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(locator->Of(child).ok());
}

TEST(CgroupMetrics, FlatFiguresAreFoundByWholeName) {
  const FlatFigures figures("oom 3\noom_kill 4\nlow 99999999999999999999999\n");
  EXPECT_EQ(figures.Get("oom"), 3U);
  EXPECT_EQ(figures.Get("oom_kill"), 4U);
  EXPECT_EQ(figures.Get("low"), UINT64_MAX);
  EXPECT_EQ(figures.Get("high"), 0U);
}

TEST(CgroupMetrics, PressureLinesAreParsed) {
  const Pressure pressure = ParsePressure(
      "some avg10=0.50 avg60=1.25 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 "
      "total=7\n");
  EXPECT_TRUE(pressure.present);
  EXPECT_DOUBLE_EQ(pressure.some.avg60, 1.25);
  EXPECT_EQ(pressure.some.total, 12345U);
  EXPECT_EQ(pressure.full.total, 7U);
  EXPECT_FALSE(ParsePressure("").present);
}

}  // namespace
}  // namespace corten::os
