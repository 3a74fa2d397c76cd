#include "os/mount_info.h"

#include <gtest/gtest.h>

namespace corten::os {
namespace {

TEST(MountInfo, FieldsOfALineAreFound) {
  const auto table = ParseMountInfo(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:7 - ext3 /dev/root rw,errors=continue\n"
      "37 36 0:5 / /a\\040b ro - tmpfs none rw\n");
  ASSERT_TRUE(table.ok());
  ASSERT_EQ(table->size(), 2U);
  const MountEntry& first = (*table)[0];
  EXPECT_EQ(first.id, 36U);
  EXPECT_EQ(first.parent, 35U);
  EXPECT_EQ(first.root, "/mnt1");
  EXPECT_EQ(first.mount_point, "/mnt2");
  EXPECT_EQ(first.options, "rw,noatime");
  EXPECT_EQ(first.propagation, "shared:1 master:7");
  EXPECT_EQ(first.fs_type, "ext3");
  EXPECT_EQ(first.source, "/dev/root");
  EXPECT_EQ(first.super_options, "rw,errors=continue");
  EXPECT_EQ((*table)[1].mount_point, "/a b");
  EXPECT_EQ((*table)[1].propagation, "");
}

TEST(MountInfo, ALineWithoutTheSeparatorIsNamed) {
  const auto table = ParseMountInfo("36 35 98:0 /mnt1 /mnt2 rw,noatime\n");
  ASSERT_FALSE(table.ok());
  EXPECT_TRUE(table.error().Is(Code::kInvalidArgument));
  EXPECT_NE(table.error().text().find("/mnt2"), std::string::npos);
}

TEST(MountInfo, BelowMeansAPathComponent) {
  std::vector<MountEntry> table(4);
  table[0].mount_point = "/a";
  table[1].mount_point = "/a/b";
  table[2].mount_point = "/ab";
  table[3].mount_point = "/";
  EXPECT_EQ(MountsAtOrBelow(table, "/a").size(), 2U);
  EXPECT_EQ(MountsAtOrBelow(table, "/").size(), 4U);
}

TEST(MountInfo, OwnTableHoldsTheRoot) {
  const auto table = ReadMountInfo();
  ASSERT_TRUE(table.ok()) << table.error().text();
  EXPECT_FALSE(MountsAtOrBelow(*table, "/proc").empty());
}

}  // namespace
}  // namespace corten::os
