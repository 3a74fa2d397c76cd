#include "os/mount_options.h"

#include <gtest/gtest.h>
#include <sys/mount.h>

namespace corten::os {
namespace {

TEST(MountOptions, FlagsPropagationAndDataAreKeptApart) {
  const auto words = ParseMountOptions(
      {"rbind", "ro", "nosuid", "rslave", "size=64k", "mode=755", "loop", "direct-io"});
  ASSERT_TRUE(words.ok());
  EXPECT_EQ(words->flags, static_cast<unsigned long>(MS_BIND | MS_REC | MS_RDONLY | MS_NOSUID));
  EXPECT_EQ(words->propagation, (std::vector<unsigned long>{MS_SLAVE | MS_REC}));
  EXPECT_EQ(words->data, (std::vector<std::string>{"size=64k", "mode=755"}));
  EXPECT_TRUE(words->loop);
  EXPECT_TRUE(words->direct_io);
}

TEST(MountOptions, ALaterWordUndoesAnEarlierOne) {
  const auto words = ParseMountOptions({"ro", "noexec", "rw", "exec"});
  ASSERT_TRUE(words.ok());
  EXPECT_EQ(words->flags, 0UL);
}

TEST(MountOptions, EveryFlagWordIsFoundByTheSearch) {
  for (const char* word :
       {"async",      "atime",       "bind",       "defaults", "dev",        "diratime",
        "dirsync",    "exec",        "lazytime",   "mand",     "noatime",    "nodev",
        "nodiratime", "noexec",      "nolazytime", "nomand",   "norelatime", "nostrictatime",
        "nosuid",     "rbind",       "relatime",   "remount",  "ro",         "rw",
        "silent",     "strictatime", "suid",       "sync"}) {
    const auto words = ParseMountOptions({word});
    ASSERT_TRUE(words.ok());
    EXPECT_TRUE(words->data.empty()) << word;
  }
}

TEST(MountOptions, WordsOfTheMountManagerAreRefused) {
  const auto words = ParseMountOptions({"X-containerd.mkfs.size=1M"});
  ASSERT_FALSE(words.ok());
  EXPECT_TRUE(words.error().Is(Code::kInvalidArgument));
}

TEST(MountOptions, OneIdMapWithoutTheOtherIsRefused) {
  EXPECT_FALSE(ParseMountOptions({"uidmap=0:1000:10"}).ok());
  EXPECT_TRUE(ParseMountOptions({"uidmap=0:1000:10", "gidmap=0:1000:10"}).ok());
}

TEST(MountOptions, IdMapsAreTriples) {
  const auto map = ParseIdMap("0:100000:65536,65536:1:1");
  ASSERT_TRUE(map.ok());
  EXPECT_EQ((*map)[0], (IdRange{0, 100000, 65536}));
  EXPECT_EQ((*map)[1], (IdRange{65536, 1, 1}));
  for (const char* bad : {"", "0:1", "0:1:2:3", "0:1:0", "a:1:1", "0:1:1,", "0:99999999999:1"}) {
    EXPECT_FALSE(ParseIdMap(bad).ok()) << bad;
  }
}

TEST(MountOptions, ColonsInLowerDirectoriesSurviveARoundTrip) {
  const OverlayWords words =
      ParseOverlay({"index=off", "lowerdir=/a\\:b:/c", "upperdir=/u", "workdir=/w"});
  EXPECT_EQ(words.lower, (std::vector<std::string>{"/a:b", "/c"}));
  EXPECT_EQ(words.upper, "/u");
  EXPECT_EQ(words.others, (std::vector<std::string>{"index=off"}));
  EXPECT_EQ(FormatOverlay(words), (std::vector<std::string>{"index=off", "workdir=/w",
                                                            "upperdir=/u", "lowerdir=/a\\:b:/c"}));
}

TEST(MountOptions, CommonDirectoryEndsAtAComponent) {
  EXPECT_EQ(CommonDirectory({"/s/12/fs", "/s/1/fs"}), "/s");
  EXPECT_EQ(CommonDirectory({"/s/1/fs"}), "/s/1");
  EXPECT_EQ(CommonDirectory({"/a", "/b"}), "");
  EXPECT_EQ(CommonDirectory({"/a/b", "/c/d"}), "");
}

TEST(MountOptions, AReadOnlyLookTurnsTheUpperIntoALowerDirectory) {
  const auto mounts = ReadOnlyMounts({{"overlay",
                                       "overlay",
                                       "",
                                       {"index=off", "volatile", "uidmap=0:1:1", "gidmap=0:1:1",
                                        "workdir=/w", "upperdir=/u", "lowerdir=/l1:/l2"}},
                                      {"bind", "/x", "", {"rbind", "rw"}}});
  EXPECT_EQ(mounts[0].options, (std::vector<std::string>{"index=off", "lowerdir=/u:/l1:/l2"}));
  EXPECT_EQ(mounts[1].options, (std::vector<std::string>{"rbind", "ro"}));
}

}  // namespace
}  // namespace corten::os
