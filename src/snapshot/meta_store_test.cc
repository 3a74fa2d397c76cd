#include "snapshot/meta_store.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "base/test_dir.h"
#include "snapshot/record_codec.h"

namespace corten::snapshot {
namespace {

TEST(RecordCodec, KeysAreTheBytesThatContainerdWrites) {
  EXPECT_EQ(Hex(ChildKey(1, 2)), "010002");
  EXPECT_EQ(Hex(ChildKey(300, 301)), "ac0200ad02");
}

class MetaStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    store_.reset();
    store_ = MetaStore::Open(temp_.Path("metadata.db"), [] {
               return Time{1795225290, 954663603};
             }).value();
  }
  // Writes a kind that does not exist into the row `key`.
  void Damage(const std::string& key) {
    store_.reset();
    {
      const std::unique_ptr<bolt::Db> db = bolt::Db::Open(temp_.Path("metadata.db")).value();
      ASSERT_TRUE(db->Update([&](bolt::Tx& tx) -> Status {
                      bolt::Bucket version = TRY(tx.GetBucket("v1"));
                      bolt::Bucket snapshots = TRY(version.GetBucket("snapshots"));
                      bolt::Bucket row = TRY(snapshots.GetBucket(key));
                      return row.Put("kind", "\x09");
                    }).ok());
    }
    Reopen();
  }
  uint64_t Create(const std::string& key, const std::string& parent = "", Kind kind = Kind::kActive,
                  const model::Labels& labels = {}) {
    Info info;
    info.kind = kind;
    info.name = key;
    info.parent = parent;
    info.labels = labels;
    const std::vector<uint64_t> parents = store_->CheckCreate(key, parent).value();
    const uint64_t id = store_->ReserveId();
    const Status created = store_->Create(id, info, parents.empty() ? 0 : parents.front());
    EXPECT_TRUE(created.ok()) << (created.ok() ? "" : created.error().text());
    return id;
  }
  uint64_t AddLayer(const std::string& name, const std::string& parent = "") {
    const uint64_t id = Create("key of " + name, parent);
    EXPECT_TRUE(store_->Commit(name, "key of " + name, id, {}, {8, 1998848}).ok());
    return id;
  }
  // All of the file as text: keys and values, values in hex.
  std::string Dump() {
    store_.reset();
    std::string text;
    {
      bolt::Options options;
      options.mode = bolt::Mode::kReadOnly;
      const std::unique_ptr<bolt::Db> db =
          bolt::Db::Open(temp_.Path("metadata.db"), options).value();
      EXPECT_TRUE(
          db->View([&](const bolt::Tx& tx) { return DumpBucket(tx.Root(), "", text); }).ok());
    }
    Reopen();
    return text;
  }
  static Status DumpBucket(const bolt::Bucket& bucket, const std::string& indent,
                           std::string& text) {
    return bucket.ForEach([&](const bolt::Entry& entry) -> Status {
      const bool printable = entry.key[0] >= ' ';
      const std::string key = printable ? std::string(entry.key) : Hex(entry.key);
      if (!entry.is_bucket) {
        text += StrCat(indent, key, " = ", Hex(entry.value), "\n");
        return Ok();
      }
      const bolt::Bucket below = TRY(bucket.GetBucket(entry.key));
      text += StrCat(indent, key, " (", below.Sequence(), ")\n");
      return DumpBucket(below, indent + "  ", text);
    });
  }

  TestDir temp_;
  std::unique_ptr<MetaStore> store_;
};

TEST_F(MetaStoreTest, TheFileHasContainerdsSchema) {
  AddLayer("base");
  Create("c1", "base", Kind::kActive,
         {{"containerd.io/snapshot.ref", "x"}, {"containerd.io/snapshot/empty", ""}});
  Create("v1", "base", Kind::kView);
  EXPECT_EQ(Dump(),
            "v1 (0)\n"
            "  parents (0)\n"
            "    010002 = 6331\n"
            "    010003 = 7631\n"
            "  snapshots (3)\n"
            "    base (0)\n"
            "      createdat = 010000000ee292edca38e702b3ffff\n"
            "      id = 01\n"
            "      inodes = 10\n"
            "      kind = 03\n"
            "      size = 8080f401\n"
            "      updatedat = 010000000ee292edca38e702b3ffff\n"
            "    c1 (0)\n"
            "      createdat = 010000000ee292edca38e702b3ffff\n"
            "      id = 02\n"
            "      kind = 02\n"
            "      labels (0)\n"
            "        containerd.io/snapshot.ref = 78\n"
            "      parent = 62617365\n"
            "      updatedat = 010000000ee292edca38e702b3ffff\n"
            "    v1 (0)\n"
            "      createdat = 010000000ee292edca38e702b3ffff\n"
            "      id = 03\n"
            "      kind = 01\n"
            "      parent = 62617365\n"
            "      updatedat = 010000000ee292edca38e702b3ffff\n");
}

TEST_F(MetaStoreTest, CommitKeepsTheIdAndRenamesTheChild) {
  AddLayer("base");
  const uint64_t id = Create("key", "base");
  ASSERT_TRUE(store_->Commit("name", "key", id, {}, {1, 2}).ok());
  EXPECT_EQ(store_->Get("name")->id, id);
  EXPECT_EQ(store_->Get("name")->usage.size, 2);
  const std::string dump = Dump();
  EXPECT_NE(dump.find("    010002 = 6e616d65\n"), std::string::npos) << dump;
}

TEST_F(MetaStoreTest, IdsGoOnAfterARestart) {
  EXPECT_EQ(Create("a"), 1u);
  EXPECT_EQ(Create("b"), 2u);
  ASSERT_TRUE(store_->Remove("b").ok());
  Reopen();
  EXPECT_EQ(Create("c"), 3u);
}

TEST_F(MetaStoreTest, RowsThatOvertakeEachOtherKeepTheHighestId) {
  const uint64_t first = store_->ReserveId();
  Create("second");
  Info info;
  info.kind = Kind::kActive;
  info.name = "first";
  ASSERT_TRUE(store_->Create(first, info, 0).ok());
  Reopen();
  EXPECT_EQ(store_->ReserveId(), 3u);
}

TEST_F(MetaStoreTest, TheChainIsNearestFirst) {
  AddLayer("1");
  AddLayer("2", "1");
  AddLayer("3", "2");
  Create("top", "3");
  EXPECT_EQ(store_->GetChain("top")->parent_ids, (std::vector<uint64_t>{3, 2, 1}));
  EXPECT_EQ(store_->GetChain("1")->parent_ids, std::vector<uint64_t>{});
  EXPECT_EQ(store_->CheckCreate("x", "2").value(), (std::vector<uint64_t>{2, 1}));
}

TEST_F(MetaStoreTest, AParentThatWasReplacedMeanwhileIsNotTaken) {
  const uint64_t old_id = AddLayer("base");
  ASSERT_TRUE(store_->Remove("base").ok());
  AddLayer("base");
  Info info;
  info.kind = Kind::kActive;
  info.name = "late";
  info.parent = "base";
  EXPECT_TRUE(store_->Create(store_->ReserveId(), info, old_id).error().Is(Code::kNotFound));
  EXPECT_TRUE(store_->Get("late").error().Is(Code::kNotFound));
}

TEST_F(MetaStoreTest, RemoveFindsChildrenWhoseIdsShareBytes) {
  // 142 is 8e 01 as a uvarint: without the zero byte behind it, prefixes of other ids would match.
  AddLayer("one");
  for (int i = 0; i < 140; ++i) Create(StrCat("filler ", i));
  AddLayer("late");  // id 142
  Create("child of late", "late");
  EXPECT_TRUE(store_->Remove("late").error().Is(Code::kFailedPrecondition));
  EXPECT_TRUE(store_->Remove("one").ok());
  EXPECT_TRUE(store_->Remove("filler 13").ok());  // id 15: its prefix 0f 00 is nobody's
  EXPECT_TRUE(store_->Remove("child of late").ok());
  EXPECT_TRUE(store_->Remove("late").ok());
}

TEST_F(MetaStoreTest, WritersAtOnceShareCommits) {
  constexpr int kThreads = 16;
  constexpr int kEach = 20;
  const uint64_t before = store_->GetStats().updates;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) Create(StrCat(t, "-", i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const bolt::Stats stats = store_->GetStats();
  EXPECT_EQ(stats.updates - before, static_cast<uint64_t>(kThreads * kEach));
  EXPECT_LE(stats.commits, static_cast<uint64_t>(kThreads * kEach));
  EXPECT_EQ(store_->Ids()->size(), static_cast<size_t>(kThreads * kEach));
}

TEST_F(MetaStoreTest, ADamagedRowIsReported) {
  Create("a");
  Damage("a");
  const Result<Record> record = store_->Get("a");
  ASSERT_FALSE(record.ok());
  EXPECT_TRUE(record.error().Is(Code::kDataLoss));
  EXPECT_EQ(record.error().text(), "snapshot a: kind: no such kind");
}

TEST_F(MetaStoreTest, ADamagedParentKeepsItsChildAndNobodyElse) {
  AddLayer("base");
  Create("before");
  Create("child", "base");
  Create("behind");
  Damage("base");
  const std::vector<Result<Record>> removed = store_->RemoveMany({"before", "child", "behind"});
  ASSERT_EQ(removed.size(), 3u);
  EXPECT_TRUE(removed[0].ok());
  EXPECT_TRUE(removed[1].error().Is(Code::kDataLoss));
  EXPECT_TRUE(removed[2].ok());
  EXPECT_TRUE(store_->Get("child").ok());
  EXPECT_TRUE(store_->Get("behind").error().Is(Code::kNotFound));
}

TEST_F(MetaStoreTest, AChangeThatCannotBeWrittenRemovesNoneOfItsRows) {
  const std::vector<std::string> keys = {"a", "b", "c"};
  for (const std::string& key : keys) Create(key);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit none = {0, before.rlim_max};
  const sighandler_t handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  const std::vector<Result<Record>> removed = store_->RemoveMany(keys);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  (void)signal(SIGXFSZ, handler);
  ASSERT_EQ(removed.size(), keys.size());
  for (const Result<Record>& record : removed) EXPECT_FALSE(record.ok());
  for (const std::string& key : keys) EXPECT_TRUE(store_->Get(key).ok()) << key;
  for (const Result<Record>& record : store_->RemoveMany(keys)) EXPECT_TRUE(record.ok());
  EXPECT_TRUE(store_->Ids()->empty());
}

}  // namespace
}  // namespace corten::snapshot
