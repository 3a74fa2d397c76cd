// Needs root: real mounts on directories of its own, in a mount namespace of its own.
#include "os/mount.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/dir.h"
#include "base/spawn.h"
#include "os/mount_info.h"
#include "os/overlay_mount.h"

namespace corten::os {
namespace {

class MountTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(unshare(CLONE_NEWNS), 0) << "needs CAP_SYS_ADMIN";
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr), 0);
  }
  void SetUp() override {
    char name[] = "/tmp/corten-mount-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
    // tmpfs as upper directory is fine for overlay on every kernel we support.
    ASSERT_EQ(mount("none", root_.c_str(), "tmpfs", 0, nullptr), 0);
    MakeDir("target");
  }
  void TearDown() override {
    EXPECT_TRUE(UnmountRecursive(root_, MNT_DETACH).ok());
    EXPECT_EQ(rmdir(root_.c_str()), 0);
  }
  std::string Path(const std::string& name) const { return root_ + "/" + name; }
  void MakeDir(const std::string& name) { ASSERT_TRUE(MakeDirs(Path(name), 0755).ok()); }
  void Write(const std::string& name, const std::string& text) {
    const Fd fd(open(Path(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_TRUE(fd.valid()) << name;
    ASSERT_TRUE(WriteAll(fd, text, name).ok());
  }
  std::string Read(const std::string& name) {
    auto text = ReadFileAt(Path(name), 1 << 20);
    return text.ok() ? *text : "<" + text.error().text() + ">";
  }
  bool Mounted(const std::string& name) { return *IsMountPoint(Path(name)); }

  // `count` lower directories with a path long enough that all together exceed a page.
  model::Mount LongOverlay(int count) {
    model::Mount overlay{"overlay", "overlay", "", {"index=off"}};
    std::string lower = "lowerdir=";
    for (int i = 0; i < count; ++i) {
      const std::string name =
          "layers/a-rather-long-name-for-a-directory-of-layers/" + std::to_string(i) + "/fs";
      MakeDir(name);
      Write(name + "/file" + std::to_string(i), "x");
      lower += (i == 0 ? "" : ":") + Path(name);
    }
    MakeDir("upper");
    MakeDir("work");
    overlay.options.push_back("upperdir=" + Path("upper"));
    overlay.options.push_back("workdir=" + Path("work"));
    overlay.options.push_back(lower);
    return overlay;
  }

  std::string root_;
};

TEST_F(MountTest, AReadOnlyBindRefusesWrites) {
  MakeDir("source");
  Write("source/file", "hello");
  ASSERT_TRUE(MountOne({"bind", Path("source"), "", {"rbind", "ro"}}, Path("target")).ok());
  EXPECT_EQ(Read("target/file"), "hello");
  EXPECT_LT(open(Path("target/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644), 0);
  EXPECT_EQ(errno, EROFS);
  EXPECT_TRUE(Unmount(Path("target"), 0).ok());
  EXPECT_FALSE(Mounted("target"));
}

TEST_F(MountTest, UnmountOfWhatIsNotMountedSucceeds) {
  EXPECT_TRUE(Unmount(Path("target"), 0).ok());
  EXPECT_TRUE(UnmountAll(Path("missing"), 0).ok());
  EXPECT_TRUE(UnmountRecursive(Path("missing"), 0).ok());
}

TEST_F(MountTest, PropagationIsSet) {
  MakeDir("source");
  ASSERT_TRUE(MountOne({"bind", Path("source"), "", {"bind", "shared"}}, Path("target")).ok());
  const auto entries = MountsAtOrBelow(*ReadMountInfo(), Path("target"));
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_TRUE(entries[0].propagation.starts_with("shared:")) << entries[0].propagation;
}

TEST_F(MountTest, AListIsUndoneWhenALaterMountFails) {
  MakeDir("source");
  const std::vector<model::Mount> mounts = {{"bind", Path("source"), "", {"bind"}},
                                            {"no-such-filesystem", "none", "", {}}};
  const Status made = MountList(mounts, Path("target"));
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.error().text().find("no-such-filesystem"), std::string::npos)
      << made.error().text();
  EXPECT_FALSE(Mounted("target"));
}

TEST_F(MountTest, SubTargetsCannotLeaveTheTarget) {
  MakeDir("source");
  MakeDir("victim");
  MakeDir("target/victim");
  ASSERT_EQ(symlink(Path("victim").c_str(), Path("target/link").c_str()), 0);
  // Inside the target as root, the link names nothing.
  const Status made = MountOne({"bind", Path("source"), "link", {"bind"}}, Path("target"));
  EXPECT_FALSE(made.ok());
  EXPECT_FALSE(Mounted("victim"));
  ASSERT_TRUE(MountOne({"bind", Path("source"), "../../victim", {"bind"}}, Path("target")).ok());
  EXPECT_TRUE(Mounted("target/victim"));
  EXPECT_FALSE(Mounted("victim"));
}

TEST_F(MountTest, AShortOverlayMergesItsLayers) {
  ASSERT_TRUE(MountOne(LongOverlay(2), Path("target")).ok());
  EXPECT_EQ(Read("target/file0"), "x");
  EXPECT_EQ(Read("target/file1"), "x");
  Write("target/new", "y");
  EXPECT_EQ(Read("upper/new"), "y");
}

TEST_F(MountTest, AnOverlayBeyondAPageOfOptionsIsMounted) {
  const model::Mount overlay = LongOverlay(100);
  ASSERT_GT(overlay.options.back().size(), 4096U);
  const Status made = MountOne(overlay, Path("target"));
  ASSERT_TRUE(made.ok()) << made.error().text();
  EXPECT_EQ(Read("target/file0"), "x");
  EXPECT_EQ(Read("target/file99"), "x");
}

TEST_F(MountTest, TheCommonDirectoryWayMountsTheSameOverlay) {
  // 60: relative names fit a page, absolute ones do not. This is the way of kernels before 6.7.
  const model::Mount overlay = LongOverlay(60);
  ASSERT_GT(overlay.options.back().size(), 4096U);
  const Status made =
      MountOverlayFromCommonDirectory("overlay", ParseOverlay(overlay.options), 0, Path("target"));
  ASSERT_TRUE(made.ok()) << made.error().text();
  EXPECT_EQ(Read("target/file0"), "x");
  EXPECT_EQ(Read("target/file59"), "x");
}

TEST_F(MountTest, AnIdMappedBindShowsOtherOwners) {
  MakeDir("source");
  Write("source/file", "x");
  ASSERT_TRUE(
      MountOne({"bind", Path("source"), "", {"bind", "uidmap=0:5000:10", "gidmap=0:6000:10"}},
               Path("target"))
          .ok());
  struct stat info = {};
  ASSERT_EQ(stat(Path("target/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 5000U);
  EXPECT_EQ(info.st_gid, 6000U);
}

TEST_F(MountTest, AnIdMappedOverlayShowsOtherOwnersAndLeavesNoHelperMount) {
  model::Mount overlay = LongOverlay(3);
  overlay.options.insert(overlay.options.begin(), {"uidmap=0:5000:10", "gidmap=0:6000:10"});
  MakeDir("temp");
  const Status made = MountOne(overlay, Path("target"), {.temp_dir = Path("temp")});
  ASSERT_TRUE(made.ok()) << made.error().text();
  struct stat info = {};
  ASSERT_EQ(stat(Path("target/file1").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 5000U);
  EXPECT_TRUE(Dir::Open(Path("temp"))->List()->empty());
}

TEST_F(MountTest, AFileIsMountedThroughALoopDevice) {
  Write("image", "");
  ASSERT_EQ(truncate(Path("image").c_str(), 8 << 20), 0);
  SpawnOptions format;
  format.args = {"/sbin/mkfs.ext4", "-q", "-F", Path("image")};
  const auto formatted = RunProgram(format, "", std::chrono::seconds(30));
  ASSERT_TRUE(formatted.ok() && formatted->status.ok());
  const Status made = MountOne({"ext4", Path("image"), "", {"loop"}}, Path("target"));
  ASSERT_TRUE(made.ok()) << made.error().text();
  Write("target/file", "through the loop");
  EXPECT_EQ(Read("target/file"), "through the loop");
  EXPECT_TRUE(UnmountAll(Path("target"), 0).ok());
}

TEST_F(MountTest, RecursiveUnmountTakesTheDeepestFirst) {
  MakeDir("source/deep");
  ASSERT_TRUE(MountOne({"bind", Path("source"), "", {"bind"}}, Path("target")).ok());
  ASSERT_TRUE(MountOne({"tmpfs", "none", "", {"size=64k"}}, Path("target/deep")).ok());
  ASSERT_TRUE(MountOne({"tmpfs", "none", "", {"size=64k"}}, Path("target/deep")).ok());
  EXPECT_TRUE(UnmountRecursive(Path("target"), 0).ok());
  EXPECT_TRUE(MountsAtOrBelow(*ReadMountInfo(), Path("target")).empty());
}

TEST_F(MountTest, ATempMountIsGoneAfterwardsWithItsDirectory) {
  MakeDir("temp");
  std::string seen;
  const Status done =
      WithTempMount(Path("temp"), {LongOverlay(2)}, [&](const std::string& path) -> Status {
        seen = path;
        const std::string text = TRY(ReadFileAt(path + "/file1", 10));
        return text == "x" ? Ok() : Status(UnknownError("wrong content"));
      });
  EXPECT_TRUE(done.ok()) << done.error().text();
  EXPECT_NE(seen.find("/containerd-mount"), std::string::npos);
  EXPECT_TRUE(Dir::Open(Path("temp"))->List()->empty());
}

TEST_F(MountTest, AReadOnlyTempMountCannotChangeTheUpperDirectory) {
  MakeDir("temp");
  const Status done =
      WithReadOnlyTempMount(Path("temp"), {LongOverlay(2)}, [&](const std::string& path) -> Status {
        EXPECT_LT(open((path + "/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644), 0);
        return UnknownError("the body's own error");
      });
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().text(), "the body's own error");
  EXPECT_TRUE(Dir::Open(Path("upper"))->List()->empty());
  EXPECT_TRUE(Dir::Open(Path("temp"))->List()->empty());
}

TEST_F(MountTest, TheSweepRemovesWhatAKilledProcessLeft) {
  MakeDir("temp/containerd-mountABCDEF");
  MakeDir("temp/precious");
  ASSERT_TRUE(MountOne({"tmpfs", "none", "", {}}, Path("temp/containerd-mountABCDEF")).ok());
  const auto removed = SweepTempMounts(Path("temp"));
  ASSERT_TRUE(removed.ok());
  EXPECT_EQ(*removed, 1);
  EXPECT_EQ(*Dir::Open(Path("temp"))->List(), std::vector<std::string>{"precious"});
}

TEST_F(MountTest, AGuardDetachesWhatItOwns) {
  MakeDir("source");
  ASSERT_TRUE(MountOne({"bind", Path("source"), "", {"bind"}}, Path("target")).ok());
  {
    const MountGuard guard(Path("target"));
  }
  EXPECT_FALSE(Mounted("target"));
}

}  // namespace
}  // namespace corten::os
