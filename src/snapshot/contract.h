// The contract suites of snapshot::Snapshotter: what snapshot/snapshotter.h says, as tests that
// every implementation passes.
//
// SnapshotterContract needs no rights. SnapshotterMountContract (contract_mounts.h) really mounts
// what drivers answer. A test file includes this header and instantiates:
//   INSTANTIATE_TEST_SUITE_P(Overlay, SnapshotterContract, ::testing::Values(SnapshotterCase{...}),
//   SnapshotterCaseName);
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "snapshot/snapshotter.h"

namespace corten::snapshot {

// An empty snapshotter and whatever must live as long as it does.
class SnapshotterHarness {
 public:
  virtual ~SnapshotterHarness() = default;
  virtual Snapshotter& snapshotter() = 0;
};

struct SnapshotterCase {
  std::string name;  // letters and digits
  std::function<std::unique_ptr<SnapshotterHarness>()> make;
  bool rebase = true;  // Commit may set the parent
  bool second_parent_ignored =
      false;  // by the metadata layer, as containerd's does: no kInvalidArgument
};

inline void PrintTo(const SnapshotterCase& snapshotter_case, std::ostream* out) {
  *out << snapshotter_case.name;
}
inline std::string SnapshotterCaseName(const ::testing::TestParamInfo<SnapshotterCase>& info) {
  return info.param.name;
}

class SnapshotterContract : public ::testing::TestWithParam<SnapshotterCase> {
 protected:
  using Mounts = std::vector<model::Mount>;

  void SetUp() override {
    harness_ = GetParam().make();
    ASSERT_NE(harness_, nullptr);
  }

  Snapshotter& snapshotter() { return harness_->snapshotter(); }

  Mounts MustPrepare(const std::string& key, const std::string& parent = "",
                     const model::Labels& labels = {}) {
    Result<Mounts> mounts = snapshotter().Prepare(key, parent, labels);
    EXPECT_TRUE(mounts.ok()) << key << ": " << (mounts.ok() ? "" : mounts.error().text());
    return mounts.ok() ? std::move(mounts).value() : Mounts();
  }
  Mounts MustView(const std::string& key, const std::string& parent) {
    Result<Mounts> mounts = snapshotter().View(key, parent, {});
    EXPECT_TRUE(mounts.ok()) << key << ": " << (mounts.ok() ? "" : mounts.error().text());
    return mounts.ok() ? std::move(mounts).value() : Mounts();
  }
  void MustCommit(const std::string& name, const std::string& key,
                  const Snapshotter::CommitOptions& options = {}) {
    const Status committed = snapshotter().Commit(name, key, options);
    EXPECT_TRUE(committed.ok()) << name << ": " << (committed.ok() ? "" : committed.error().text());
  }
  // A committed, empty layer.
  void MustAddLayer(const std::string& name, const std::string& parent = "") {
    MustPrepare("making " + name, parent);
    MustCommit(name, "making " + name);
  }
  std::vector<std::string> Names(const Filters& filters = {}) {
    std::vector<std::string> names;
    const Status walked = snapshotter().Walk(filters, [&](const Info& info) {
      names.push_back(info.name);
      return Ok();
    });
    EXPECT_TRUE(walked.ok()) << (walked.ok() ? "" : walked.error().text());
    return names;
  }

  static Code CodeOf(const Status& status) {
    return status.ok() ? Code::kOk : status.error().code();
  }
  template <typename T>
  static Code CodeOf(const Result<T>& result) {
    return result.ok() ? Code::kOk : result.error().code();
  }

 private:
  std::unique_ptr<SnapshotterHarness> harness_;
};

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SnapshotterContract);

TEST_P(SnapshotterContract, APreparedSnapshotIsActive) {
  const Mounts mounts = MustPrepare("a", "", {{"containerd.io/snapshot/k", "v"}});
  ASSERT_FALSE(mounts.empty());
  const Result<Info> info = snapshotter().Stat("a");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->kind, Kind::kActive);
  EXPECT_EQ(info->name, "a");
  EXPECT_EQ(info->parent, "");
  EXPECT_EQ(info->labels.at("containerd.io/snapshot/k"), "v");
  EXPECT_GT(info->created_at.seconds, 0);
  EXPECT_EQ(info->created_at, info->updated_at);
  EXPECT_EQ(snapshotter().Mounts("a").value(), mounts);
  EXPECT_EQ(snapshotter().Mounts("a").value(), mounts);
}

TEST_P(SnapshotterContract, AViewIsAView) {
  MustAddLayer("base");
  const Mounts mounts = MustView("v", "base");
  ASSERT_FALSE(mounts.empty());
  EXPECT_EQ(snapshotter().Stat("v")->kind, Kind::kView);
  EXPECT_EQ(snapshotter().Stat("v")->parent, "base");
  EXPECT_EQ(snapshotter().Mounts("v").value(), mounts);
  EXPECT_FALSE(MustView("empty", "").empty());
}

TEST_P(SnapshotterContract, AllKeysAndNamesAreOneSpace) {
  MustAddLayer("committed");
  MustPrepare("active");
  MustView("view", "committed");
  for (const char* key : {"committed", "active", "view"}) {
    EXPECT_EQ(CodeOf(snapshotter().Prepare(key, "", {})), Code::kAlreadyExists) << key;
    EXPECT_EQ(CodeOf(snapshotter().View(key, "committed", {})), Code::kAlreadyExists) << key;
    EXPECT_EQ(CodeOf(snapshotter().Commit(key, "active", {})), Code::kAlreadyExists) << key;
  }
  EXPECT_EQ(snapshotter().Stat("active")->kind, Kind::kActive);
}

TEST_P(SnapshotterContract, AParentMustBeCommitted) {
  MustAddLayer("base");
  MustPrepare("active", "base");
  MustView("view", "base");
  EXPECT_EQ(CodeOf(snapshotter().Prepare("x", "nobody", {})), Code::kNotFound);
  EXPECT_EQ(CodeOf(snapshotter().Prepare("x", "active", {})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(snapshotter().Prepare("x", "view", {})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(snapshotter().View("x", "active", {})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(snapshotter().Stat("x")), Code::kNotFound);
  EXPECT_EQ(Names(), (std::vector<std::string>{"active", "base", "view"}));
}

TEST_P(SnapshotterContract, WhatIsNotThereIsNotFound) {
  EXPECT_TRUE(Names().empty());
  EXPECT_EQ(CodeOf(snapshotter().Stat("x")), Code::kNotFound);
  EXPECT_EQ(CodeOf(snapshotter().Mounts("x")), Code::kNotFound);
  EXPECT_EQ(CodeOf(snapshotter().Commit("y", "x", {})), Code::kNotFound);
  EXPECT_EQ(CodeOf(snapshotter().Remove("x")), Code::kNotFound);
  EXPECT_EQ(CodeOf(snapshotter().GetUsage("x")), Code::kNotFound);
  Info info;
  info.name = "x";
  EXPECT_EQ(CodeOf(snapshotter().Update(info, {})), Code::kNotFound);
}

TEST_P(SnapshotterContract, CommitTurnsTheKeyIntoAName) {
  MustAddLayer("base");
  MustPrepare("key", "base", {{"containerd.io/snapshot/old", "1"}});
  MustCommit("name", "key", {{{"containerd.io/snapshot/new", "2"}}, ""});
  EXPECT_EQ(CodeOf(snapshotter().Stat("key")), Code::kNotFound);
  const Result<Info> info = snapshotter().Stat("name");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->kind, Kind::kCommitted);
  EXPECT_EQ(info->parent, "base");
  EXPECT_FALSE(info->labels.contains("containerd.io/snapshot/old"))
      << "labels of Prepare are replaced";
  EXPECT_EQ(info->labels.at("containerd.io/snapshot/new"), "2");
  EXPECT_EQ(CodeOf(snapshotter().Mounts("name")), Code::kFailedPrecondition);
  MustPrepare("key", "name");  // the key is free again
  EXPECT_EQ(snapshotter().Stat("key")->parent, "name");
}

TEST_P(SnapshotterContract, OnlyActiveSnapshotsAreCommitted) {
  MustAddLayer("base");
  MustView("view", "base");
  EXPECT_EQ(CodeOf(snapshotter().Commit("x", "view", {})), Code::kFailedPrecondition);
  EXPECT_EQ(CodeOf(snapshotter().Commit("x", "base", {})), Code::kFailedPrecondition);
  EXPECT_EQ(CodeOf(snapshotter().Stat("x")), Code::kNotFound);
}

TEST_P(SnapshotterContract, AParentIsKeptAsLongAsItHasChildren) {
  MustAddLayer("base");
  MustAddLayer("middle", "base");
  MustPrepare("active", "middle");
  MustView("view", "middle");
  for (const char* key : {"base", "middle"}) {
    const Status removed = snapshotter().Remove(key);
    EXPECT_EQ(CodeOf(removed), Code::kFailedPrecondition) << key;
    EXPECT_NE(removed.error().text().find("cannot remove snapshot with child"), std::string::npos)
        << removed.error().text();
  }
  ASSERT_TRUE(snapshotter().Remove("active").ok());
  EXPECT_EQ(CodeOf(snapshotter().Remove("middle")), Code::kFailedPrecondition);
  for (const char* key : {"view", "middle", "base"})
    EXPECT_TRUE(snapshotter().Remove(key).ok()) << key;
  EXPECT_TRUE(Names().empty());
  MustAddLayer("base");  // the name is free again
}

TEST_P(SnapshotterContract, ManyAreRemovedInTheirOrderAndEachIsAnsweredFor) {
  MustAddLayer("base");
  MustAddLayer("middle", "base");
  MustAddLayer("other");
  MustPrepare("active", "middle");
  MustPrepare("stays", "other");
  std::vector<std::string> keys = {"middle", "active", "nope", "middle", "other", "base", "base"};
  std::vector<Code> answers = {Code::kFailedPrecondition, Code::kOk, Code::kNotFound, Code::kOk,
                               Code::kFailedPrecondition, Code::kOk, Code::kNotFound};
  for (int i = 0; i < 200; ++i) {  // more than go into one change
    keys.push_back(StrCat("filler ", i));
    answers.push_back(Code::kOk);
    MustPrepare(keys.back());
  }
  const std::vector<Status> removed = snapshotter().RemoveMany(keys);
  ASSERT_EQ(removed.size(), keys.size());
  for (size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(CodeOf(removed[i]), answers[i]) << i;
  EXPECT_EQ(Names(), (std::vector<std::string>{"other", "stays"}));
  EXPECT_TRUE(snapshotter().RemoveMany({}).empty());
}

TEST_P(SnapshotterContract, UpdateChangesTheLabelsThatAreNamed) {
  MustPrepare("a", "", {{"containerd.io/snapshot/k", "v"}, {"containerd.io/snapshot/other", "1"}});
  Info change;
  change.name = "a";
  change.labels = {{"containerd.io/snapshot/k", "w"}, {"containerd.io/snapshot/unnamed", "x"}};
  const Result<Info> updated = snapshotter().Update(change, {"labels.containerd.io/snapshot/k"});
  ASSERT_TRUE(updated.ok()) << updated.error().text();
  EXPECT_EQ(updated->labels, (model::Labels{{"containerd.io/snapshot/k", "w"},
                                            {"containerd.io/snapshot/other", "1"}}));
  EXPECT_EQ(snapshotter().Stat("a")->labels, updated->labels);
  EXPECT_GE(updated->updated_at, updated->created_at);
  EXPECT_EQ(snapshotter().Update(change, {})->labels, change.labels);
  change.labels.clear();
  EXPECT_EQ(snapshotter().Update(change, {"labels.containerd.io/snapshot/k"})->labels,
            (model::Labels{{"containerd.io/snapshot/unnamed", "x"}}));
  EXPECT_EQ(CodeOf(snapshotter().Update(change, {"parent"})), Code::kInvalidArgument);
  change.labels = {{"k", std::string(4096, 'x')}};
  EXPECT_EQ(CodeOf(snapshotter().Update(change, {})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(snapshotter().Prepare("b", "", change.labels)), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(snapshotter().Stat("b")), Code::kNotFound);
}

TEST_P(SnapshotterContract, WalkGoesInOrderOfNamesAndTakesFilters) {
  MustAddLayer("layer b");
  MustAddLayer("layer a", "layer b");
  MustPrepare("container", "layer a", {{"containerd.io/snapshot/role", "upper"}});
  MustView("view", "layer b");
  EXPECT_EQ(Names(), (std::vector<std::string>{"container", "layer a", "layer b", "view"}));
  EXPECT_EQ(Names({"kind==committed"}), (std::vector<std::string>{"layer a", "layer b"}));
  EXPECT_EQ(Names({"kind==active", "kind==view"}), (std::vector<std::string>{"container", "view"}));
  EXPECT_EQ(Names({"parent==\"layer b\""}), (std::vector<std::string>{"layer a", "view"}));
  EXPECT_EQ(Names({"name~=^layer"}), (std::vector<std::string>{"layer a", "layer b"}));
  EXPECT_EQ(Names({"labels.\"containerd.io/snapshot/role\"==upper"}),
            (std::vector<std::string>{"container"}));
  const auto nothing = [](const Info&) { return Ok(); };
  EXPECT_EQ(CodeOf(snapshotter().Walk({"name==="}, nothing)), Code::kInvalidArgument);
  int seen = 0;
  const auto stop = [&](const Info&) -> Status {
    if (++seen == 2) return CanceledError("enough");
    return Ok();
  };
  EXPECT_EQ(CodeOf(snapshotter().Walk({}, stop)), Code::kCanceled);
  EXPECT_EQ(seen, 2);
}

TEST_P(SnapshotterContract, AVisitorMayUseTheSnapshotter) {
  MustPrepare("a");
  MustPrepare("b");
  ASSERT_TRUE(snapshotter()
                  .Walk({},
                        [&](const Info& info) -> Status {
                          EXPECT_TRUE(snapshotter().Stat(info.name).ok());
                          return snapshotter().Remove(info.name);
                        })
                  .ok());
  EXPECT_TRUE(Names().empty());
}

TEST_P(SnapshotterContract, AViewUsesNothing) {
  MustAddLayer("base");
  MustView("view", "base");
  EXPECT_EQ(snapshotter().GetUsage("view")->size, 0);
  EXPECT_EQ(snapshotter().GetUsage("view")->inodes, 0);
  EXPECT_TRUE(snapshotter().GetUsage("base").ok());
}

TEST_P(SnapshotterContract, CommitMaySetAParent) {
  MustPrepare("one");
  if (!GetParam().rebase) {
    MustAddLayer("base");
    EXPECT_EQ(CodeOf(snapshotter().Commit("x", "one", {{}, "base"})), Code::kUnimplemented);
    EXPECT_EQ(snapshotter().Stat("one")->kind, Kind::kActive);
    return;
  }
  MustPrepare("two");
  MustPrepare("three");
  MustCommit("layer 1", "one");
  MustCommit("layer 2", "two", {{}, "layer 1"});
  EXPECT_EQ(snapshotter().Stat("layer 2")->parent, "layer 1");
  EXPECT_EQ(CodeOf(snapshotter().Remove("layer 1")), Code::kFailedPrecondition);
  EXPECT_EQ(CodeOf(snapshotter().Commit("x", "three", {{}, "nobody"})), Code::kNotFound);
  MustPrepare("child", "layer 2");
  EXPECT_EQ(CodeOf(snapshotter().Commit("y", "three", {{}, "child"})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(snapshotter().Commit("x", "child", {{}, "layer 1"})),
            GetParam().second_parent_ignored ? Code::kOk : Code::kInvalidArgument);
  EXPECT_EQ(snapshotter().Stat("three")->kind, Kind::kActive);
}

}  // namespace corten::snapshot

#include "snapshot/contract_crowd.h"
