// The database judged by the real containerd: each reads, changes and collects what the other
// wrote, in turns, and bbolt checks the file after every turn. Needs root, tests/peers/build.sh and
// tests/images/make.sh; tests/conformance/run.sh starts it. CORTEN_PEERS and CORTEN_IMAGES name the
// caches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>

#include "base/spawn.h"
#include "base/test_dir.h"
#include "bolt/db.h"
#include "content/local/local_store.h"
#include "metadata/db/database.h"
#include "metadata/db/schema.h"
#include "snapshot/overlay/overlay.h"

namespace corten::metadata {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr milliseconds kPatience{60000};
const model::Namespace kNs("default");
const model::Scope kScope{kNs, model::LeaseId()};
constexpr char kImage[] = "corten.test/busybox:1";

std::string Cache(const char* variable, const std::string& usual) {
  const char* set = std::getenv(variable);
  const char* home = std::getenv("HOME");
  return set != nullptr ? set : StrCat(home != nullptr ? home : "/root", "/.cache/corten/", usual);
}
std::string Peer(const std::string& name) {
  return StrCat(Cache("CORTEN_PEERS", "peers"), "/bin/", name);
}

SpawnOptions Program(std::vector<std::string> args) {
  SpawnOptions options;
  options.args = std::move(args);
  return options;
}

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

void MustBeOk(const Status& status) { ASSERT_TRUE(status.ok()) << status.error().text(); }
template <typename T>
T Must(Result<T> result) {
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().text());
  return std::move(result).value();
}

// Every value by its path.
using Rows = std::map<std::string, std::string>;
Status CollectRows(const bolt::Bucket& bucket, const std::string& path, Rows* rows) {
  return bucket.ForEach([&](const bolt::Entry& entry) -> Status {
    const std::string at = StrCat(path, "/", entry.key);
    (*rows)[at] = entry.value;
    if (!entry.is_bucket) return Ok();
    const bolt::Bucket child = TRY(bucket.GetBucket(entry.key));
    return CollectRows(child, at, rows);
  });
}

// A machine whose root is used by containerd and by us in turns.
class PeersTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) { return dir_.Path(name); }
  std::string MetaDb() { return Path("root/io.containerd.metadata.v1.bolt/meta.db"); }

  void StartContainerd() {
    std::ofstream(Path("config.toml"))
        << "version = 3\nroot = \"" << Path("root") << "\"\nstate = \"" << Path("state") << "\"\n"
        << "disabled_plugins = [\"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", "
           "\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\", "
           "\"io.containerd.nri.v1.nri\"]\n"
        << "[grpc]\naddress = \"" << Path("c.sock") << "\"\n[ttrpc]\naddress = \""
        << Path("c.sock.ttrpc") << "\"\n";
    child_ = Must(Spawn(Program({Peer("containerd"), "--config", Path("config.toml")})));
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto run =
          RunProgram(Program({Peer("ctr"), "-a", Path("c.sock"), "version"}), "", kPatience);
      if (run.ok() && run->status.ok()) return;
      ASSERT_FALSE(child_.WaitFor(milliseconds(50)).ok()) << "containerd has ended";
    }
    FAIL() << "containerd does not answer";
  }
  void StopContainerd() {
    MustBeOk(child_.Kill(SIGTERM));
    EXPECT_TRUE(child_.WaitFor(kPatience).ok());
    ExpectBboltAccepts();
  }
  std::string Ctr(const std::vector<std::string>& args) {
    std::vector<std::string> all{Peer("ctr"), "-a", Path("c.sock")};
    all.insert(all.end(), args.begin(), args.end());
    return Output(all);
  }
  void ExpectBboltAccepts() {
    EXPECT_THAT(Output({Peer("bbolt"), "check", MetaDb()}), HasSubstr("OK"));
  }

  void OpenOurs() {
    store_ = Must(content::LocalStore::Open(Path("root/io.containerd.content.v1.content")));
    snapshot::overlay::Config overlay;
    overlay.root = Path("root/io.containerd.snapshotter.v1.overlayfs");
    driver_ = Must(snapshot::overlay::Open(overlay));
    DatabaseOptions options;
    options.path = MetaDb();
    options.content = store_.get();
    options.snapshotters = {{"overlayfs", driver_.get()}};
    db_ = Must(Database::Open(std::move(options)));
  }
  void CloseOurs() {
    db_.reset();
    driver_.reset();
    store_.reset();
    ExpectBboltAccepts();
  }
  Rows AllRows() {
    Rows rows;
    const auto file = Must(bolt::Db::Open(MetaDb()));
    MustBeOk(file->View([&](const bolt::Tx& tx) { return CollectRows(tx.Root(), "", &rows); }));
    return rows;
  }
  std::unique_ptr<snapshot::Snapshotter> Snapshots() {
    return Must(db_->Snapshots(kScope, "overlayfs"));
  }

  TestDir dir_;
  Child child_;
  std::unique_ptr<content::LocalStore> store_;
  std::unique_ptr<snapshot::Driver> driver_;
  std::unique_ptr<Database> db_;

  void ContainerdWrites();
  void WeReadAndWrite();
  void ContainerdReadsAndCollects();
  void WeCollect();
  std::string chain_;
};

void PeersTest::ContainerdWrites() {
  StartContainerd();
  Ctr({"namespaces", "create", "blue", "team=storage"});
  Ctr({"images", "import", "--local",
       StrCat(Cache("CORTEN_IMAGES", "images"), "/small/busybox.tar")});
  Ctr({"containers", "create", kImage, "c1"});
  Ctr({"containers", "label", "c1", "made=by-containerd"});
  Ctr({"leases", "create", "--id", "l1", "x=y"});
  Ctr({"leases", "create", "--id",
       "sweep"});  // its synchronous end makes containerd collect before it is stopped
  Ctr({"leases", "rm", "--sync", "sweep"});
  StopContainerd();
}

void PeersTest::WeReadAndWrite() {
  const Rows before = AllRows();
  OpenOurs();
  EXPECT_EQ(Must(db_->namespaces().GetLabels(model::Namespace("blue"))),
            (model::Labels{{"team", "storage"}}));
  const Image image = Must(db_->images().Get(kNs, kImage));
  EXPECT_EQ(Must(content::ReadBlob(*db_->Content(kScope), image.target.digest, 1 << 20)).size(),
            static_cast<size_t>(image.target.size));
  const Container theirs = Must(db_->containers().Get(kNs, model::ContainerId("c1")));
  EXPECT_EQ(theirs.labels.at("made"), "by-containerd");
  ASSERT_TRUE(theirs.spec.has_value());
  EXPECT_EQ(theirs.spec->type_url, "types.containerd.io/opencontainers/runtime-spec/1/Spec");
  const snapshot::Info rootfs = Must(Snapshots()->Stat(theirs.snapshot_key));
  EXPECT_EQ(rootfs.kind, snapshot::Kind::kActive);
  chain_ = rootfs.parent;
  EXPECT_EQ(Must(Snapshots()->Stat(chain_)).kind, snapshot::Kind::kCommitted);
  const GcStats nothing =
      Must(db_->CollectGarbage());  // containerd has just collected, and all is referred to
  EXPECT_EQ(nothing.removed_content + nothing.removed_snapshots + nothing.removed_images +
                nothing.removed_leases,
            0U);

  Container ours = theirs;
  ours.id = model::ContainerId("c2");
  ours.snapshot_key = "c2";
  MustBeOk(Snapshots()->Prepare("c2", chain_, {}).ok() ? Ok() : UnknownError("prepare"));
  Must(db_->containers().Create(kScope, ours));
  MustBeOk(Snapshots()->Prepare("layer-active", chain_, {}).ok() ? Ok() : UnknownError("prepare"));
  snapshot::Snapshotter::CommitOptions rooted;
  rooted.labels = {{"containerd.io/gc.root", "kept"}};
  MustBeOk(Snapshots()->Commit("our-layer", "layer-active", rooted));
  model::Descriptor none;
  MustBeOk(content::WriteBlob(*db_->Content(kScope), "r", "our blob", none,
                              {{"containerd.io/gc.root", "kept"}}));
  Must(db_->leases().Create(kNs, {model::LeaseId("l2"), {}, {{"a", "b"}}}));
  {
    const auto leased = db_->Content({kNs, model::LeaseId("l2")});
    MustBeOk(content::WriteBlob(*leased, "leased", "leased blob", none, {}));
    const auto writer = Must(leased->OpenWriter({"unfinished", {}, 100}));
    MustBeOk(writer->Write("half"));
  }
  Sandbox sandbox;
  sandbox.id = model::SandboxId("pod1");
  sandbox.runtime.name = "io.containerd.runc.v2";
  sandbox.sandboxer = "podsandbox";
  Must(db_->sandboxes().Create(kNs, sandbox));
  Must(db_->namespaces().Update(model::Namespace("green"), {{"made-by", "us"}}, {}));
  CloseOurs();

  const Rows after = AllRows();
  const std::string children = StrCat("/v1/default/snapshots/overlayfs/", chain_, "/children");
  for (const auto& [row, value] : before)
    EXPECT_EQ(after.at(row), value) << row;  // nothing of theirs has changed
  // The same object has the same rows, whoever writes it.
  for (const auto& [row, value] : before) {
    const std::string prefix = "/v1/default/containers/c1";
    if (row.starts_with(prefix)) {
      EXPECT_TRUE(after.contains("/v1/default/containers/c2" + row.substr(prefix.size()))) << row;
    }
    const std::string snapshot = "/v1/default/snapshots/overlayfs/c1";
    if (row.starts_with(snapshot)) {
      EXPECT_TRUE(
          after.contains("/v1/default/snapshots/overlayfs/c2" + row.substr(snapshot.size())))
          << row;
    }
  }
  EXPECT_TRUE(after.contains(children + "/c2"));
  EXPECT_TRUE(after.contains(children + "/our-layer"));
}

void PeersTest::ContainerdReadsAndCollects() {
  StartContainerd();
  EXPECT_THAT(Ctr({"containers", "info", "c2"}), HasSubstr("ociVersion"));
  EXPECT_THAT(Ctr({"namespaces", "ls"}), HasSubstr("made-by=us"));
  EXPECT_THAT(Ctr({"snapshots", "info", "our-layer"}), HasSubstr(chain_));
  EXPECT_THAT(Ctr({"content", "ls"}), HasSubstr("containerd.io/gc.root=kept"));
  EXPECT_THAT(Ctr({"content", "active"}), HasSubstr("unfinished"));
  EXPECT_THAT(Ctr({"leases", "ls"}), HasSubstr("a=b"));
  EXPECT_THAT(Ctr({"sandboxes", "ls"}), HasSubstr("pod1"));
  Ctr({"snapshots", "prepare", "theirs", "our-layer"});
  Ctr({"snapshots", "rm", "theirs"});
  Ctr({"containers", "rm", "c1"});
  Ctr({"images", "rm", "--sync", kImage});  // a collection over rows of both
  EXPECT_THAT(Ctr({"snapshots", "ls"}), HasSubstr("our-layer"));
  EXPECT_THAT(Ctr({"snapshots", "ls"}), HasSubstr("c2"));
  EXPECT_THAT(Ctr({"content", "ls", "-q"}), HasSubstr("sha256:"));
  StopContainerd();
}

void PeersTest::WeCollect() {
  OpenOurs();
  EXPECT_TRUE(db_->images().Get(kNs, kImage).error().Is(Code::kNotFound));
  const auto count = [&] {
    size_t blobs = 0;
    MustBeOk(db_->Content(kScope)->Walk({}, [&](const content::Info&) {
      ++blobs;
      return Ok();
    }));
    return blobs;
  };
  EXPECT_EQ(count(), 2U);  // the rooted and the leased one
  EXPECT_EQ(Must(db_->Content(kScope)->GetStatus("unfinished")).offset, 4);
  MustBeOk(db_->leases().Delete(kNs, model::LeaseId("l2"), false));
  MustBeOk(db_->containers().Delete(kScope, model::ContainerId("c2")));
  const GcStats stats = Must(db_->CollectGarbage());
  EXPECT_TRUE(stats.trouble.empty()) << stats.trouble.begin()->second;
  EXPECT_EQ(count(), 1U);
  EXPECT_EQ(stats.freed_ingests, 1U);
  EXPECT_TRUE(Snapshots()->Stat("c2").error().Is(Code::kNotFound));
  EXPECT_TRUE(Snapshots()->Stat("our-layer").ok());
  EXPECT_TRUE(Snapshots()->Stat(chain_).ok());
  MustBeOk(Snapshots()->Remove("our-layer"));
  Must(db_->CollectGarbage());
  EXPECT_TRUE(Snapshots()->Stat(chain_).error().Is(Code::kNotFound));
  CloseOurs();
}

TEST_F(PeersTest, ContainerdAndWeKeepOneRootInTurns) {
  ASSERT_NO_FATAL_FAILURE(ContainerdWrites());
  ASSERT_NO_FATAL_FAILURE(WeReadAndWrite());
  ASSERT_NO_FATAL_FAILURE(ContainerdReadsAndCollects());
  ASSERT_NO_FATAL_FAILURE(WeCollect());
}

}  // namespace
}  // namespace corten::metadata
