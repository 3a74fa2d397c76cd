// Kills the journey of crash_journey.cc at every kill point it passes, and checks what is left (I2,
// I3).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <map>
#include <set>
#include <sstream>

#include "base/dir.h"
#include "base/hash.h"
#include "base/spawn.h"
#include "base/test_dir.h"
#include "content/local/crash_data.h"
#include "content/local/local_store.h"

extern char** environ;

namespace corten::content {
namespace {

constexpr std::chrono::seconds kJourneyTime{60};

class CrashTest : public ::testing::Test {
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

  // What the journey said it was promised and did not begin to delete.
  static std::set<std::string> Promised(const std::string& out) {
    std::set<std::string> promised;
    std::istringstream lines(out);
    std::string verb;
    std::string digest;
    while (lines >> verb >> digest) {
      if (verb == "committed") promised.insert(digest);
      if (verb == "deleting") promised.erase(digest);
    }
    return promised;
  }

  static void ExpectWholeBlobs(const Dir& root, std::set<std::string> promised) {
    const Dir blobs = root.OpenDir("blobs").value();
    const std::vector<std::string> algorithms = blobs.List().value();
    for (const std::string& algorithm : algorithms) {
      const Dir dir = blobs.OpenDir(algorithm).value();
      const std::vector<std::string> names = dir.List().value();
      for (const std::string& name : names) {
        Hasher hasher = Hasher::Create(algorithm).value();
        hasher.Update(dir.ReadFile(name, 1 << 24).value());
        EXPECT_EQ(hasher.Hex(), name) << "a blob is not whole (I3)";
        EXPECT_EQ(dir.Stat(name)->st_mode & 0333, 0u);
        promised.erase(StrCat(algorithm, ":", name));
      }
    }
    EXPECT_TRUE(promised.empty()) << "Commit had returned, but the blob is lost (I2): "
                                  << *promised.begin();
  }

  static void ExpectResumableIngests(const std::string& root) {
    const std::unique_ptr<LocalStore> store = LocalStore::Open(root).value();
    const Dir ingests = Dir::Open(StrCat(root, "/ingest")).value();
    const std::vector<IngestStatus> statuses = store->ListStatuses({}).value();
    EXPECT_EQ(ingests.List()->size(), statuses.size()) << "something was left that is no ingest";
    for (const IngestStatus& status : statuses) {
      const std::unique_ptr<Writer> writer = store->OpenWriter({status.ref, {}, 0}).value();
      const bool half = status.ref.starts_with("half") || status.ref == "aborted";
      const std::string data = half ? CrashData(kLargeCrashData, 9) : CrashData(kLargeCrashData, 2);
      ASSERT_LE(status.offset, static_cast<int64_t>(data.size()));
      EXPECT_EQ(writer->CurrentDigest()->str(),
                Sha256Digest(std::string_view(data).substr(0, static_cast<size_t>(status.offset))))
          << status.ref << " holds something else than a prefix of what was written";
    }
  }

  TestDir temp_;
};

TEST_F(CrashTest, KilledAnywhereBlobsAreWholeAndPromisesKept) {
  const std::map<std::string, int> passages = Passages();
  for (const char* point :
       {"content.commit.synced", "content.commit.renamed", "content.commit.published",
        "content.commit.done", "content.ingest.filled", "content.ingest.named",
        "content.ingest.unnamed", "content.delete.unlinked"}) {
    EXPECT_TRUE(passages.contains(point)) << point << " is not on the journey";
  }
  int kills = 0;
  for (const auto& [point, times] : passages) {
    for (int passage = 1; passage <= times; ++passage) {
      SCOPED_TRACE(StrCat(point, "@", passage));
      const std::string root = temp_.Path(StrCat("killed-", ++kills));
      const RunOutput killed = Run(root, StrCat("CORTEN_KILL_AT=", point, "@", passage));
      ASSERT_EQ(killed.status.signal, SIGKILL) << killed.err;
      ExpectWholeBlobs(Dir::Open(root).value(), Promised(killed.out));
      ExpectResumableIngests(root);
      const RunOutput again = Run(root, "");
      EXPECT_TRUE(again.status.ok()) << again.err;
      ExpectWholeBlobs(Dir::Open(root).value(), Promised(again.out));
    }
  }
  EXPECT_GE(kills, 20);
}

TEST_F(CrashTest, AFailedFlushPublishesNothingAndDropsTheIngest) {
  for (const int passage : {1, 2}) {  // a hidden and a named file
    const std::string root = temp_.Path(StrCat("flush-", passage));
    const RunOutput failed = Run(root, StrCat("CORTEN_FAIL_AT=content.commit.flush@", passage));
    EXPECT_EQ(failed.status.code, 1);
    EXPECT_NE(failed.err.find("flush"), std::string::npos) << failed.err;
    const std::set<std::string> promised = Promised(failed.out);
    EXPECT_EQ(promised.size(), static_cast<size_t>(passage - 1));
    ExpectWholeBlobs(Dir::Open(root).value(), promised);
    EXPECT_TRUE(Dir::Open(StrCat(root, "/ingest"))->List()->empty());
    EXPECT_TRUE(Run(root, "").status.ok());
  }
}

TEST_F(CrashTest, AFullDiskIsNamedAndKeepsTheIngest) {
  const std::string root = temp_.Path("full");
  const RunOutput failed = Run(root, "CORTEN_FAIL_AT=content.write.full@2");
  EXPECT_EQ(failed.status.code, 1);
  EXPECT_NE(failed.err.find(root), std::string::npos) << failed.err;
  EXPECT_NE(failed.err.find("no space left on device"), std::string::npos) << failed.err;
  EXPECT_NE(failed.err.find(" bytes free)"), std::string::npos) << failed.err;
  EXPECT_EQ(Dir::Open(StrCat(root, "/ingest"))->List()->size(), 1u);
  EXPECT_TRUE(Run(root, "").status.ok());
}

}  // namespace
}  // namespace corten::content
