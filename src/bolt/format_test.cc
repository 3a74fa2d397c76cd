// Bytes as the original writes them, recorded from files of containerd 2.3.4.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "base/strcat.h"
#include "bolt/page.h"
#include "bolt/test_dir.h"

namespace corten::bolt {
namespace {

std::string Bytes(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    while (hex[i] == ' ') ++i;
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

std::string FileBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The start of a meta.db: root page 65, no stored list, 72 pages, transaction 142.
const char kRecorded[] =
    "0000000000000000 0400 0000 00000000 edda0ced 02000000 00100000 00000000 4100000000000000 "
    "0000000000000000 "
    "ffffffffffffffff 4800000000000000 8e00000000000000 241899b79846be41";

TEST(Format, MetaPageOfContainerdIsReadAndWrittenAlike) {
  const std::string recorded = Bytes(kRecorded);
  ASSERT_EQ(recorded.size(), kPageHeaderSize + kMetaSize);
  Meta meta;
  ASSERT_EQ(DecodeMeta(recorded.data() + kPageHeaderSize, &meta), MetaState::kValid);
  EXPECT_EQ(meta.page_size, 4096U);
  EXPECT_EQ(meta.root_page, 65U);
  EXPECT_EQ(meta.free_list, kNoFreeList);
  EXPECT_EQ(meta.high_water, 72U);
  EXPECT_EQ(meta.txid, 142U);
  std::string expected = recorded;
  expected.resize(4096, '\0');
  EXPECT_EQ(EncodeMetaPage(meta), expected);
}

TEST(Format, EveryByteOfAMetaPageCounts) {
  const std::string recorded = Bytes(kRecorded);
  for (size_t i = kPageHeaderSize; i < recorded.size(); ++i) {
    std::string changed = recorded;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    Meta meta;
    EXPECT_NE(DecodeMeta(changed.data() + kPageHeaderSize, &meta), MetaState::kValid) << i;
  }
}

TEST(Format, InlineBucketIsTheSameBytesAsContainerds) {
  const TestDir dir;
  {
    const auto db = MustOpen(dir.File());
    ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
      Bucket lease = TRY(tx.CreateBucket("lease"));
      Bucket labels = TRY(lease.CreateBucket("labels"));
      TRY(labels.Put("containerd.io/gc.expire", "2026-11-21T03:41:31Z"));
      return labels.Put("a", "b");
    }));
  }
  const std::string value =
      Bytes(
          "00000000000000000000000000000000 0000000000000000 0200 0200 00000000 "
          "00000000 20000000 01000000 01000000 00000000 12000000 17000000 14000000") +
      "abcontainerd.io/gc.expire2026-11-21T03:41:31Z";
  ASSERT_EQ(value.size(), 109U);
  EXPECT_NE(FileBytes(dir.File()).find("labels" + value), std::string::npos);
}

// 16 + (16 + key + value) of one pair, against a quarter of a page.
TEST(Format, BucketIsInlineUpToAQuarterOfAPage) {
  for (const auto& [size, is_inline] :
       {std::pair<size_t, uint64_t>{1024 - 16 - 16 - 1, 1}, {1024 - 16 - 16, 0}}) {
    const TestDir dir;
    const auto db = MustOpen(dir.File(), {.page_size = 4096});
    ASSERT_STATUS(db->Update([value_size = size](Tx& tx) -> Status {
      Bucket b = TRY(tx.CreateBucket("b"));
      return b.Put("k", std::string(value_size, 'v'));
    }));
    EXPECT_EQ(ExpectSound(*db).inline_buckets, is_inline);
  }
}

TEST(Format, BucketWithABucketInsideIsNeverInline) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    Bucket outer = TRY(tx.CreateBucket("outer"));
    TRY(outer.CreateBucket("inner"));
    return Ok();
  }));
  EXPECT_EQ(ExpectSound(*db).inline_buckets, 1U);
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    Bucket outer = TRY(tx.GetBucket("outer"));
    return outer.DeleteBucket("inner");
  }));
  EXPECT_EQ(ExpectSound(*db).inline_buckets, 1U);
  EXPECT_EQ(ExpectSound(*db).leaf_pages, 1U);
}

TEST(Format, NewFileHasFourPagesInTheOrderOfTheOriginal) {
  const TestDir dir;
  {
    const auto db = MustOpen(dir.File(), {.page_size = 4096});
  }
  const std::string content = FileBytes(dir.File());
  ASSERT_EQ(content.size(), 8U * 4096) << "as long as the original makes it with its first commit";
  EXPECT_EQ(content.find_first_not_of('\0', size_t{4} * 4096), std::string::npos);
  const uint16_t kinds[] = {kMetaPage, kMetaPage, kFreeListPage, kLeafPage};
  for (uint64_t id = 0; id < 4; ++id) {
    const PageView page{content.data() + id * 4096, 4096, id};
    EXPECT_EQ(page.stored_id(), id);
    EXPECT_EQ(page.flags(), kinds[id]);
    EXPECT_EQ(page.count(), 0);
  }
  for (uint64_t id = 0; id < 2; ++id) {
    Meta meta;
    ASSERT_EQ(DecodeMeta(content.data() + id * 4096 + kPageHeaderSize, &meta), MetaState::kValid);
    EXPECT_EQ(meta.txid, id);
    EXPECT_EQ(meta.root_page, 3U);
    EXPECT_EQ(meta.free_list, 2U);
    EXPECT_EQ(meta.high_water, 4U);
  }
}

}  // namespace
}  // namespace corten::bolt
