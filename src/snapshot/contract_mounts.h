// Part of the contract suites: what the mounts of a snapshotter show. Needs root; includer links
// corten::os.
//
// SetUpTestSuite gives the process a mount namespace of its own, so nothing that a failed test
// leaves mounted is seen outside or outlives it.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/test_dir.h"
#include "os/mount.h"
#include "snapshot/contract.h"

namespace corten::snapshot {

class SnapshotterMountContract : public SnapshotterContract {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(geteuid(), 0u) << "needs root";
    ASSERT_EQ(unshare(CLONE_NEWNS), 0) << "needs CAP_SYS_ADMIN";
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr), 0);
  }

  // Mounts and runs `body` on the mounted tree.
  void In(const Mounts& mounts, const std::function<void(const Dir&)>& body) {
    const std::string target = targets_.Path(StrCat("target-", next_target_++));
    ASSERT_TRUE(MakeDirs(target, 0755).ok());
    const Status mounted = os::MountList(mounts, target);
    ASSERT_TRUE(mounted.ok()) << mounted.error().text();
    {
      const Dir dir = Dir::Open(target).value();
      body(dir);
    }
    const Status unmounted = os::UnmountAll(target, 0);
    ASSERT_TRUE(unmounted.ok()) << unmounted.error().text();
  }
  // A committed layer on `parent` that `body` made.
  void Layer(const std::string& name, const std::string& parent,
             const std::function<void(const Dir&)>& body) {
    In(MustPrepare("making " + name, parent), body);
    MustCommit(name, "making " + name);
  }
  void InView(const std::string& parent, const std::function<void(const Dir&)>& body) {
    const std::string key = StrCat("look ", next_target_);
    In(MustView(key, parent), body);
    EXPECT_TRUE(snapshotter().Remove(key).ok());
  }

  static void Put(const Dir& dir, const std::string& name, const std::string& text) {
    const Fd fd = dir.OpenFile(name, O_WRONLY | O_CREAT | O_TRUNC, 0644).value();
    ASSERT_TRUE(WriteAll(fd, text, name).ok());
  }
  static std::string Text(const Dir& dir, const std::string& name) {
    const Result<std::string> text = dir.ReadFile(name, 1 << 20);
    return text.ok() ? *text : StrCat("<", CodeMarker(text.error().code()), ">");
  }
  static std::string List(const Dir& dir) {
    std::vector<std::string> names = dir.List().value();
    std::sort(names.begin(), names.end());
    std::string line;
    for (const std::string& name : names) line += (line.empty() ? "" : " ") + name;
    return line;
  }

 private:
  TestDir targets_;
  int next_target_ = 0;
};

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SnapshotterMountContract);

TEST_P(SnapshotterMountContract, ALayerShowsItsParentsAndItself) {
  Layer("1", "", [](const Dir& dir) {
    Put(dir, "a", "from 1");
    Put(dir, "b", "from 1");
  });
  Layer("2", "1", [](const Dir& dir) {
    EXPECT_EQ(List(dir), "a b");
    Put(dir, "b", "from 2");
    Put(dir, "c", "from 2");
  });
  In(MustPrepare("top", "2"), [](const Dir& dir) {
    EXPECT_EQ(List(dir), "a b c");
    EXPECT_EQ(Text(dir, "a"), "from 1");
    EXPECT_EQ(Text(dir, "b"), "from 2");
  });
  InView("1", [](const Dir& dir) { EXPECT_EQ(Text(dir, "b"), "from 1"); });
  InView("2", [](const Dir& dir) { EXPECT_EQ(Text(dir, "b"), "from 2"); });
}

TEST_P(SnapshotterMountContract, WhatIsWrittenStaysWhenMountedAgain) {
  Layer("base", "", [](const Dir& dir) { Put(dir, "a", "base"); });
  In(MustPrepare("active", "base"), [](const Dir& dir) { Put(dir, "a", "changed"); });
  In(snapshotter().Mounts("active").value(),
     [](const Dir& dir) { EXPECT_EQ(Text(dir, "a"), "changed"); });
  InView("base", [](const Dir& dir) { EXPECT_EQ(Text(dir, "a"), "base"); });
}

TEST_P(SnapshotterMountContract, AViewCannotBeWritten) {
  Layer("1", "", [](const Dir& dir) { Put(dir, "a", "1"); });
  Layer("2", "1", [](const Dir& dir) { Put(dir, "b", "2"); });
  for (const char* parent : {"", "1", "2"}) {
    In(MustView(StrCat("view of ", parent), parent), [](const Dir& dir) {
      const Result<Fd> file = dir.OpenFile("new", O_WRONLY | O_CREAT, 0644);
      ASSERT_FALSE(file.ok());
      EXPECT_EQ(file.error().sys_errno(), EROFS);
    });
  }
}

TEST_P(SnapshotterMountContract, WhatIsDeletedStaysDeleted) {
  Layer("1", "", [](const Dir& dir) {
    Put(dir, "file", "1");
    Put(dir, "becomes-dir", "1");
    Put(dir.MakeDir("dir", 0755).value(), "inside", "1");
    Put(dir.MakeDir("refilled", 0755).value(), "old", "1");
  });
  Layer("2", "1", [](const Dir& dir) {
    ASSERT_TRUE(dir.Unlink("file").ok());
    ASSERT_TRUE(dir.RemoveTree("dir").ok());
    ASSERT_TRUE(dir.Unlink("becomes-dir").ok());
    Put(dir.MakeDir("becomes-dir", 0755).value(), "inside", "2");
    ASSERT_TRUE(dir.RemoveTree("refilled").ok());
    Put(dir.MakeDir("refilled", 0755).value(), "new", "2");
  });
  Layer("3", "2", [](const Dir& dir) { Put(dir, "file", "3"); });
  InView("2", [](const Dir& dir) {
    EXPECT_EQ(List(dir), "becomes-dir refilled");
    EXPECT_EQ(List(dir.OpenDir("becomes-dir").value()), "inside");
    EXPECT_EQ(List(dir.OpenDir("refilled").value()), "new");
  });
  InView("3", [](const Dir& dir) { EXPECT_EQ(Text(dir, "file"), "3"); });
}

TEST_P(SnapshotterMountContract, FilesMoveBetweenLayers) {
  Layer("1", "", [](const Dir& dir) { Put(dir, "old", "moved"); });
  Layer("2", "1", [](const Dir& dir) { ASSERT_TRUE(dir.Rename("old", "new").ok()); });
  InView("2", [](const Dir& dir) {
    EXPECT_EQ(List(dir), "new");
    EXPECT_EQ(Text(dir, "new"), "moved");
  });
}

TEST_P(SnapshotterMountContract, OwnersModesLinksAndAttributesAreKept) {
  Layer("1", "", [](const Dir& dir) {
    Put(dir, "a", "linked");
    ASSERT_EQ(linkat(dir.fd().get(), "a", dir.fd().get(), "b", 0), 0);
    ASSERT_EQ(fchownat(dir.fd().get(), "a", 1234, 4321, 0), 0);
    ASSERT_EQ(fchmodat(dir.fd().get(), "a", 04711, 0), 0);
    ASSERT_EQ(symlinkat("nowhere", dir.fd().get(), "link"), 0);
    ASSERT_EQ(fchownat(dir.fd().get(), "link", 99, 98, AT_SYMLINK_NOFOLLOW), 0);
    ASSERT_EQ(mkfifoat(dir.fd().get(), "fifo", 0640), 0);
    ASSERT_EQ(mknodat(dir.fd().get(), "device", S_IFCHR | 0600, makedev(1, 3)), 0);
    ASSERT_EQ(setxattr(dir.Path("b").c_str(), "user.colour", "rust", 4, 0), 0);
    const struct timespec old[2] = {{1000000000, 5}, {1100000000, 7}};
    ASSERT_EQ(utimensat(dir.fd().get(), "a", old, 0), 0);
  });
  Layer("2", "1", [](const Dir& dir) { Put(dir, "other", "x"); });
  In(MustPrepare("active", "2"), [](const Dir& dir) {
    const struct stat a = dir.Stat("a").value();
    EXPECT_EQ(a.st_ino, dir.Stat("b")->st_ino);
    EXPECT_EQ(a.st_nlink, 2u);
    EXPECT_EQ(a.st_uid, 1234u);
    EXPECT_EQ(a.st_gid, 4321u);
    EXPECT_EQ(a.st_mode & 07777, 04711u);
    EXPECT_EQ(a.st_mtim.tv_sec, 1100000000);
    EXPECT_EQ(a.st_mtim.tv_nsec, 7);
    EXPECT_EQ(dir.Stat("link")->st_uid, 99u);
    EXPECT_TRUE(S_ISFIFO(dir.Stat("fifo")->st_mode));
    EXPECT_EQ(dir.Stat("device")->st_rdev, makedev(1, 3));
    char value[8];
    ASSERT_EQ(getxattr(dir.Path("a").c_str(), "user.colour", value, sizeof(value)), 4);
    EXPECT_EQ(std::string_view(value, 4), "rust");
  });
}

TEST_P(SnapshotterMountContract, TheTopDirectoryKeepsItsOwnerAndMode) {
  Layer("1", "", [](const Dir& dir) {
    ASSERT_EQ(fchown(dir.fd().get(), 1000, 1001), 0);
    ASSERT_EQ(fchmod(dir.fd().get(), 0777), 0);
  });
  In(MustPrepare("2", "1"), [](const Dir& dir) {
    const struct stat top = dir.Stat(".").value();
    EXPECT_EQ(top.st_uid, 1000u);
    EXPECT_EQ(top.st_gid, 1001u);
  });
  InView("1", [](const Dir& dir) { EXPECT_EQ(dir.Stat(".")->st_mode & 07777, 0777u); });
}

TEST_P(SnapshotterMountContract, UsageCountsWhatTheSnapshotAdds) {
  Layer("base", "", [](const Dir& dir) { Put(dir, "big", std::string(1 << 20, 'x')); });
  EXPECT_GE(snapshotter().GetUsage("base")->size, 1 << 20);
  const Mounts mounts = MustPrepare("active", "base");
  const Usage before = snapshotter().GetUsage("active").value();
  In(mounts, [](const Dir& dir) {
    Put(dir, "a", std::string(500'000, 'y'));
    ASSERT_EQ(linkat(dir.fd().get(), "a", dir.fd().get(), "b", 0), 0);
    ASSERT_TRUE(dir.MakeDir("d", 0755).ok());
  });
  const Usage after = snapshotter().GetUsage("active").value();
  EXPECT_EQ(after.inodes - before.inodes, 2) << "a file with two names, and a directory";
  EXPECT_GE(after.size - before.size, 500'000);
  EXPECT_LT(after.size - before.size, 700'000);
  MustCommit("done", "active");
  EXPECT_EQ(snapshotter().GetUsage("done")->inodes, after.inodes);
  EXPECT_EQ(snapshotter().GetUsage("done")->size, after.size);
}

TEST_P(SnapshotterMountContract, ManyLayersMakeOneTree) {
  constexpr int kLayers = 128;
  std::string parent;
  for (int i = 0; i < kLayers; ++i) {
    const std::string name =
        StrCat("sha256:0123456789012345678901234567890123456789012345678901234567890123-", i);
    Layer(name, parent, [&](const Dir& dir) {
      Put(dir, StrCat("file-", i), StrCat(i));
      Put(dir, "last", StrCat(i));
    });
    parent = name;
  }
  InView(parent, [](const Dir& dir) {
    EXPECT_EQ(dir.List()->size(), static_cast<size_t>(kLayers + 1));
    EXPECT_EQ(Text(dir, "last"), StrCat(kLayers - 1));
    EXPECT_EQ(Text(dir, "file-0"), "0");
  });
}

TEST_P(SnapshotterMountContract, LayersMadeApartAreJoinedAtCommit) {
  if (!GetParam().rebase) return;  // SnapshotterContract shows that it is refused
  In(MustPrepare("one"), [](const Dir& dir) {
    Put(dir, "a", "1");
    Put(dir, "b", "1");
  });
  In(MustPrepare("two"), [](const Dir& dir) { Put(dir, "b", "2"); });
  MustCommit("layer 1", "one");
  MustCommit("layer 2", "two", {{}, "layer 1"});
  InView("layer 2", [](const Dir& dir) {
    EXPECT_EQ(Text(dir, "a"), "1");
    EXPECT_EQ(Text(dir, "b"), "2");
  });
}

TEST_P(SnapshotterMountContract, AMountStaysWholeWhileOthersAreRemoved) {
  Layer("base", "", [](const Dir& dir) { Put(dir, "a", "base"); });
  const Mounts kept = MustPrepare("kept", "base");
  MustPrepare("gone", "base");
  In(kept, [&](const Dir& dir) {
    ASSERT_TRUE(snapshotter().Remove("gone").ok());
    const Status cleaned = snapshotter().Cleanup();
    EXPECT_TRUE(cleaned.ok() || cleaned.error().Is(Code::kUnimplemented));
    EXPECT_EQ(Text(dir, "a"), "base");
    Put(dir, "b", "new");
    EXPECT_EQ(List(dir), "a b");
  });
}

}  // namespace corten::snapshot
