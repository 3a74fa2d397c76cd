#include "os/cgroup_join.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/test_dir.h"

namespace corten::os {
namespace {

// Directories that stand for hierarchies; the kernel's files in them are made by hand, so what is
// proved is what is written where. The kernel itself: tests/daemon.
class CgroupJoin : public testing::Test {
 protected:
  std::string Mount(const std::string& name, const std::string& type, const std::string& options) {
    const std::string dir = dir_.Path(name);
    std::filesystem::create_directories(dir);
    mounts_ += StrCat("30 29 0:26 / ", dir, " rw - ", type, " ", type, " ", options, "\n");
    return dir;
  }
  static void Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text;
  }
  static std::string Get(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  TestDir dir_;
  std::string mounts_;
};

TEST_F(CgroupJoin, AUnifiedGroupMustExist) {
  const std::string root = Mount("u", "cgroup2", "rw");
  const Status missing = JoinCgroupOf("/a/b", mounts_, CgroupMode::kUnified, 42);
  ASSERT_FALSE(missing.ok());
  EXPECT_TRUE(missing.error().Is(Code::kNotFound));
  EXPECT_FALSE(std::filesystem::exists(root + "/a")) << "nothing was made";
  Put(root + "/a/b/cgroup.procs", "");
  ASSERT_TRUE(JoinCgroupOf("/a/b", mounts_, CgroupMode::kUnified, 42).ok());
  EXPECT_EQ(Get(root + "/a/b/cgroup.procs"), "42");
}

TEST_F(CgroupJoin, OldHierarchiesAreJoinedEachAndACpusetInherits) {
  const std::string memory = Mount("m", "cgroup", "rw,memory");
  const std::string cpuset = Mount("c", "cgroup", "rw,cpuset");
  const std::string unified = Mount("u", "cgroup2", "rw");
  Put(memory + "/a/cgroup.procs", "");
  Put(cpuset + "/cpuset.cpus", "0-1\n");
  Put(cpuset + "/cpuset.mems", "0\n");
  for (const char* file : {"cpuset.cpus", "cpuset.mems", "cgroup.procs"})
    Put(StrCat(cpuset, "/a/", file), "");
  const Status joined = JoinCgroupOf("a", mounts_, CgroupMode::kHybrid, 42);
  ASSERT_TRUE(joined.ok()) << joined.error().text();
  EXPECT_EQ(Get(memory + "/a/cgroup.procs"), "42");
  EXPECT_EQ(Get(cpuset + "/a/cpuset.cpus"), "0-1\n");
  EXPECT_EQ(Get(cpuset + "/a/cpuset.mems"), "0\n");
  EXPECT_EQ(Get(cpuset + "/a/cgroup.procs"), "42");
  EXPECT_FALSE(std::filesystem::exists(unified + "/a"));
}

TEST_F(CgroupJoin, APathThatLeavesTheRootIsRefused) {
  Mount("u", "cgroup2", "rw");
  for (const char* path : {"", "..", "/a/../../b"}) {
    const Status refused = JoinCgroupOf(path, mounts_, CgroupMode::kUnified, 42);
    ASSERT_FALSE(refused.ok()) << path;
    EXPECT_TRUE(refused.error().Is(Code::kInvalidArgument)) << path;
  }
}

TEST_F(CgroupJoin, WithoutCgroupsThereIsNothingToJoin) {
  EXPECT_TRUE(JoinCgroupOf("/a", "", CgroupMode::kNone, 42).error().Is(Code::kNotFound));
  EXPECT_TRUE(JoinCgroupOf("/a", "", CgroupMode::kHybrid, 42).error().Is(Code::kNotFound));
}

}  // namespace
}  // namespace corten::os
