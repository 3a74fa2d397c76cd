// Kills the journey of crash_journey.cc at every kill point it passes, and checks what is left (I1,
// I2).
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "base/spawn.h"
#include "base/test_dir.h"
#include "snapshot/meta_store.h"
#include "snapshot/overlay/overlay.h"

extern char** environ;

namespace corten::snapshot {
namespace {

constexpr std::chrono::seconds kJourneyTime{60};

class SnapshotCrashTest : public ::testing::Test {
 protected:
  RunOutput Run(const std::string& root, const std::string& setting) {
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

  struct Told {
    std::set<std::string> made;     // must be there
    std::set<std::string> removed;  // must not be there
  };
  static Told Promises(const std::string& out) {
    Told told;
    std::istringstream lines(out);
    std::string verb;
    std::string key;
    while (lines >> verb >> key) {
      if (verb == "made") told.made.insert(key);
      if (verb == "gone") told.made.erase(key);  // about to go: may or may not be there
      if (verb == "removed") told.removed.insert(key);
    }
    return told;
  }

  // Every row has its directory and promises are kept.
  static void ExpectRowsWithTrees(const std::string& root, Told told) {
    const std::unique_ptr<MetaStore> rows = MetaStore::Open(root + "/metadata.db").value();
    const Dir trees = Dir::Open(root + "/snapshots").value();
    ASSERT_TRUE(rows->Walk({},
                           [&](const Record& record) -> Status {
                             EXPECT_TRUE(trees.Exists(StrCat(record.id, "/fs")))
                                 << record.info.name << " has no tree (I1)";
                             if (record.info.kind == Kind::kCommitted) {
                               EXPECT_EQ(trees.ReadFile(StrCat(record.id, "/fs/file"), 100).value(),
                                         record.info.name);
                               EXPECT_GT(record.usage.size, 0);
                             }
                             told.made.erase(record.info.name);
                             EXPECT_FALSE(told.removed.contains(record.info.name))
                                 << record.info.name << " came back";
                             return Ok();
                           })
                    .ok());
    EXPECT_TRUE(told.made.empty()) << *told.made.begin() << " was promised and is lost (I2)";
  }

  // After Cleanup there is nothing that no row names.
  static void ExpectNoGarbage(const std::string& root) {
    {
      overlay::Config config;
      config.root = root;
      const std::unique_ptr<Driver> driver = overlay::Open(config).value();
      ASSERT_TRUE(driver->Cleanup().ok());
    }
    const std::unique_ptr<MetaStore> rows = MetaStore::Open(root + "/metadata.db").value();
    const std::set<uint64_t> ids = rows->Ids().value();
    const std::vector<std::string> listed = Dir::Open(root + "/snapshots")->List().value();
    std::set<std::string> names(listed.begin(), listed.end());
    for (const uint64_t id : ids) EXPECT_EQ(names.erase(StrCat(id)), 1u);
    EXPECT_TRUE(names.empty()) << *names.begin() << " is left (I4)";
  }

  TestDir temp_;
};

TEST_F(SnapshotCrashTest, KilledAnywhereRowsHaveTreesAndCleanupTakesTheRest) {
  const std::map<std::string, int> passages = Passages();
  for (const char* point :
       {"snapshot.prepare.filled", "snapshot.prepare.renamed", "snapshot.prepare.synced",
        "snapshot.prepare.done", "snapshot.commit.measured", "snapshot.commit.done",
        "snapshot.remove.unlisted", "snapshot.remove.done", "snapshot.tree.deleted"}) {
    EXPECT_TRUE(passages.contains(point)) << point << " is not on the journey";
  }
  int kills = 0;
  for (const auto& [point, times] : passages) {
    for (int passage = 1; passage <= times; ++passage) {
      SCOPED_TRACE(StrCat(point, "@", passage));
      const std::string root = temp_.Path(StrCat("killed-", ++kills));
      const RunOutput killed = Run(root, StrCat("CORTEN_KILL_AT=", point, "@", passage));
      ASSERT_EQ(killed.status.signal, SIGKILL) << killed.err;
      ExpectRowsWithTrees(root, Promises(killed.out));
      ExpectNoGarbage(root);
      const RunOutput again = Run(root, "");
      EXPECT_TRUE(again.status.ok()) << again.err;
      ExpectRowsWithTrees(root, {{"base", "middle", "top", "container"}, {"view"}});
      ExpectNoGarbage(root);
    }
  }
  EXPECT_GE(kills, 20);
}

}  // namespace
}  // namespace corten::snapshot
