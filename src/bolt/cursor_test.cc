#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/strcat.h"
#include "bolt/test_dir.h"

namespace corten::bolt {
namespace {

std::string KeyOf(const Result<std::optional<Entry>>& entry) {
  if (!entry.ok()) return entry.error().text();
  return *entry ? std::string((*entry)->key) : "(end)";
}

Status Fill(Tx& tx, int count) {
  Bucket b = TRY(tx.CreateBucketIfNotExists("b"));
  for (int i = 0; i < count; ++i) TRY(b.Put(StrCat("k", 1000 + i), std::string(40, 'v')));
  return Ok();
}

TEST(Cursor, WalksBothWaysOverSeveralPages) {
  const TestDir dir;
  const auto db = MustOpen(dir.File(), {.page_size = 1024});
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status { return Fill(tx, 500); }));
  ASSERT_STATUS(db->View([](const Tx& tx) -> Status {
    const Bucket b = TRY(tx.GetBucket("b"));
    Cursor cursor = b.NewCursor();
    int i = 0;
    for (std::optional<Entry> e = TRY(cursor.First()); e; e = TRY(cursor.Next())) {
      EXPECT_EQ(e->key, StrCat("k", 1000 + i++));
    }
    EXPECT_EQ(i, 500);
    for (std::optional<Entry> e = TRY(cursor.Prev()); e; e = TRY(cursor.Prev())) {
      EXPECT_EQ(e->key, StrCat("k", 1000 + --i));
    }
    EXPECT_EQ(i, 0);
    EXPECT_EQ(KeyOf(cursor.Next()), "k1000");
    EXPECT_EQ(KeyOf(cursor.Last()), "k1499");
    EXPECT_EQ(KeyOf(cursor.Next()), "(end)");
    EXPECT_EQ(KeyOf(cursor.Next()), "(end)");
    EXPECT_EQ(KeyOf(cursor.Prev()), "k1499");
    EXPECT_EQ(KeyOf(cursor.Seek("k1100")), "k1100");
    EXPECT_EQ(KeyOf(cursor.Prev()), "k1099");
    EXPECT_EQ(KeyOf(cursor.Seek("k1100x")), "k1101");
    EXPECT_EQ(KeyOf(cursor.Seek("a")), "k1000");
    EXPECT_EQ(KeyOf(cursor.Prev()), "(end)");
    EXPECT_EQ(KeyOf(cursor.Seek("z")), "(end)");
    EXPECT_EQ(KeyOf(cursor.Prev()), "k1499");
    EXPECT_EQ(KeyOf(b.NewCursor().Next()), "k1000");
    EXPECT_EQ(KeyOf(b.NewCursor().Prev()), "(end)");
    return Ok();
  }));
}

TEST(Cursor, EmptyBucketHasNoEntries) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status { return Fill(tx, 0); }));
  ASSERT_STATUS(db->View([](const Tx& tx) -> Status {
    const Bucket b = TRY(tx.GetBucket("b"));
    EXPECT_EQ(KeyOf(b.NewCursor().First()), "(end)");
    EXPECT_EQ(KeyOf(b.NewCursor().Last()), "(end)");
    EXPECT_EQ(KeyOf(b.NewCursor().Seek("x")), "(end)");
    return Ok();
  }));
}

TEST(Cursor, DeletingOnTheWayVisitsEachEntryOnce) {
  const TestDir dir;
  const auto db = MustOpen(dir.File(), {.page_size = 1024});
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status { return Fill(tx, 500); }));
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    Bucket b = TRY(tx.GetBucket("b"));
    Cursor cursor = b.NewCursor();
    EXPECT_EQ(cursor.Delete().error().code(), Code::kFailedPrecondition);
    int seen = 0;
    for (std::optional<Entry> e = TRY(cursor.First()); e; e = TRY(cursor.Next())) {
      EXPECT_EQ(e->key, StrCat("k", 1000 + seen++));
      if (seen % 3 != 0) TRY(cursor.Delete());
    }
    EXPECT_EQ(seen, 500);
    return Ok();
  }));
  EXPECT_EQ(ExpectSound(*db).keys, 166U);
}

TEST(Cursor, FindsItsPlaceAgainWhenTheBucketChanges) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    Bucket b = TRY(tx.CreateBucket("b"));
    for (const char* key : {"b", "d", "f"}) TRY(b.Put(key, key));
    Cursor cursor = b.NewCursor();
    EXPECT_EQ(KeyOf(cursor.Seek("d")), "d");
    TRY(b.Put("c", ""));
    TRY(b.Put("e", ""));
    EXPECT_EQ(KeyOf(cursor.Next()), "e");
    TRY(b.Delete("e"));
    TRY(b.Delete("f"));
    EXPECT_EQ(KeyOf(cursor.Prev()), "d");
    EXPECT_EQ(KeyOf(cursor.Prev()), "c");
    TRY(b.Delete("b"));
    EXPECT_EQ(KeyOf(cursor.Prev()), "(end)");
    return Ok();
  }));
}

TEST(Cursor, ForEachMayDeleteTheBucketsItMeets) {
  const TestDir dir;
  const auto db = MustOpen(dir.File());
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    for (int i = 0; i < 100; ++i) {
      Bucket b = TRY(tx.CreateBucket(StrCat("b", 100 + i)));
      for (int k = 0; k < i; ++k) TRY(b.Put(StrCat("k", k), std::string(50, 'v')));
    }
    return Ok();
  }));
  ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
    return tx.Root().ForEach([&](const Entry& entry) -> Status {
      EXPECT_TRUE(entry.is_bucket);
      return tx.DeleteBucket(entry.key);
    });
  }));
  const CheckReport report = ExpectSound(*db);
  EXPECT_EQ(report.buckets, 0U);
  EXPECT_EQ(report.leaf_pages, 1U);
}

}  // namespace
}  // namespace corten::bolt
