#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "metadata/db/test_fixture.h"
#include "snapshot/contract.h"

namespace corten::metadata {
namespace {

using ::testing::ElementsAre;

// A driver in front of another one, with a hook at its Commit.
class HookedSnapshotter final : public snapshot::Snapshotter {
 public:
  explicit HookedSnapshotter(snapshot::Snapshotter* inner) : inner_(inner) {}
  Result<std::vector<model::Mount>> Prepare(const std::string& key, const std::string& parent,
                                            const model::Labels& labels) override {
    if (prepare) TRY(prepare(key, parent, labels));
    return inner_->Prepare(key, parent, labels);
  }
  Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                         const model::Labels& labels) override {
    return inner_->View(key, parent, labels);
  }
  Result<std::vector<model::Mount>> Mounts(const std::string& key) override {
    return inner_->Mounts(key);
  }
  Status Commit(const std::string& name, const std::string& key,
                const CommitOptions& options) override {
    if (before_commit) TRY(before_commit());
    TRY(inner_->Commit(name, key, options));
    return after_commit ? after_commit() : Ok();
  }
  Status Remove(const std::string& key) override { return inner_->Remove(key); }
  Result<snapshot::Info> Stat(const std::string& key) override {
    if (away) return UnavailableError("backend is away");
    return inner_->Stat(key);
  }
  Result<snapshot::Info> Update(const snapshot::Info& info,
                                const snapshot::FieldPaths& paths) override {
    return inner_->Update(info, paths);
  }
  Status Walk(const snapshot::Filters& filters,
              const std::function<Status(const snapshot::Info&)>& visit) override {
    return inner_->Walk(filters, visit);
  }
  Result<snapshot::Usage> GetUsage(const std::string& key) override {
    return inner_->GetUsage(key);
  }
  Status Cleanup() override { return inner_->Cleanup(); }

  std::function<Status(const std::string&, const std::string&, const model::Labels&)> prepare;
  std::function<Status()> before_commit;
  std::function<Status()> after_commit;
  bool away = false;

 private:
  snapshot::Snapshotter* inner_;
};

class ScopedSnapshotsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    f_.SetDriver(&hooked_);
    f_.Open();
    snapshots_ = f_.Snapshots();
  }
  void CopyFiles(const std::string& to) {
    std::filesystem::create_directory(to);
    for (const char* file : {"/meta.db", "/meta.db.intents"}) {
      if (std::filesystem::exists(f_.dir().dir().path() + file))
        std::filesystem::copy_file(f_.dir().dir().path() + file, to + file);
    }
  }
  std::vector<LeaseResource> Held(const std::string& lease) {
    return f_.db().leases().ListResources(kDefault, model::LeaseId(lease)).value();
  }

  DatabaseFixture f_;
  HookedSnapshotter hooked_{&f_.snapshotter()};
  std::unique_ptr<snapshot::Snapshotter> snapshots_;
};

TEST_F(ScopedSnapshotsTest, KeysBecomeNumberedNamesInTheBackend) {
  ASSERT_OK(snapshots_->Prepare("k", "", {}));
  ASSERT_OK(snapshots_->Commit("c", "k", {}));
  ASSERT_OK(snapshots_->Prepare("k", "c", {}));
  EXPECT_TRUE(f_.snapshotter().Stat("default/2/c").ok());
  EXPECT_EQ(f_.snapshotter().Stat("default/3/k")->parent, "default/2/c");
  EXPECT_EQ(snapshots_->Stat("k")->parent, "c");
  EXPECT_EQ(snapshots_->Stat("k")->name, "k");
  EXPECT_TRUE(f_.Snapshots(In("other"))->Stat("k").error().Is(Code::kNotFound));
}

TEST_F(ScopedSnapshotsTest, ErrorsAreContainerds) {
  EXPECT_FAILS(f_.db().Snapshots(kScope, ""), Code::kInvalidArgument,
               "snapshotter argument missing: invalid argument");
  EXPECT_FAILS(f_.db().Snapshots(kScope, "foo"), Code::kInvalidArgument,
               "snapshotter not loaded: foo: invalid argument");
  EXPECT_FAILS(snapshots_->Stat("nope"), Code::kNotFound,
               "snapshot nope does not exist: not found");
  EXPECT_FAILS(snapshots_->Remove("nope"), Code::kNotFound,
               "snapshot nope does not exist: not found");
  EXPECT_FAILS(snapshots_->Commit("c", "nope", {}), Code::kNotFound,
               "snapshot nope does not exist: not found");
  EXPECT_FAILS(snapshots_->Prepare("k", "nope", {}), Code::kNotFound,
               "parent snapshot nope does not exist: not found");
  ASSERT_OK(snapshots_->Prepare("k", "", {}));
  EXPECT_FAILS(snapshots_->Prepare("k", "", {}), Code::kAlreadyExists,
               "snapshot \"k\": already exists");
  EXPECT_TRUE(snapshots_->View("v", "k", {}).error().Is(Code::kInvalidArgument));
  ASSERT_OK(snapshots_->Commit("c", "k", {}));
  ASSERT_OK(snapshots_->Prepare("k2", "c", {}));
  EXPECT_FAILS(snapshots_->Commit("c", "k2", {}), Code::kAlreadyExists,
               "snapshot \"c\": already exists");
  EXPECT_FAILS(snapshots_->Remove("c"), Code::kFailedPrecondition,
               "cannot remove snapshot with child: failed precondition");
  EXPECT_TRUE(snapshots_->Mounts("c").error().Is(Code::kFailedPrecondition));
  ASSERT_OK(snapshots_->Remove("k2"));
  ASSERT_OK(snapshots_->Remove("c"));
}

TEST_F(ScopedSnapshotsTest, BackendSnapshotsGoAtTheNextCollection) {
  f_.PutSnapshot("a");
  f_.PutSnapshot("b", "a");
  ASSERT_OK(snapshots_->Remove("b"));
  ASSERT_OK(snapshots_->Remove("a"));
  EXPECT_EQ(f_.BackendSnapshots(), 2U);
  EXPECT_EQ(f_.Collect().freed_snapshots, 2U);
  EXPECT_EQ(f_.BackendSnapshots(), 0U);
  EXPECT_EQ(f_.snapshotter().cleanups(), 1);
  f_.Collect();
  EXPECT_EQ(f_.snapshotter().cleanups(), 1);  // nothing to clean
}

TEST_F(ScopedSnapshotsTest, OnlyInheritedLabelsReachTheBackend) {
  ASSERT_OK(snapshots_->Prepare("k", "", {{"a", "1"}, {"containerd.io/snapshot/x", "2"}}));
  EXPECT_EQ(f_.snapshotter().Stat("default/1/k")->labels,
            (model::Labels{{"containerd.io/snapshot/x", "2"}}));
  snapshot::Info info;
  info.name = "k";
  info.labels = {{"containerd.io/snapshot/x", "3"}, {"b", "4"}};
  EXPECT_EQ(snapshots_->Update(info, {"labels.containerd.io/snapshot/x", "labels.b"})->labels,
            (model::Labels{{"a", "1"}, {"b", "4"}, {"containerd.io/snapshot/x", "3"}}));
  EXPECT_EQ(f_.snapshotter().Stat("default/1/k")->labels,
            (model::Labels{{"containerd.io/snapshot/x", "3"}}));
  info.labels = {};
  EXPECT_TRUE(snapshots_->Update(info, {})->labels.empty());
  EXPECT_TRUE(snapshots_->Stat("k")->labels.empty());
  EXPECT_TRUE(snapshots_->Update(info, {"parent"}).error().Is(Code::kInvalidArgument));
}

TEST_F(ScopedSnapshotsTest, WalkFilters) {
  f_.PutSnapshot("base", "", {{"l", "1"}});
  ASSERT_OK(snapshots_->Prepare("k", "base", {}));
  ASSERT_OK(snapshots_->View("v", "base", {}));
  const auto names = [&](const snapshot::Filters& filters) {
    std::vector<std::string> out;
    EXPECT_TRUE(snapshots_
                    ->Walk(filters,
                           [&](const snapshot::Info& info) {
                             out.push_back(info.name);
                             return Ok();
                           })
                    .ok());
    return out;
  };
  EXPECT_THAT(names({}), ElementsAre("base", "k", "v"));
  EXPECT_THAT(names({"kind==active", "kind==committed,labels.l==1"}), ElementsAre("base", "k"));
  EXPECT_THAT(names({"parent==base,name!=k"}), ElementsAre("v"));
}

TEST_F(ScopedSnapshotsTest, LeasesFollowFromKeyToName) {
  f_.MakeLease("l");
  const auto leased = f_.Snapshots(In("default", "l"));
  ASSERT_OK(leased->Prepare("k", "", {}));
  EXPECT_EQ(Held("l"), (std::vector<LeaseResource>{{"k", "snapshots/overlayfs"}}));
  ASSERT_OK(leased->Commit("c", "k", {}));
  EXPECT_EQ(Held("l"), (std::vector<LeaseResource>{{"c", "snapshots/overlayfs"}}));
  ASSERT_OK(snapshots_->Prepare("other", "c", {}));
  EXPECT_TRUE(leased->Prepare("other", "", {}).error().Is(Code::kAlreadyExists));
  EXPECT_EQ(Held("l").size(), 2U);
  ASSERT_OK(leased->Remove("other"));
  EXPECT_EQ(Held("l").size(), 1U);
}

TEST_F(ScopedSnapshotsTest, EventsAreThoseOfTheApi) {
  ASSERT_OK(snapshots_->Prepare("k", "", {}));
  ASSERT_OK(snapshots_->Commit("c", "k", {}));
  ASSERT_OK(snapshots_->View("v", "c", {}));
  ASSERT_OK(snapshots_->Remove("v"));
  const std::vector<Change> changes = f_.TakeChanges();
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_EQ(changes[0].kind, Change::Kind::kSnapshotPrepare);
  EXPECT_EQ(changes[1].kind, Change::Kind::kSnapshotCommit);
  EXPECT_EQ(changes[1].snapshot_key, "k");
  EXPECT_EQ(changes[1].name, "c");
  EXPECT_EQ(changes[2].kind, Change::Kind::kSnapshotRemove);
  EXPECT_EQ(changes[2].snapshotter, "overlayfs");
}

TEST_F(ScopedSnapshotsTest, CommitSetsAParentOnlyWhereThereIsNone) {
  f_.PutSnapshot("base");
  f_.PutSnapshot("other");
  ASSERT_OK(snapshots_->Prepare("k1", "", {}));
  snapshot::Snapshotter::CommitOptions options;
  options.parent = "base";
  ASSERT_OK(snapshots_->Commit("c1", "k1", options));
  EXPECT_EQ(snapshots_->Stat("c1")->parent, "base");
  EXPECT_TRUE(snapshots_->Remove("base").error().Is(Code::kFailedPrecondition));
  ASSERT_OK(snapshots_->Prepare("k2", "other", {}));
  ASSERT_OK(snapshots_->Commit("c2", "k2", options));
  EXPECT_EQ(snapshots_->Stat("c2")->parent, "other");
}

TEST_F(ScopedSnapshotsTest, TargetInTheDatabaseIsLeased) {
  f_.PutSnapshot("chain");
  f_.MakeLease("l");
  EXPECT_FAILS(
      f_.Snapshots(In("default", "l"))->Prepare("k", "", {{"containerd.io/snapshot.ref", "chain"}}),
      Code::kAlreadyExists, "target snapshot \"chain\": already exists");
  EXPECT_EQ(Held("l"), (std::vector<LeaseResource>{{"chain", "snapshots/overlayfs"}}));
}

TEST_F(ScopedSnapshotsTest, TargetInTheBackendIsAdopted) {
  // As a remote snapshotter: it has the layer ready and says so.
  hooked_.prepare = [&](const std::string& key, const std::string& parent,
                        const model::Labels& labels) -> Status {
    if (!labels.contains("containerd.io/snapshot.ref")) return Ok();
    TRY(f_.snapshotter().Prepare(key, parent, labels));
    snapshot::Snapshotter::CommitOptions options;
    options.labels = labels;
    TRY(f_.snapshotter().Commit("remote-" + labels.at("containerd.io/snapshot.ref"), key, options));
    return AlreadyExistsError("target");
  };
  EXPECT_FAILS(
      snapshots_->Prepare("k", "", {{"containerd.io/snapshot.ref", "chain"}, {"mine", "1"}}),
      Code::kAlreadyExists, "target snapshot \"chain\": already exists");
  EXPECT_EQ(snapshots_->Stat("chain")->labels.at("mine"), "1");
  EXPECT_EQ(snapshots_->Stat("chain")->kind, snapshot::Kind::kCommitted);
  EXPECT_TRUE(snapshots_->Stat("k").error().Is(Code::kNotFound));
  hooked_.prepare = [](const std::string&, const std::string&, const model::Labels&) -> Status {
    return AlreadyExistsError("x");
  };
  EXPECT_FAILS(snapshots_->Prepare("k2", "", {{"containerd.io/snapshot.ref", "lost"}}),
               Code::kNotFound, "target snapshot \"lost\" in backend: not found");
  EXPECT_TRUE(snapshots_->Prepare("k3", "", {}).error().Is(Code::kUnknown));
}

TEST_F(ScopedSnapshotsTest, GarbageOfACrashDoesNotBlockTheKey) {
  ASSERT_OK(f_.snapshotter().Prepare("default/1/k", "", {}));  // made, and killed before the row
  ASSERT_OK(snapshots_->Prepare("k", "", {}));
  EXPECT_EQ(f_.BackendSnapshots(), 2U);
  EXPECT_EQ(f_.Collect().removed_snapshots, 1U);  // nothing holds k
  EXPECT_EQ(f_.BackendSnapshots(), 0U);
}

TEST_F(ScopedSnapshotsTest, CrashBeforeTheBackendsCommitLeavesTheKeyAsBefore) {
  ASSERT_OK(snapshots_->Prepare("k", "", {}));
  const std::string copy = f_.dir().Path("copy");
  hooked_.before_commit = [&]() -> Status {
    CopyFiles(copy);  // what the disk holds if we are killed here
    return InternalError("killed");
  };
  EXPECT_FALSE(snapshots_->Commit("c", "k", {}).ok());
  const auto after = std::move(Database::Open(f_.MakeOptions(copy + "/meta.db"))).value();
  const auto snapshots = std::move(after->Snapshots(kScope, "overlayfs")).value();
  EXPECT_EQ(snapshots->Stat("k")->kind, snapshot::Kind::kActive);
  EXPECT_TRUE(snapshots->Stat("c").error().Is(Code::kNotFound));
  hooked_.before_commit = nullptr;
  ASSERT_OK(snapshots->Commit("c", "k", {}));
}

TEST_F(ScopedSnapshotsTest, CrashAfterTheBackendsCommitLeavesTheNameAsAfter) {
  f_.MakeLease("l");
  f_.PutSnapshot("base");
  const auto leased = f_.Snapshots(In("default", "l"));
  ASSERT_OK(leased->Prepare("k", "base", {}));
  const std::string copy = f_.dir().Path("copy");
  hooked_.after_commit = [&]() -> Status {
    CopyFiles(copy);
    return Ok();
  };
  snapshot::Snapshotter::CommitOptions options;
  options.labels = {{"a", "1"}};
  ASSERT_OK(leased->Commit("c", "k", options));
  for (const bool away : {false, true}) {
    hooked_.away = away;  // at the start; it is settled at the first use then
    const std::string path = copy + (away ? "/away" : "/here");
    std::filesystem::create_directory(path);
    for (const char* file : {"/meta.db", "/meta.db.intents"})
      std::filesystem::copy_file(copy + file, path + file);
    const auto after = std::move(Database::Open(f_.MakeOptions(path + "/meta.db"))).value();
    const auto snapshots = std::move(after->Snapshots(kScope, "overlayfs")).value();
    if (away) {
      EXPECT_TRUE(snapshots->Stat("c").error().Is(Code::kUnavailable));
    }
    hooked_.away = false;
    EXPECT_EQ(snapshots->Stat("c")->kind, snapshot::Kind::kCommitted);
    EXPECT_EQ(snapshots->Stat("c")->labels, options.labels);
    EXPECT_EQ(snapshots->Stat("c")->parent, "base");
    EXPECT_TRUE(snapshots->Stat("k").error().Is(Code::kNotFound));
    EXPECT_EQ(after->leases().ListResources(kDefault, model::LeaseId("l")).value(),
              (std::vector<LeaseResource>{{"c", "snapshots/overlayfs"}}));
    EXPECT_TRUE(snapshots->Remove("base").error().Is(Code::kFailedPrecondition));
  }
}

TEST_F(ScopedSnapshotsTest, ManyCallersOfOneKeyMakeOneSnapshot) {
  std::atomic<int> made = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto mine = f_.Snapshots();
      const auto prepared = mine->Prepare("k", "", {});
      EXPECT_TRUE(prepared.ok() || prepared.error().Is(Code::kAlreadyExists));
      made += prepared.ok() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
  EXPECT_EQ(f_.BackendSnapshots(), 1U);
}

}  // namespace
}  // namespace corten::metadata
