// Writers beside a collector that never rests: nothing live is lost, everything dead is freed in
// the end.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "metadata/db/test_fixture.h"

namespace corten::metadata {
namespace {

constexpr int kThreads = 100;
constexpr int kRounds = 8;
constexpr uint32_t kPool = 6;  // few blobs and chains, so that threads meet at them

std::string LayerText(uint32_t number) { return StrCat("layer ", number); }
std::string ManifestText(uint32_t number) { return StrCat("manifest ", number); }
model::Labels ManifestLabels(uint32_t number) {
  return {{"containerd.io/gc.ref.content.l.0", DigestOf(LayerText(number)).str()}};
}

class Worker {
 public:
  Worker(DatabaseFixture* fixture, int number)
      : f_(*fixture), number_(number), random_(static_cast<uint32_t>(number)) {}

  void Run() {
    for (int round = 0; round < kRounds; ++round) {
      id_ = StrCat("w", number_, "-", round);
      scope_ = In("default", id_);
      f_.MakeLease(id_);
      const auto number = static_cast<uint32_t>(random_() % kPool);
      switch (random_() % 3) {
        case 0:
          PullImage(number);
          break;
        case 1:
          FindManifest(number);
          break;
        default:
          RunContainer(number);
          break;
      }
      if (::testing::Test::HasFatalFailure()) return;
    }
  }

 private:
  Database& db() { return f_.db(); }
  void DropLease() { ASSERT_OK(db().leases().Delete(kDefault, model::LeaseId(id_), false)); }

  // As a client: ask for the blob, bring it if nobody has it.
  void Ensure(const std::string& text, const model::Labels& labels) {
    const auto content = db().Content(scope_);
    const model::Digest digest = DigestOf(text);
    auto writer =
        content->OpenWriter({StrCat(id_, text), digest, static_cast<int64_t>(text.size())});
    if (!writer.ok()) {
      ASSERT_TRUE(writer.error().Is(Code::kAlreadyExists)) << writer.error().text();
    } else {
      const content::IngestStatus status = (*writer)->GetStatus().value();
      if (status.offset == 0) {
        ASSERT_OK((*writer)->Write(text));
      }
      const auto done = (*writer)->Commit({static_cast<int64_t>(text.size()), digest, labels});
      ASSERT_TRUE(done.ok() || done.error().Is(Code::kAlreadyExists)) << done.error().text();
    }
    ExpectReadable(text);
  }
  void ExpectReadable(const std::string& text) {
    const auto content = db().Content(scope_);
    const Result<std::string> read = content::ReadBlob(*content, DigestOf(text), 100);
    ASSERT_TRUE(read.ok()) << text << ": " << read.error().text();
    ASSERT_EQ(*read, text);
  }

  void PullImage(uint32_t number) {
    ASSERT_NO_FATAL_FAILURE(Ensure(LayerText(number), {}));
    ASSERT_NO_FATAL_FAILURE(Ensure(ManifestText(number), ManifestLabels(number)));
    Image image = MakeImage(id_, DigestOf(ManifestText(number)));
    ASSERT_OK(db().images().Create(scope_, image, {}));
    DropLease();
    for (int i = 0; i < 3; ++i) {
      std::this_thread::yield();
      ASSERT_NO_FATAL_FAILURE(ExpectReadable(ManifestText(number)));
      ASSERT_NO_FATAL_FAILURE(ExpectReadable(LayerText(number)));
    }
    ASSERT_OK(db().images().Delete(In("default"), id_, {}));
  }

  // A manifest that is there and leased has its layer, even if all of it was about to be collected.
  void FindManifest(uint32_t number) {
    const std::string text = ManifestText(number);
    const auto writer = db().Content(scope_)->OpenWriter({StrCat(id_, text), DigestOf(text), 0});
    if (!writer.ok() && writer.error().Is(Code::kAlreadyExists)) {
      ASSERT_NO_FATAL_FAILURE(ExpectReadable(text));
      ASSERT_NO_FATAL_FAILURE(ExpectReadable(LayerText(number)));
    }
    DropLease();
  }

  void RunContainer(uint32_t number) {
    const auto snapshots = f_.Snapshots(scope_);
    const std::string base = StrCat("base", number % 2);
    const std::string chain = StrCat("chain", number);
    ASSERT_NO_FATAL_FAILURE(EnsureSnapshot(*snapshots, base, ""));
    ASSERT_NO_FATAL_FAILURE(EnsureSnapshot(*snapshots, chain, base));
    ASSERT_OK(snapshots->Prepare(id_, chain, {}));
    Container container = MakeContainer(id_);
    container.snapshotter = "overlayfs";
    container.snapshot_key = id_;
    ASSERT_OK(db().containers().Create(scope_, container));
    DropLease();
    for (const std::string& key : {id_, chain, base}) {
      const auto info = f_.Snapshots()->Stat(key);
      ASSERT_TRUE(info.ok()) << info.error().text();
    }
    ASSERT_OK(db().containers().Delete(In("default"), container.id));
  }
  // As an unpacker: until the layer is there and leased.
  void EnsureSnapshot(snapshot::Snapshotter& snapshots, const std::string& name,
                      const std::string& parent) {
    for (int attempt = 0; attempt < 100; ++attempt) {
      const std::string active = StrCat(id_, " for ", name, " ", attempt);
      const auto prepared =
          snapshots.Prepare(active, parent, {{"containerd.io/snapshot.ref", name}});
      if (!prepared.ok()) {
        ASSERT_TRUE(prepared.error().Is(Code::kAlreadyExists)) << prepared.error().text();
        return;  // leased by the call
      }
      const Status committed = snapshots.Commit(name, active, {});
      if (committed.ok()) return;
      // Somebody else made it; it may be collected again before the next attempt leases it.
      ASSERT_TRUE(committed.error().Is(Code::kAlreadyExists)) << committed.error().text();
    }
    FAIL() << name << " comes and goes";
  }

  DatabaseFixture& f_;
  const int number_;
  std::mt19937 random_;
  std::string id_;
  model::Scope scope_;
};

TEST(GcStress, NothingLiveIsLostAndEverythingDeadIsFreed) {
  DatabaseFixture f;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> runs = 0;
  std::thread collector([&] {
    uint64_t count = 0;
    while (!stop) {
      GcOptions options;
      options.batch_rows = 1 + count++ % 4;
      const Result<GcStats> stats = f.db().CollectGarbage(options);
      ASSERT_TRUE(stats.ok()) << stats.error().text();
      ++runs;
    }
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&f, i] { Worker(&f, i).Run(); });
  for (std::thread& thread : threads) thread.join();
  stop = true;
  collector.join();
  EXPECT_GT(runs, 1U);
  f.Collect();
  f.clock().Advance(48 * 3600);  // ingests of calls that found something else
  f.Collect();
  EXPECT_EQ(f.BackendBlobs(), 0U);
  EXPECT_EQ(f.BackendSnapshots(), 0U);
  EXPECT_TRUE(f.store().ListStatuses({})->empty());
  EXPECT_TRUE(f.db().leases().List(kDefault, {})->empty());
  ASSERT_OK(f.db().namespaces().Delete(kDefault));
}

}  // namespace
}  // namespace corten::metadata
