// A database over a content store and a snapshotter in memory, with a clock that the test moves.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/hash.h"
#include "content/fake_store.h"
#include "metadata/db/database.h"
#include "metadata/db/test_database.h"
#include "snapshot/fake_snapshotter.h"

namespace corten::metadata {

inline model::Digest DigestOf(std::string_view data) {
  Hasher hasher = Hasher::Create("sha256").value();
  hasher.Update(data);
  return model::Digest::Parse(hasher.Digest()).value();
}

class DatabaseFixture {
 public:
  explicit DatabaseFixture(ContentSharing sharing = ContentSharing::kShared) : sharing_(sharing) {
    Open();
  }
  ~DatabaseFixture() { Close(); }
  DatabaseFixture(const DatabaseFixture&) = delete;
  DatabaseFixture& operator=(const DatabaseFixture&) = delete;

  void Open() {
    Close();
    commits_ = std::make_unique<Executor>("commits", Executor::Limits{.threads = 2, .queue = 64});
    db_ = std::move(Database::Open(MakeOptions(dir_.Path("meta.db")))).value();
  }
  DatabaseOptions MakeOptions(const std::string& path) {
    DatabaseOptions options;
    options.path = path;
    options.content = &store_;
    options.snapshotters = {{"overlayfs", driver_}};
    options.sharing = sharing_;
    options.clock = [this] { return clock_.Now(); };
    options.observer = [this](const Change& change) {
      const std::lock_guard lock(mutex_);
      changes_.push_back(change);
    };
    options.no_sync = true;
    options.runner = [this](std::function<void()> commit) {
      return commits_ != nullptr && commits_->Submit(std::move(commit)).ok();
    };
    return options;
  }

  Database& db() { return *db_; }
  content::FakeStore& store() { return store_; }
  snapshot::FakeSnapshotter& snapshotter() { return snapshotter_; }
  TickingClock& clock() { return clock_; }
  TestDir& dir() { return dir_; }
  // Has the database use another driver from the next Open on.
  void SetDriver(snapshot::Snapshotter* driver) { driver_ = driver; }
  void Close() {
    if (commits_ != nullptr) commits_->Close();  // what runs there refers to the database
    db_.reset();
    commits_.reset();
  }
  std::vector<Change> TakeChanges() {
    const std::lock_guard lock(mutex_);
    return std::exchange(changes_, {});
  }

  std::unique_ptr<snapshot::Snapshotter> Snapshots(const model::Scope& scope = kScope) {
    return std::move(db_->Snapshots(scope, "overlayfs")).value();
  }
  void MakeLease(const std::string& id, const model::Labels& labels = {},
                 const std::string& ns = "default") {
    ASSERT_OK(db_->leases().Create(model::Namespace(ns), {model::LeaseId(id), {}, labels}));
  }
  // Writes a blob with labels; returns its digest.
  model::Digest Put(const std::string& data, const model::Labels& labels = {},
                    const model::Scope& scope = kScope) {
    const std::unique_ptr<content::Store> content = db_->Content(scope);
    auto writer = std::move(content->OpenWriter({"put-" + data, {}, 0})).value();
    EXPECT_TRUE(writer->Truncate(0).ok());
    EXPECT_TRUE(writer->Write(data).ok());
    const auto done = writer->Commit({static_cast<int64_t>(data.size()), {}, labels});
    EXPECT_TRUE(done.ok() || done.error().Is(Code::kAlreadyExists)) << done.error().text();
    return DigestOf(data);
  }
  // A committed snapshot.
  void PutSnapshot(const std::string& name, const std::string& parent = "",
                   const model::Labels& labels = {}, const model::Scope& scope = kScope) {
    const auto snapshots = Snapshots(scope);
    ASSERT_OK(snapshots->Prepare("active-" + name, parent, {}));
    snapshot::Snapshotter::CommitOptions options;
    options.labels = labels;
    ASSERT_OK(snapshots->Commit(name, "active-" + name, options));
  }
  bool Has(const model::Digest& digest, const std::string& ns = "default") {
    return db_->Content(In(ns))->GetInfo(digest).ok();
  }
  bool HasSnapshot(const std::string& key, const std::string& ns = "default") {
    return Snapshots(In(ns))->Stat(key).ok();
  }
  bool HasImage(const std::string& name) { return db_->images().Get(kDefault, name).ok(); }
  size_t BackendSnapshots() {
    size_t count = 0;
    EXPECT_TRUE(snapshotter_
                    .Walk({},
                          [&](const snapshot::Info&) {
                            ++count;
                            return Ok();
                          })
                    .ok());
    return count;
  }
  size_t BackendBlobs() {
    size_t count = 0;
    EXPECT_TRUE(store_
                    .Walk({},
                          [&](const content::Info&) {
                            ++count;
                            return Ok();
                          })
                    .ok());
    return count;
  }
  GcStats Collect(const GcOptions& options = {}) {
    Result<GcStats> stats = db_->CollectGarbage(options);
    EXPECT_TRUE(stats.ok()) << stats.error().text();
    EXPECT_TRUE(stats->trouble.empty()) << stats->trouble.begin()->second;
    return std::move(*stats);
  }

 private:
  const ContentSharing sharing_;
  TestDir dir_;
  TickingClock clock_;
  content::FakeStore store_;
  snapshot::FakeSnapshotter snapshotter_;
  snapshot::Snapshotter* driver_ = &snapshotter_;
  std::mutex mutex_;  // guards changes_
  std::vector<Change> changes_;
  std::unique_ptr<Executor> commits_;
  std::unique_ptr<Database> db_;
};

}  // namespace corten::metadata
