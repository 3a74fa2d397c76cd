#include "runtime/bundle.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/scratch_dir.h"

namespace corten::runtime {
namespace {

mode_t ModeOf(const std::string& path) {
  struct stat info{};
  return lstat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

class BundleTest : public testing::Test {
 protected:
  const ScratchDir dir_;
  const BundleStore store_ = *BundleStore::Open(dir_ / "root", dir_ / "state");
  const TaskKey key_{model::Namespace("ns"), model::ContainerId("c1")};
};

TEST_F(BundleTest, HasContainerdsLayoutAndModes) {
  const auto bundle = store_.Create(key_, "{ \"spec\" :1}", {});
  ASSERT_TRUE(bundle.ok()) << bundle.error().text();
  EXPECT_EQ(bundle->path(), dir_ / "state/ns/c1");
  EXPECT_EQ(ModeOf(dir_ / "state"), 0711u);
  EXPECT_EQ(ModeOf(dir_ / "state/ns"), 0711u);
  EXPECT_EQ(ModeOf(bundle->path()), 0700u);
  EXPECT_EQ(ModeOf(bundle->rootfs()), 0711u);
  EXPECT_EQ(ModeOf(dir_ / "root/ns/c1"), 0711u);
  EXPECT_EQ(dir_.Read("state/ns/c1/config.json"), "{ \"spec\" :1}");
  EXPECT_EQ(std::filesystem::read_symlink(bundle->path() + "/work"), dir_ / "root/ns/c1");
  EXPECT_TRUE(std::filesystem::is_fifo(bundle->path() + "/log"));
  EXPECT_EQ(ModeOf(bundle->path() + "/log"), 0700u & ~022u);
}

TEST_F(BundleTest, HasNoConfigWithoutASpec) {
  const auto bundle = store_.Create(key_, std::nullopt, {});
  ASSERT_TRUE(bundle.ok());
  EXPECT_FALSE(Exists(bundle->path() + "/config.json"));
  EXPECT_EQ(bundle->ReadSpec().error().code(), Code::kNotFound);
}

TEST_F(BundleTest, ReplacesWhatADeadTaskLeft) {
  ASSERT_TRUE(store_.Create(key_, "old", {}).ok());
  std::filesystem::create_directories(dir_ / "state/ns/.c1/half");
  std::filesystem::create_directories(dir_ / "state/ns/.new.c1/half");
  const auto bundle = store_.Create(key_, "new", {});
  ASSERT_TRUE(bundle.ok()) << bundle.error().text();
  EXPECT_EQ(*bundle->ReadSpec(), "new");
  EXPECT_FALSE(Exists(dir_ / "state/ns/.c1"));
  EXPECT_FALSE(Exists(dir_ / "state/ns/.new.c1"));
}

TEST_F(BundleTest, LeavesNothingVisibleWhenItCannotBeMade) {
  ASSERT_TRUE(store_.Create(key_, "x", {}).ok());
  ASSERT_TRUE(store_.Remove(key_).ok());
  std::filesystem::remove_all(dir_ / "root/ns");
  std::ofstream(dir_ / "root/ns") << "in the way of the work directory";
  EXPECT_FALSE(store_.Create(key_, "x", {}).ok());
  EXPECT_TRUE(store_.List()->empty());
}

TEST_F(BundleTest, IsRemovedWithItsWorkDirectoryAndTwiceIsFine) {
  ASSERT_TRUE(store_.Create(key_, "x", {}).ok());
  ASSERT_TRUE(store_.Remove(key_).ok());
  EXPECT_FALSE(Exists(dir_ / "state/ns/c1"));
  EXPECT_FALSE(Exists(dir_ / "state/ns/.c1"));
  EXPECT_FALSE(Exists(dir_ / "root/ns/c1"));
  EXPECT_TRUE(store_.Remove(key_).ok());
}

TEST_F(BundleTest, ListsOnlyWhatIsNotHidden) {
  ASSERT_TRUE(store_.Create(key_, "x", {}).ok());
  ASSERT_TRUE(store_.Create({model::Namespace("other"), model::ContainerId("c2")}, "x", {}).ok());
  std::filesystem::create_directories(dir_ / "state/ns/.c3");
  std::filesystem::create_directories(dir_ / "state/.hidden/c4");
  std::ofstream(dir_ / "state/ns/stray") << "x";
  std::vector<TaskKey> keys = *store_.List();
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(keys,
            (std::vector<TaskKey>{key_, {model::Namespace("other"), model::ContainerId("c2")}}));
}

TEST_F(BundleTest, SweepsHiddenAndOrphanedDirectories) {
  ASSERT_TRUE(store_.Create(key_, "x", {}).ok());
  std::filesystem::create_directories(dir_ / "state/ns/.c3/rootfs");
  std::filesystem::create_directories(dir_ / "state/ns/.new.c4");
  std::filesystem::create_directories(dir_ / "root/ns/orphan");
  EXPECT_EQ(store_.SweepHidden(), 3u);
  EXPECT_FALSE(Exists(dir_ / "state/ns/.c3"));
  EXPECT_FALSE(Exists(dir_ / "root/ns/orphan"));
  EXPECT_TRUE(Exists(dir_ / "root/ns/c1")) << "still has its bundle";
}

TEST_F(BundleTest, KeepsAndFindsTheAddressOfItsShim) {
  const Bundle bundle = *store_.Create(key_, "x", {});
  EXPECT_EQ(bundle.ReadEndpoint().error().code(), Code::kNotFound);
  ASSERT_TRUE(bundle.WriteEndpoint({3, "unix:///s", "ttrpc"}).ok());
  EXPECT_EQ(ModeOf(bundle.path() + "/bootstrap.json"), 0644u);
  EXPECT_EQ(*bundle.ReadEndpoint(), (Endpoint{3, "unix:///s", "ttrpc"}));
}

TEST_F(BundleTest, TakesOverTheAddressFileOfOldShims) {
  const Bundle bundle = *store_.Create(key_, "x", {});
  std::ofstream(bundle.path() + "/address") << "unix:///old";
  EXPECT_EQ(*bundle.ReadEndpoint(), (Endpoint{2, "unix:///old", "ttrpc"}));
  EXPECT_EQ(dir_.Read("state/ns/c1/bootstrap.json"),
            R"({"version":2,"address":"unix:///old","protocol":"ttrpc"})");
}

TEST_F(BundleTest, KeepsTheShimsPathWithoutNewline) {
  const Bundle bundle = *store_.Create(key_, "x", {});
  ASSERT_TRUE(bundle.WriteShimBinary("/usr/bin/shim").ok());
  EXPECT_EQ(dir_.Read("state/ns/c1/shim-binary-path"), "/usr/bin/shim");
  EXPECT_EQ(ModeOf(bundle.path() + "/shim-binary-path"), 0600u);
  EXPECT_EQ(*bundle.ReadShimBinary(), "/usr/bin/shim");
}

TEST(SpecFacts, FindsTheMappedGroup) {
  EXPECT_EQ(
      ReadSpecFacts(
          R"({"linux":{"gidMappings":[{"containerID":5,"hostID":9,"size":1},{"containerID":0,"hostID":1000,"size":5}]}})")
          .mapped_gid,
      gid_t{1000});
  EXPECT_EQ(ReadSpecFacts(R"({"linux":{"gidMappings":[{"containerID":0,"hostID":0,"size":5}]}})")
                .mapped_gid,
            std::nullopt);
}

TEST(SpecFacts, PrefersTheRuncGroupToTheSandbox) {
  EXPECT_EQ(
      ReadSpecFacts(
          R"({"annotations":{"io.kubernetes.cri.sandbox-id":"s","io.containerd.runc.v2.group":"g"}})")
          .group,
      "g");
  EXPECT_EQ(ReadSpecFacts(R"({"annotations":{"io.kubernetes.cri.sandbox-id":"s"}})").group, "s");
  EXPECT_EQ(ReadSpecFacts(R"({"annotations":{"a":"b"}})").group, "");
}

TEST(SpecFacts, NoticesIdmappedMounts) {
  EXPECT_TRUE(ReadSpecFacts(R"({"mounts":[{"destination":"/a","options":["rbind","ridmap"]}]})")
                  .idmapped_mounts);
  EXPECT_TRUE(
      ReadSpecFacts(R"({"mounts":[{"destination":"/a","uidMappings":[{}]}]})").idmapped_mounts);
  EXPECT_FALSE(
      ReadSpecFacts(R"({"mounts":[{"destination":"/a","options":["rbind"]}]})").idmapped_mounts);
}

TEST(SpecFacts, AreEmptyForMalformedSpecs) {
  for (const char* spec : {"", "gidMappings", "{\"gidMappings\":", "[\"gidMappings\"]",
                           "{\"linux\":{\"gidMappings\":{}}}"}) {
    const SpecFacts facts = ReadSpecFacts(spec);
    EXPECT_FALSE(facts.mapped_gid);
    EXPECT_EQ(facts.group, "");
  }
}

}  // namespace
}  // namespace corten::runtime
