// The engine judged by real programs: bbolt's own check on every file we write, its compact as a
// writer for us to read, and containerd 2.3 writing, collecting and reading the same file in turns
// with us. Needs root, tests/peers/build.sh and tests/images/make.sh; tests/conformance/run.sh
// starts it. CORTEN_PEERS and CORTEN_IMAGES name the caches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/spawn.h"
#include "base/strcat.h"
#include "bolt/model.h"
#include "bolt/test_dir.h"

namespace corten::bolt {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr milliseconds kPatience{60000};

std::string Cache(const char* variable, const std::string& usual) {
  const char* set = std::getenv(variable);
  const char* home = std::getenv("HOME");
  return set != nullptr ? set : StrCat(home != nullptr ? home : "/root", "/.cache/corten/", usual);
}
std::string Peer(const std::string& name) {
  return StrCat(Cache("CORTEN_PEERS", "peers"), "/bin/", name);
}
std::string Image(const std::string& name) {
  return StrCat(Cache("CORTEN_IMAGES", "images"), "/small/", name);
}

SpawnOptions Program(std::vector<std::string> args) {
  SpawnOptions options;
  options.args = std::move(args);
  return options;
}

// The standard output of a program that must succeed.
std::string Output(const std::vector<std::string>& args) {
  const Result<RunOutput> run = RunProgram(Program(args), "", kPatience);
  if (!run.ok()) {
    ADD_FAILURE() << args[0] << ": " << run.error().text();
    return {};
  }
  std::string line;
  for (const std::string& arg : args) line += arg + " ";
  EXPECT_TRUE(run->status.ok()) << line << "\n" << run->out << run->err;
  return run->out;
}

void ExpectBboltAccepts(const std::string& path) {
  EXPECT_THAT(Output({Peer("bbolt"), "check", path}), HasSubstr("OK"));
}

// Every value by its path, buckets as `path/` with their sequence.
using Rows = std::map<std::string, std::string>;
Status Collect(const Bucket& bucket, const std::string& path, Rows* rows) {
  (*rows)[path] = StrCat("sequence ", bucket.Sequence());
  return bucket.ForEach([&](const Entry& entry) -> Status {
    const std::string at = StrCat(path, entry.key);
    if (!entry.is_bucket) {
      (*rows)[at] = entry.value;
      return Ok();
    }
    const Bucket child = TRY(bucket.GetBucket(entry.key));
    return Collect(child, at + "/", rows);
  });
}
Rows AllRows(Db& db) {
  Rows rows;
  EXPECT_STATUS(db.View([&](const Tx& tx) { return Collect(tx.Root(), "", &rows); }));
  return rows;
}

Result<Bucket> Down(Bucket bucket, const std::vector<std::string>& names) {
  for (const std::string& name : names) bucket = TRY(bucket.CreateBucketIfNotExists(name));
  return bucket;
}

Status CopyBucket(const Bucket& from, Bucket to) {
  return from.ForEach([&](const Entry& entry) -> Status {
    if (!entry.is_bucket) return to.Put(entry.key, entry.value);
    const Bucket child = TRY(from.GetBucket(entry.key));
    const Bucket copy = TRY(to.CreateBucket(entry.key));
    return CopyBucket(child, copy);
  });
}

// A containerd of its own: root, state and socket in `dir`.
class Containerd {
 public:
  explicit Containerd(const TestDir& dir) : dir_(dir) {
    std::ofstream(dir.File("config.toml"))
        << "version = 3\nroot = \"" << dir.File("root") << "\"\nstate = \"" << dir.File("state")
        << "\"\n"
        << "disabled_plugins = [\"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", "
           "\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\", "
           "\"io.containerd.nri.v1.nri\"]\n"
        << "[grpc]\naddress = \"" << Socket() << "\"\n[ttrpc]\naddress = \"" << Socket()
        << ".ttrpc\"\n";
  }
  std::string Socket() const { return dir_.File("c.sock"); }
  std::string MetaDb() const { return dir_.File("root/io.containerd.metadata.v1.bolt/meta.db"); }
  std::string SnapshotDb() const {
    return dir_.File("root/io.containerd.snapshotter.v1.overlayfs/metadata.db");
  }

  void Start() {
    child_ = Must(Spawn(Program({Peer("containerd"), "--config", dir_.File("config.toml")})));
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      // `ctr version` itself waits a while for the socket.
      const auto run = RunProgram(Program({Peer("ctr"), "-a", Socket(), "version"}), "", kPatience);
      if (run.ok() && run->status.ok()) return;
      ASSERT_FALSE(child_.WaitFor(milliseconds(50)).ok()) << "containerd has ended";
    }
    FAIL() << "containerd does not answer";
  }
  void Stop() {
    ASSERT_STATUS(child_.Kill(SIGTERM));
    EXPECT_TRUE(child_.WaitFor(kPatience).ok());
  }
  std::string Ctr(const std::vector<std::string>& args) const {
    std::vector<std::string> all{Peer("ctr"), "-a", Socket()};
    all.insert(all.end(), args.begin(), args.end());
    return Output(all);
  }

 private:
  const TestDir& dir_;
  Child child_;
};

std::string Numbered(int i) { return StrCat("n", 1000 + i); }

// What we write between containerd's two lives.
Status WriteOurs(Tx& tx) {
  Bucket v1 = TRY(tx.GetBucket("v1"));
  Bucket blue = TRY(Down(v1, {"blue", "labels"}));
  TRY(blue.Put("team", "changed"));
  Bucket green = TRY(Down(v1, {"green", "labels"}));
  TRY(green.Put("made-by", "corten"));
  // Enough to split pages, and to merge them again.
  for (int i = 0; i < 400; ++i) {
    Bucket labels = TRY(Down(v1, {Numbered(i), "labels"}));
    TRY(labels.Put("number", std::string(static_cast<size_t>(i), 'x')));
  }
  for (int i = 0; i < 400; ++i) {
    if (i % 4 != 0) TRY(v1.DeleteBucket(Numbered(i)));
  }
  Bucket images = TRY(Down(v1, {"default", "images"}));
  const Bucket original = TRY(images.GetBucket("corten.test/busybox:1"));
  const Bucket copy = TRY(images.CreateBucket("corten.test/copy:1"));
  return CopyBucket(original, copy);
}

void FirstLife(Containerd& containerd) {
  containerd.Start();
  containerd.Ctr({"namespaces", "create", "blue", "team=storage"});
  containerd.Ctr({"images", "import", "--local", Image("busybox.tar")});
  containerd.Ctr({"leases", "create", "--id", "l1", "x=y"});
  containerd.Stop();
}

void SecondLife(Containerd& containerd, const std::string& chain) {
  containerd.Start();
  const std::string namespaces = containerd.Ctr({"namespaces", "ls"});
  EXPECT_THAT(namespaces, HasSubstr("team=changed"));
  EXPECT_THAT(namespaces, HasSubstr("made-by=corten"));
  EXPECT_THAT(namespaces, HasSubstr(Numbered(396)));
  EXPECT_THAT(namespaces, Not(HasSubstr(Numbered(397))));
  EXPECT_THAT(containerd.Ctr({"images", "ls"}), HasSubstr("corten.test/copy:1"));
  containerd.Ctr({"images", "label", "corten.test/copy:1", "seen=yes"});
  for (int i = 0; i < 200; i += 4) containerd.Ctr({"namespaces", "rm", Numbered(i)});
  // A collection runs over our rows: the copy keeps content and snapshot alive.
  containerd.Ctr({"images", "rm", "--sync", "corten.test/busybox:1"});
  EXPECT_THAT(containerd.Ctr({"snapshots", "ls"}), HasSubstr(chain));
  containerd.Ctr({"snapshots", "prepare", "s1", chain});
  containerd.Stop();
}

// Between the lives: we read what containerd wrote, and write. Answers the chain id of the image's
// layers.
void WriteMeta(const std::string& path, std::string* chain_out) {
  std::string& chain = *chain_out;
  const auto db = MustOpen(path, {.mode = Mode::kExisting});
  ExpectSound(*db);
  const Rows before = AllRows(*db);
  EXPECT_EQ(before.at("v1/version"), "\x08");
  EXPECT_EQ(before.at("v1/blue/labels/team"), "storage");
  EXPECT_THAT(before.at("v1/default/images/corten.test/busybox:1/target/digest"),
              HasSubstr("sha256:"));
  for (const auto& [row, value] : before) {
    const std::string snapshots = "v1/default/snapshots/overlayfs/";
    if (row.starts_with(snapshots) && row.ends_with("/name")) {
      chain = row.substr(snapshots.size(), row.size() - snapshots.size() - 5);
    }
  }
  ASSERT_NE(chain, "");
  ASSERT_STATUS(db->Update(WriteOurs));
  ExpectAllPagesAccountedFor(*db);
  Rows after = AllRows(*db);
  EXPECT_EQ(after["v1/blue/labels/team"], "changed");
  after["v1/blue/labels/team"] = "storage";
  for (const auto& [row, value] : before) EXPECT_EQ(after[row], value) << row;
}

void WriteSnapshots(const std::string& path, const std::string& chain) {
  const auto db = MustOpen(path, {.mode = Mode::kExisting});
  const Rows before = AllRows(*db);
  ASSERT_STATUS(db->Update([&](Tx& tx) -> Status {
    Bucket labels =
        TRY(Down(tx.Root(), {"v1", "snapshots", StrCat("default/2/", chain), "labels"}));
    return labels.Put("containerd.io/snapshot/ours", "yes");
  }));
  ExpectAllPagesAccountedFor(*db);
  EXPECT_GE(AllRows(*db).size(), before.size() + 1);
}

TEST(Peers, ContainerdAndWeWriteTheSameFilesInTurns) {
  const TestDir dir;
  Containerd containerd(dir);
  ASSERT_NO_FATAL_FAILURE(FirstLife(containerd));
  std::string chain;
  ASSERT_NO_FATAL_FAILURE(WriteMeta(containerd.MetaDb(), &chain));
  ExpectBboltAccepts(containerd.MetaDb());
  ASSERT_NO_FATAL_FAILURE(WriteSnapshots(containerd.SnapshotDb(), chain));
  ExpectBboltAccepts(containerd.SnapshotDb());
  ASSERT_NO_FATAL_FAILURE(SecondLife(containerd, chain));
  ExpectBboltAccepts(containerd.MetaDb());
  {
    const auto db = MustOpen(containerd.MetaDb(), {.mode = Mode::kExisting});
    ExpectSound(*db);
    const Rows rows = AllRows(*db);
    EXPECT_EQ(rows.at("v1/default/images/corten.test/copy:1/labels/seen"), "yes");
    EXPECT_EQ(rows.at("v1/green/labels/made-by"), "corten");
    EXPECT_FALSE(rows.contains(StrCat("v1/", Numbered(196), "/")));
    EXPECT_EQ(rows.at(StrCat("v1/", Numbered(200), "/labels/number")), std::string(200, 'x'));
    EXPECT_EQ(rows.at("v1/default/snapshots/overlayfs/s1/parent"), chain);
    ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
      Bucket v1 = TRY(tx.GetBucket("v1"));
      for (int i = 200; i < 400; i += 4) TRY(v1.DeleteBucket(Numbered(i)));
      return Ok();
    }));
    ExpectAllPagesAccountedFor(*db);
  }
  ExpectBboltAccepts(containerd.MetaDb());
  // containerd stored a list of free pages there; we read past it.
  const auto db = MustOpen(containerd.SnapshotDb(), {.mode = Mode::kExisting});
  ExpectSound(*db);
  const Rows rows = AllRows(*db);
  EXPECT_EQ(
      rows.at(StrCat("v1/snapshots/default/2/", chain, "/labels/containerd.io/snapshot/ours")),
      "yes");
}

class BboltTest : public ::testing::TestWithParam<uint32_t> {};

// Random steps in several sessions; bbolt looks at the file after each, and now and then rewrites
// it for us to read.
TEST_P(BboltTest, AcceptsWhatRandomStepsWroteAndWritesWhatWeRead) {
  const uint32_t page_size = GetParam();
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const TestDir dir;
    std::string path = dir.File();
    ModelSteps steps(seed, {.max_keys = 800, .max_steps = 150});
    ModelBucket model;
    for (int session = 0; session < 12; ++session) {
      {
        const auto db = MustOpen(path, {.page_size = page_size});
        if (session % 2 == 0) EXPECT_STATUS(db->WaitForFreePages());
        for (int i = 0; i < 10; ++i)
          ASSERT_STATUS(db->Update([&](Tx& tx) { return steps.Take(tx, &model); }));
        ASSERT_STATUS(db->View([&](const Tx& tx) { return Compare(tx.Root(), model); }));
      }
      ExpectBboltAccepts(path);
      if (session % 4 != 3) continue;
      const std::string theirs = dir.File(StrCat("theirs-", session));
      Output({Peer("bbolt"), "compact", "-o", theirs, path});
      path = theirs;
      const auto db = MustOpen(path);  // what bbolt copied
      ExpectSound(*db);
      ASSERT_STATUS(db->View([&](const Tx& tx) { return Compare(tx.Root(), model); }));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(PageSizes, BboltTest, ::testing::Values(4096U, 1024U));

TEST(Bbolt, AcceptsANewFileAndOneWithHugeEntries) {
  const TestDir dir;
  {
    const auto db = MustOpen(dir.File());
  }
  ExpectBboltAccepts(dir.File());
  {
    const auto db = MustOpen(dir.File());
    ASSERT_STATUS(db->Update([](Tx& tx) -> Status {
      Bucket b = TRY(tx.CreateBucket("b"));
      for (size_t i = 1; i < 60; ++i) {
        TRY(b.Put(std::string(i * 550, static_cast<char>('a' + i % 26)),
                  std::string(i * 997, 'v')));
      }
      return b.Put("huge", std::string(size_t{20} << 20, 'h'));
    }));
    ExpectAllPagesAccountedFor(*db);
  }
  ExpectBboltAccepts(dir.File());
}

}  // namespace
}  // namespace corten::bolt
