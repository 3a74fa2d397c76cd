// Built twice: against the lite messages of a shim and the full ones of the daemon.
#include "wire/cgroup_message.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/kernel_version.h"
#include "base/test_dir.h"
#include "io/containerd/cgroups/v1/metrics.pb.h"
#include "io/containerd/cgroups/v2/metrics.pb.h"
#include "os/cgroup_metrics.h"

namespace corten::wire {
namespace {

class CgroupMessages : public testing::Test {
 protected:
  std::string Group(const std::string& name,
                    const std::vector<std::pair<std::string, std::string>>& files) {
    const std::string dir = dir_.Path(name);
    EXPECT_EQ(mkdir(dir.c_str(), 0700), 0);
    for (const auto& [file, text] : files) std::ofstream(StrCat(dir, "/", file)) << text;
    return dir;
  }
  TestDir dir_;
};

TEST_F(CgroupMessages, AUnifiedPlaceBecomesV2) {
  os::CgroupPlace place;
  place.unified = true;
  place.v2_dir = Group(
      "u",
      {{"cgroup.controllers", "cpu io memory pids hugetlb\n"},
       {"cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 1\n"},
       {"cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\n"},
       // Not in the order of the fields, with a name that nobody knows and one that begins alike.
       {"memory.stat", "file 2\nanon 1\nanon_thp 5\nnot_known 9\npgfault 18446744073709551615\n"},
       {"memory.current", "4096\n"},
       {"memory.max", "max\n"},
       {"memory.events", "low 0\noom_kill 3\n"},
       {"pids.current", "2\n"},
       {"pids.max", "max\n"},
       {"hugetlb.2MB.current", "1\n"},
       {"hugetlb.2MB.max", "max\n"},
       {"hugetlb.2MB.events", "max 4\n"},
       {"io.stat", "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"}});
  const auto read = ReadCgroupMessage(place);
  ASSERT_TRUE(read.ok()) << read.error().text();
  EXPECT_EQ(read->type_url, "io.containerd.cgroups.v2.Metrics");
  ::io::containerd::cgroups::v2::Metrics metrics;
  ASSERT_TRUE(metrics.ParseFromString(read->value));
  EXPECT_EQ(metrics.cpu().usage_usec(), 30u);
  EXPECT_EQ(metrics.cpu().psi().some().total(), 77u);
  EXPECT_EQ(metrics.memory().anon(), 1u);
  EXPECT_EQ(metrics.memory().file(), 2u);
  EXPECT_EQ(metrics.memory().anon_thp(), 5u);
  EXPECT_EQ(metrics.memory().pgfault(), UINT64_MAX);
  EXPECT_EQ(metrics.memory().usage(), 4096u);
  EXPECT_EQ(metrics.memory().usage_limit(), UINT64_MAX);
  EXPECT_EQ(metrics.memory_events().oom_kill(), 3u);
  EXPECT_EQ(metrics.pids().current(), 2u);
  ASSERT_EQ(metrics.hugetlb_size(), 1);
  EXPECT_EQ(metrics.hugetlb(0).failcnt(), 4u);
  ASSERT_EQ(metrics.io().usage_size(), 1);
  EXPECT_EQ(metrics.io().usage(0).wios(), 4u);
}

TEST_F(CgroupMessages, AControllerThatIsNotEnabledSaysNothing) {
  os::CgroupPlace place;
  place.unified = true;
  place.v2_dir = Group("u", {{"cgroup.controllers", "cpu\n"}, {"cpu.stat", "usage_usec 30\n"}});
  const auto read = ReadCgroupMessage(place);
  ASSERT_TRUE(read.ok()) << read.error().text();
  ::io::containerd::cgroups::v2::Metrics metrics;
  ASSERT_TRUE(metrics.ParseFromString(read->value));
  EXPECT_FALSE(metrics.has_pids());
  EXPECT_EQ(metrics.cpu().usage_usec(), 30u);
}

TEST_F(CgroupMessages, V1PlacesBecomeV1) {
  os::CgroupPlace place;
  place.v1_dirs["memory"] =
      Group("m", {{"memory.stat", "cache 1\nrss 2\ntotal_rss 3\nhierarchical_memory_limit 4\n"},
                  {"memory.usage_in_bytes", "5\n"},
                  {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n"}});
  place.v1_dirs["pids"] = Group("p", {{"pids.current", "7\n"}, {"pids.max", "max\n"}});
  place.v1_dirs["cpuacct"] =
      Group("c", {{"cpuacct.usage", "8\n"}, {"cpuacct.usage_percpu", "3 5 \n"}});
  const auto read = ReadCgroupMessage(place);
  ASSERT_TRUE(read.ok()) << read.error().text();
  EXPECT_EQ(read->type_url, "io.containerd.cgroups.v1.Metrics");
  ::io::containerd::cgroups::v1::Metrics metrics;
  ASSERT_TRUE(metrics.ParseFromString(read->value));
  EXPECT_EQ(metrics.memory().rss(), 2u);
  EXPECT_EQ(metrics.memory().total_rss(), 3u);
  EXPECT_EQ(metrics.memory().hierarchical_memory_limit(), 4u);
  EXPECT_EQ(metrics.memory().usage().usage(), 5u);
  EXPECT_EQ(metrics.memory_oom_control().oom_kill(), 6u);
  EXPECT_EQ(metrics.pids().current(), 7u);
  EXPECT_EQ(metrics.pids().limit(), 0u);
  EXPECT_EQ(metrics.cpu().usage().total(), 8u);
  EXPECT_EQ(metrics.cpu().usage().per_cpu_size(), 2);
}

// What is not opened because it follows from another file, with texts as Linux 6.18 writes them.
TEST_F(CgroupMessages, V1FiguresThatFollowFromOthersNeedNoFile) {
  os::CgroupPlace place;
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t unlimited = static_cast<uint64_t>(INT64_MAX) / page * page;
  place.v1_dirs["memory"] = Group(
      "m", {{"memory.stat",
             StrCat("hierarchical_memory_limit ", unlimited, "\nhierarchical_memsw_limit 8192\n")},
            {"memory.max_usage_in_bytes", "0\n"},
            {"memory.failcnt", "9\n"},
            {"memory.memsw.max_usage_in_bytes", "7\n"},
            {"memory.memsw.usage_in_bytes", "6\n"},
            {"memory.memsw.limit_in_bytes", "16384\n"},
            {"memory.kmem.max_usage_in_bytes", "4\n"},
            {"memory.kmem.usage_in_bytes", "3\n"},
            {"memory.kmem.limit_in_bytes", "4096\n"},
            {"memory.kmem.failcnt", "2\n"}});
  place.v1_dirs["cpuacct"] = Group("c", {{"cpuacct.usage_percpu", "3 5 \n"}});
  place.v1_dirs["blkio"] = Group("b", {{"blkio.throttle.io_serviced", "Total 0\n"}});
  const auto read = ReadCgroupMessage(place);
  ASSERT_TRUE(read.ok()) << read.error().text();
  ::io::containerd::cgroups::v1::Metrics metrics;
  ASSERT_TRUE(metrics.ParseFromString(read->value));
  EXPECT_EQ(metrics.memory().usage().limit(), unlimited);
  EXPECT_EQ(metrics.memory().usage().usage(), 0u);
  EXPECT_EQ(metrics.memory().usage().failcnt(), 9u);
  EXPECT_EQ(metrics.memory().swap().limit(), 16384u) << "its own limit, not the one above";
  EXPECT_EQ(metrics.memory().swap().usage(), 6u);
  EXPECT_EQ(metrics.memory().kernel().max(), 4u);
  EXPECT_EQ(metrics.memory().kernel().usage(), 3u);
  const bool no_limit = KernelIsAtLeast(5, 16);
  EXPECT_EQ(metrics.memory().kernel().limit(), no_limit ? unlimited : 4096u);
  EXPECT_EQ(metrics.memory().kernel().failcnt(), no_limit ? 0u : 2u);
  EXPECT_EQ(metrics.cpu().usage().total(), 8u);
  EXPECT_EQ(metrics.blkio().io_serviced_recursive_size(), 0);
}

TEST_F(CgroupMessages, V1DevicesComeFromTheThrottlingLayerWithoutAScheduler) {
  os::CgroupPlace place;
  place.v1_dirs["blkio"] =
      Group("b", {{"blkio.throttle.io_serviced", "8:0 Read 1\n8:0 Write 2\nTotal 3\n"},
                  {"blkio.throttle.io_service_bytes", "8:0 Read 4096\n8:0 Write 8192\nTotal 0\n"}});
  auto read = ReadCgroupMessage(place);
  ASSERT_TRUE(read.ok()) << read.error().text();
  ::io::containerd::cgroups::v1::Metrics metrics;
  ASSERT_TRUE(metrics.ParseFromString(read->value));
  ASSERT_EQ(metrics.blkio().io_service_bytes_recursive_size(), 2);
  EXPECT_EQ(metrics.blkio().io_service_bytes_recursive(1).value(), 8192u);
  ASSERT_EQ(metrics.blkio().io_serviced_recursive_size(), 2);
  // One that counts comes before it, with all of its files.
  place.v1_dirs["blkio"] = Group("s", {{"blkio.io_serviced_recursive", "8:0 Read 5\n"},
                                       {"blkio.io_service_bytes_recursive", "8:0 Read 6\n"},
                                       {"blkio.sectors_recursive", "8:0 7\n"},
                                       {"blkio.throttle.io_serviced", "8:0 Read 1\n"}});
  read = ReadCgroupMessage(place);
  ASSERT_TRUE(read.ok()) << read.error().text();
  ASSERT_TRUE(metrics.ParseFromString(read->value));
  ASSERT_EQ(metrics.blkio().io_service_bytes_recursive_size(), 1);
  EXPECT_EQ(metrics.blkio().io_service_bytes_recursive(0).value(), 6u);
  ASSERT_EQ(metrics.blkio().io_serviced_recursive_size(), 1);
  EXPECT_EQ(metrics.blkio().io_serviced_recursive(0).value(), 5u);
  ASSERT_EQ(metrics.blkio().sectors_recursive_size(), 1);
}

TEST_F(CgroupMessages, ManyGroupsSideBySideAreReadThroughTheirParents) {
  os::CgroupParents parents;
  for (const char* current : {"1", "2"}) {
    os::CgroupPlace place;
    place.v1_dirs["pids"] = Group(StrCat("p", current), {{"pids.current", current}});
    place.v1_dirs["memory"] =
        Group(StrCat("m", current), {{"memory.stat", StrCat("rss ", current)}});
    const auto alone = ReadCgroupMessage(place);
    const auto through = ReadCgroupMessage(place, &parents);
    ASSERT_TRUE(alone.ok()) << alone.error().text();
    ASSERT_TRUE(through.ok()) << through.error().text();
    EXPECT_EQ(alone->value, through->value);
    ::io::containerd::cgroups::v1::Metrics metrics;
    ASSERT_TRUE(metrics.ParseFromString(through->value));
    EXPECT_EQ(StrCat(metrics.pids().current()), current);
    EXPECT_EQ(StrCat(metrics.memory().rss()), current);
    place.v1_dirs["memory"] = dir_.Path("gone");
    EXPECT_TRUE(ReadCgroupMessage(place, &parents).error().Is(Code::kNotFound));
  }
  // Beyond what is held, and where there is nothing to hold, the whole path is used.
  EXPECT_FALSE(parents.Hold(dir_.Path("nowhere")).valid());
  for (int i = 0; i < 40; ++i) (void)parents.Hold(dir_.Path(StrCat("other", i)));
  os::CgroupPlace deep;
  Group("d", {});
  deep.v1_dirs["memory"] = Group("d/m", {{"memory.stat", "rss 3"}});
  EXPECT_TRUE(ReadCgroupMessage(deep, &parents).ok());
}

TEST_F(CgroupMessages, ACgroupThatIsGoneIsNotFound) {
  os::CgroupPlace place;
  EXPECT_TRUE(ReadCgroupMessage(place).error().Is(Code::kNotFound));
  place.unified = true;
  place.v2_dir = dir_.Path("gone");
  EXPECT_TRUE(ReadCgroupMessage(place).error().Is(Code::kNotFound));
}

}  // namespace
}  // namespace corten::wire
