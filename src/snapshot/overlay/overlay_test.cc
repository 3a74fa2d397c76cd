#include "snapshot/overlay/overlay.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test_dir.h"
#include "snapshot/contract.h"
#include "snapshot/overlay/kernel_support.h"

namespace corten::snapshot::overlay {
namespace {

class OverlayHarness final : public SnapshotterHarness {
 public:
  explicit OverlayHarness(bool sync_remove) {
    Config config;
    config.root = temp_.Path("root");
    config.sync_remove = sync_remove;
    driver_ = Open(config).value();
  }
  Snapshotter& snapshotter() override { return *driver_; }

 private:
  TestDir temp_;
  std::unique_ptr<Driver> driver_;
};

INSTANTIATE_TEST_SUITE_P(
    Overlay, SnapshotterContract,
    ::testing::Values(
        SnapshotterCase{"Default", [] { return std::make_unique<OverlayHarness>(false); }},
        SnapshotterCase{"SyncRemove", [] { return std::make_unique<OverlayHarness>(true); }}),
    SnapshotterCaseName);

class OverlayTest : public ::testing::Test {
 protected:
  void SetUp() override {
    config_.root = temp_.Path("root");
    Reopen();
  }
  void Reopen() {
    driver_.reset();
    driver_ = Open(config_).value();
    root_ = Dir::Open(config_.root).value();
    trees_ = root_.OpenDir("snapshots").value();
  }
  void AddLayer(const std::string& name, const std::string& parent = "") {
    ASSERT_TRUE(driver_->Prepare("key of " + name, parent, {}).ok());
    ASSERT_TRUE(driver_->Commit(name, "key of " + name, {}).ok());
  }
  std::string Tree(const std::string& rest) { return StrCat(config_.root, "/snapshots/", rest); }
  mode_t ModeOf(const std::string& name) { return trees_.Stat(name).value().st_mode & 07777; }
  std::vector<std::string> Trees() {
    std::vector<std::string> names = trees_.List().value();
    std::sort(names.begin(), names.end());
    return names;
  }
  // The options that Open adds on this kernel.
  static std::vector<std::string> Auto(std::vector<std::string> options) {
    if (HasIndexSwitch()) options.emplace_back("index=off");
    return options;
  }
  static std::string Words(const std::vector<model::Mount>& mounts) {
    EXPECT_EQ(mounts.size(), 1u);
    std::string words = StrCat(mounts[0].type, " ", mounts[0].source);
    for (const std::string& option : mounts[0].options) words += " " + option;
    return words;
  }

  TestDir temp_;
  Config config_;
  std::unique_ptr<Driver> driver_;
  Dir root_;
  Dir trees_;
};

TEST_F(OverlayTest, TreesLieWhereContainerdPutsThem) {
  AddLayer("base");
  ASSERT_TRUE(driver_->View("view", "base", {}).ok());
  struct stat root = {};
  ASSERT_EQ(fstat(root_.fd().get(), &root), 0);
  EXPECT_EQ(root.st_mode & 07777, 0700u);
  EXPECT_EQ(root_.Stat("metadata.db")->st_mode & 07777, 0600u);
  EXPECT_EQ(root_.Stat("snapshots")->st_mode & 07777, 0700u);
  EXPECT_EQ(Trees(), (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(ModeOf("1"), 0700u);
  EXPECT_EQ(ModeOf("1/fs"), 0755u);
  EXPECT_EQ(ModeOf("1/work"), 0711u);
  EXPECT_EQ(ModeOf("2/fs"), 0755u);
  EXPECT_FALSE(trees_.Exists("2/work"));
}

// As `ctr snapshots mounts` of containerd 2.3.4 shows them.
TEST_F(OverlayTest, MountsAreContainerds) {
  const std::vector<model::Mount> first = driver_->Prepare("a1", "", {}).value();
  EXPECT_EQ(Words(first), StrCat("bind ", Tree("1/fs"), " rw rbind"));
  ASSERT_TRUE(driver_->Commit("c1", "a1", {}).ok());
  AddLayer("c2", "c1");
  const std::vector<model::Mount> active = driver_->Prepare("a3", "c2", {}).value();
  ASSERT_EQ(active.size(), 1u);
  EXPECT_EQ(active[0].type, "overlay");
  EXPECT_EQ(active[0].source, "overlay");
  EXPECT_EQ(active[0].target, "");
  EXPECT_EQ(active[0].options,
            Auto({StrCat("workdir=", Tree("3/work")), StrCat("upperdir=", Tree("3/fs")),
                  StrCat("lowerdir=", Tree("2/fs"), ":", Tree("1/fs"))}));
  const std::vector<model::Mount> view = driver_->View("v3", "c2", {}).value();
  EXPECT_EQ(view[0].options, Auto({StrCat("lowerdir=", Tree("2/fs"), ":", Tree("1/fs"))}));
  EXPECT_EQ(Words(driver_->View("v1", "c1", {}).value()),
            StrCat("bind ", Tree("1/fs"), " ro rbind"));
  EXPECT_EQ(Words(driver_->View("v0", "", {}).value()), StrCat("bind ", Tree("6/fs"), " ro rbind"));
  Reopen();
  EXPECT_EQ(driver_->Mounts("a3").value(), active);
  EXPECT_EQ(driver_->Mounts("v3").value(), view);
}

TEST_F(OverlayTest, ConfiguredOptionsGoBehindTheDirectories) {
  config_.mount_options = {"volatile", "index=on"};
  Reopen();
  AddLayer("base");
  const std::vector<model::Mount> mounts = driver_->Prepare("a", "base", {}).value();
  ASSERT_GE(mounts[0].options.size(), 5u);
  EXPECT_EQ(mounts[0].options[3], "volatile");
  EXPECT_EQ(mounts[0].options[4], "index=on");
  EXPECT_EQ(std::count(mounts[0].options.begin(), mounts[0].options.end(), "index=off"), 0);
  EXPECT_EQ(Words(driver_->View("v", "base", {}).value()),
            StrCat("bind ", Tree("1/fs"), " ro rbind"));
}

TEST_F(OverlayTest, RemoveLeavesTheTreeForCleanup) {
  AddLayer("base");
  ASSERT_TRUE(driver_->Prepare("a", "base", {}).ok());
  ASSERT_TRUE(driver_->Remove("a").ok());
  EXPECT_EQ(Trees(), (std::vector<std::string>{"1", "2"}));
  ASSERT_TRUE(driver_->Cleanup().ok());
  EXPECT_EQ(Trees(), std::vector<std::string>{"1"});
}

TEST_F(OverlayTest, SyncRemoveDeletesTheTree) {
  config_.sync_remove = true;
  Reopen();
  ASSERT_TRUE(driver_->Prepare("a", "", {}).ok());
  ASSERT_TRUE(driver_->Remove("a").ok());
  EXPECT_TRUE(Trees().empty());
}

TEST_F(OverlayTest, CleanupTakesWhatHasNoRow) {
  AddLayer("base");
  for (const char* name : {"new-12345", "77", "rm-3", "01"}) {
    const Dir dir = trees_.MakeDir(name, 0700).value();
    ASSERT_TRUE(dir.MakeDir("fs", 0755).ok());
  }
  ASSERT_TRUE(driver_->Cleanup().ok());
  EXPECT_EQ(Trees(), std::vector<std::string>{"1"});
}

TEST_F(OverlayTest, CleanupTakesNothingThatIsBeingMade) {
  constexpr int kThreads = 4;
  constexpr int kEach = 50;
  AddLayer("base");
  std::atomic<int> running{kThreads};
  std::thread cleaner([&] {
    while (running > 0) EXPECT_TRUE(driver_->Cleanup().ok());
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const Result<std::vector<model::Mount>> made =
            driver_->Prepare(StrCat("c", t, "-", i), "base", {});
        EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().text());
      }
      --running;
    });
  }
  for (std::thread& thread : threads) thread.join();
  cleaner.join();
  EXPECT_EQ(Trees().size(), static_cast<size_t>(1 + kThreads * kEach));
}

TEST_F(OverlayTest, AnIdWhoseTreeACrashLeftIsPassedOver) {
  ASSERT_TRUE(trees_.MakeDir("1", 0700).value().MakeDir("fs", 0755).ok());
  const std::vector<model::Mount> mounts = driver_->Prepare("a", "", {}).value();
  EXPECT_EQ(mounts[0].source, Tree("2/fs"));
  Reopen();
  EXPECT_EQ(driver_->Prepare("b", "", {}).value()[0].source, Tree("3/fs"));
}

TEST_F(OverlayTest, AFailedPrepareLeavesNothing) {
  EXPECT_FALSE(driver_->Prepare("a", "nobody", {}).ok());
  EXPECT_FALSE(driver_->Prepare("a", "", {{std::string(kUidMappingLabel), "0:1000:1"}}).ok());
  EXPECT_FALSE(
      driver_
          ->Prepare("a", "",
                    {{std::string(kUidMappingLabel), "x"}, {std::string(kGidMappingLabel), "x"}})
          .ok());
  EXPECT_TRUE(Trees().empty());
  EXPECT_TRUE(driver_->Stat("a").error().Is(Code::kNotFound));
}

TEST_F(OverlayTest, AParentWithoutItsTreeIsCorruption) {
  AddLayer("base");
  ASSERT_TRUE(trees_.RemoveTree("1").ok());
  const Result<std::vector<model::Mount>> prepared = driver_->Prepare("a", "base", {});
  ASSERT_FALSE(prepared.ok());
  EXPECT_TRUE(prepared.error().Is(Code::kDataLoss)) << prepared.error().text();
  EXPECT_TRUE(Trees().empty());
}

TEST_F(OverlayTest, TheUpperdirLabelIsShownAndNeverStored) {
  config_.upperdir_label = true;
  Reopen();
  ASSERT_TRUE(driver_->Prepare("a", "", {{"containerd.io/snapshot/k", "v"}}).ok());
  const std::string key(kUpperdirLabel);
  Info info = driver_->Stat("a").value();
  EXPECT_EQ(info.labels.at(key), Tree("1/fs"));
  EXPECT_EQ(driver_->Update(info, {})->labels.at(key), Tree("1/fs"));
  ASSERT_TRUE(driver_
                  ->Walk({},
                         [&](const Info& walked) {
                           EXPECT_EQ(walked.labels.at(key), Tree("1/fs"));
                           return Ok();
                         })
                  .ok());
  config_.upperdir_label = false;
  Reopen();
  EXPECT_EQ(driver_->Stat("a")->labels, (model::Labels{{"containerd.io/snapshot/k", "v"}}));
}

TEST_F(OverlayTest, OwnersFollowTheIdMapOrTheParent) {
  if (geteuid() != 0) GTEST_SKIP() << "needs CAP_CHOWN";
  const model::Labels labels = {{std::string(kUidMappingLabel), "0:100000:65536"},
                                {std::string(kGidMappingLabel), "1:5:1,0:200000:65536"}};
  ASSERT_TRUE(driver_->Prepare("mapped", "", labels).ok());
  EXPECT_EQ(trees_.Stat("1/fs")->st_uid, 100000u);
  EXPECT_EQ(trees_.Stat("1/fs")->st_gid, 200000u);
  ASSERT_TRUE(driver_->Commit("base", "mapped", {}).ok());
  ASSERT_TRUE(driver_->Prepare("child", "base", {}).ok());
  EXPECT_EQ(trees_.Stat("2/fs")->st_uid, 100000u);
  EXPECT_EQ(trees_.Stat("2/fs")->st_gid, 200000u);
}

TEST_F(OverlayTest, IdMapsComeFirstWhereTheKernelTakesThem) {
  AddLayer("base");
  const std::vector<std::string> capabilities = driver_->Capabilities();
  const bool remaps =
      std::count(capabilities.begin(), capabilities.end(), kCapabilityRemapIds) == 1;
  if (geteuid() != 0) GTEST_SKIP() << "needs CAP_CHOWN";
  const model::Labels labels = {{std::string(kUidMappingLabel), "0:1000:10"},
                                {std::string(kGidMappingLabel), "0:2000:10"}};
  const std::vector<model::Mount> mounts = driver_->Prepare("a", "base", labels).value();
  EXPECT_EQ(mounts[0].options[0] == "uidmap=0:1000:10", remaps);
  EXPECT_EQ(mounts[0].options[1] == "gidmap=0:2000:10", remaps);
}

TEST_F(OverlayTest, CapabilitiesAndExportsAreContainerds) {
  EXPECT_EQ(driver_->Exports(), (std::map<std::string, std::string>{{"root", config_.root}}));
  std::vector<std::string> expected;
  if (TakesIdMappedLayers(trees_)) expected.emplace_back("remap-ids");
  expected.emplace_back("only-remap-ids");
  if (!InUserNamespace()) expected.emplace_back("rebase");
  EXPECT_EQ(driver_->Capabilities(), expected);
  config_.slow_chown = true;
  Reopen();
  const std::vector<std::string> capabilities = driver_->Capabilities();
  EXPECT_EQ(std::count(capabilities.begin(), capabilities.end(), "only-remap-ids"), 0);
}

TEST_F(OverlayTest, ARelativeRootIsRefused) {
  Config relative = config_;
  relative.root = "relative/root";
  EXPECT_TRUE(Open(relative).error().Is(Code::kInvalidArgument));
}

TEST_F(OverlayTest, UsageSurvivesDeepTreesAndCountsThem) {
  ASSERT_TRUE(driver_->Prepare("a", "", {}).ok());
  Dir dir = trees_.OpenDir("1").value().OpenDir("fs").value();
  constexpr int kDepth =
      2000;  // far more than a path may be long, and than descriptors a process may have
  for (int i = 0; i < kDepth; ++i) dir = dir.MakeDir("deeper", 0755).value();
  EXPECT_EQ(driver_->GetUsage("a")->inodes, kDepth + 1);
  ASSERT_TRUE(driver_->Commit("deep", "a", {{}, ""}).ok());
}

}  // namespace
}  // namespace corten::snapshot::overlay
