// Kills the journey of crash_journey.cc at the kill points it passes, those of the engine and the
// backends too, and looks at what is left: all that was promised, no row without its bytes, and a
// second run gets to the end.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "base/spawn.h"
#include "base/test_dir.h"
#include "bolt/check.h"
#include "bolt/db.h"
#include "crash_backends.h"
#include "metadata/db/schema.h"

extern char** environ;

namespace corten::metadata {
namespace {

constexpr std::chrono::seconds kJourneyTime{60};
const model::Namespace kNs("default");

class MetadataCrashTest : public ::testing::Test {
 protected:
  static RunOutput Run(const std::string& root, const std::string& setting) {
    SpawnOptions options;
    options.args = {CORTEN_CRASH_JOURNEY, root};
    options.env.emplace();
    for (char** variable = environ; *variable != nullptr; ++variable)
      options.env->push_back(*variable);
    if (!setting.empty()) options.env->push_back(setting);
    return RunProgram(std::move(options), "", kJourneyTime).value();
  }

  // Each kill point with the number of times the journey passes it.
  std::map<std::string, int> Passages() {
    const std::string log = temp_.Path("passages");
    const RunOutput run = Run(temp_.Path("whole"), StrCat("CORTEN_FAILPOINT_LOG=", log));
    EXPECT_TRUE(run.status.ok()) << run.err;
    std::map<std::string, int> passages;
    std::istringstream lines(ReadFileAt(log, 1 << 20).value());
    for (std::string line; std::getline(lines, line);) ++passages[line];
    return passages;
  }

  // "kind name" that was told and of whose kind no end was told.
  static std::set<std::string> Promised(const std::string& out) {
    std::set<std::string> promised;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with('-')) {
        promised.insert(line);
        continue;
      }
      const std::string kind = line.substr(1);
      std::erase_if(promised, [&](const std::string& one) {
        return one == kind || one.starts_with(kind + " ");
      });
    }
    return promised;
  }

  static void ExpectPromises(Database& db, const std::set<std::string>& promised) {
    const auto snapshots = db.Snapshots({kNs, {}}, "overlayfs").value();
    for (const std::string& one : promised) {
      const std::string name = one.substr(one.find(' ') + 1);
      if (one.starts_with("blob ")) {
        EXPECT_TRUE(db.Content({kNs, {}})->OpenReader(model::Digest::Parse(name).value()).ok())
            << one;
      } else if (one.starts_with("snapshot ")) {
        const auto info = snapshots->Stat(name);
        ASSERT_TRUE(info.ok()) << one;
        EXPECT_EQ(info->labels, (model::Labels{{"layer", name}}));
        EXPECT_EQ(info->kind, snapshot::Kind::kCommitted);
      } else if (one == "image") {
        EXPECT_TRUE(db.images().Get(kNs, "image").ok());
      } else if (one == "container") {
        EXPECT_TRUE(db.containers().Get(kNs, model::ContainerId("c")).ok());
        EXPECT_TRUE(snapshots->Stat("rootfs").ok());
      } else if (one == "lease") {
        EXPECT_EQ(db.leases().List(kNs, {})->size(), 1U);
      }
    }
  }

  // I1: each row has its bytes, each snapshot row its backend snapshot and its parent.
  static void ExpectRowsHaveBytes(const std::string& root, const CrashBackends& backends) {
    const auto file = bolt::Db::Open(root + "/meta.db").value();
    const Status looked = file->View([&](const bolt::Tx& tx) -> Status {
      const bolt::CheckReport report = TRY(bolt::Check(tx));
      EXPECT_TRUE(report.problems.empty()) << report.problems.front();
      const MaybeBucket blobs = TRY(FindIn(tx, kNs, {key::kContent, key::kBlob}));
      if (blobs) {
        TRY(ForEachBucket(*blobs, [&](std::string_view digest, const bolt::Bucket& row) -> Status {
          const content::Info info =
              TRY(backends.store->GetInfo(model::Digest::Parse(digest).value()));
          const int64_t size = TRY(ReadNumber(row, key::kSize));
          EXPECT_EQ(info.size, size);
          return Ok();
        }));
      }
      const MaybeBucket rows = TRY(FindIn(tx, kNs, {key::kSnapshots, "overlayfs"}));
      if (!rows) return Ok();
      return ForEachBucket(*rows, [&](std::string_view key, const bolt::Bucket& row) -> Status {
        const std::string_view name = TRY(ReadBytes(row, key::kName));
        EXPECT_TRUE(backends.driver->Stat(std::string(name)).ok()) << key << " is " << name;
        const std::string_view parent = TRY(ReadBytes(row, key::kParent));
        if (!parent.empty()) TRY(rows->GetBucket(parent));
        return Ok();
      });
    });
    EXPECT_TRUE(looked.ok()) << looked.error().text();
  }

  static void ExpectNothingLeft(const CrashBackends& backends) {
    size_t left = 0;
    EXPECT_TRUE(backends.store->Walk({}, [&](const content::Info&) { return ++left, Ok(); }).ok());
    EXPECT_TRUE(
        backends.driver->Walk({}, [&](const snapshot::Info&) { return ++left, Ok(); }).ok());
    EXPECT_EQ(left, 0U);
  }

  // Commits that meet share a group, so one run may pass a point a little less often than another:
  // then the passage before is taken.
  void KillAt(const std::string& point, int passage) {
    const int fewest = passage == 1 ? 1 : passage - std::max(1, passage / 4);
    std::string root;
    RunOutput killed;
    for (bool reached = false; !reached; --passage) {
      const std::string where = StrCat(point, "@", passage);
      root = temp_.Path(StrCat("kill", ++kills_));
      killed = Run(root, StrCat("CORTEN_KILL_AT=", where));
      reached = killed.status.signal == SIGKILL;
      ASSERT_TRUE(reached || (killed.status.ok() && passage > fewest)) << where << killed.err;
    }
    SCOPED_TRACE(StrCat(point, "@", passage + 1));
    {
      const CrashBackends backends = OpenCrashBackends(root).value();
      // Opening finishes what was cut in two; only then every row has its bytes.
      {
        const auto db = backends.OpenDatabase(root).value();
        ExpectPromises(*db, Promised(killed.out));
      }
      ExpectRowsHaveBytes(root, backends);
    }
    const RunOutput again = Run(root, "");
    ASSERT_TRUE(again.status.ok()) << again.err;
    ExpectNothingLeft(OpenCrashBackends(root).value());
  }

  TestDir temp_;
  int kills_ = 0;
};

TEST_F(MetadataCrashTest, AKillAtAnyPointLosesNothingThatWasPromised) {
  const std::map<std::string, int> passages = Passages();
  for (const char* point :
       {"metadata.ingest.opened", "metadata.content.stored", "metadata.content.committed",
        "metadata.snapshot.prepared", "metadata.snapshot.intent", "metadata.snapshot.committed",
        "metadata.snapshot.row", "metadata.gc.marked", "metadata.gc.batch", "metadata.gc.blob",
        "metadata.gc.snapshot"}) {
    EXPECT_TRUE(passages.contains(point)) << point << " is not passed";
  }
  for (const auto& [point, count] : passages) {
    std::set<int> chosen = {1, count};
    if (point.starts_with("metadata.")) {
      for (int passage = 2; passage < count; ++passage) chosen.insert(passage);
    } else {
      chosen.insert((count + 1) / 2);
    }
    for (const int passage : chosen) KillAt(point, passage);
  }
}

}  // namespace
}  // namespace corten::metadata
