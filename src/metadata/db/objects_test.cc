#include <gmock/gmock.h>

#include <filesystem>

#include "bolt/check.h"
#include "bolt/db.h"
#include "metadata/db/codec.h"
#include "metadata/db/schema.h"
#include "metadata/db/test_database.h"

namespace corten::metadata {
namespace {

using ::testing::ElementsAre;

class ObjectsTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }

  void Open() {
    DatabaseOptions options;
    options.path = dir_.Path("meta.db");
    options.clock = [this] { return clock_.Now(); };
    options.observer = [this](const Change& change) { changes_.push_back(change); };
    options.no_sync = true;
    db_ = std::move(Database::Open(std::move(options))).value();
  }
  void Reopen() {
    db_.reset();
    Open();
  }

  // The tree under v1, one line per key: what containerd would see.
  std::string Dump() {
    db_.reset();
    std::string out;
    {
      const auto file = bolt::Db::Open(dir_.Path("meta.db")).value();
      const Status looked = file->View([&](const bolt::Tx& tx) {
        EXPECT_TRUE(bolt::Check(tx)->problems.empty());
        return DumpBucket(tx.Root(), "", out);
      });
      EXPECT_TRUE(looked.ok());
    }
    Open();
    return out;
  }
  Status DumpBucket(const bolt::Bucket& bucket, const std::string& path, std::string& out) {
    return bucket.ForEach([&](const bolt::Entry& entry) -> Status {
      const std::string name = path + "/" + std::string(entry.key);
      if (!entry.is_bucket) {
        out += name + " = " + Quoted(entry.value) + "\n";
        return Ok();
      }
      out += name + "\n";
      const bolt::Bucket child = TRY(bucket.GetBucket(entry.key));
      return DumpBucket(child, name, out);
    });
  }

  TestDir dir_;
  TickingClock clock_;
  std::vector<Change> changes_;
  std::unique_ptr<Database> db_;
};

TEST(Codec, WritesTheBytesThatContainerdWrites) {
  EXPECT_EQ(EncodeAny({"containerd.runc.v1.Options", ""}),
            "\x0a\x1a"
            "containerd.runc.v1.Options");
  const model::Any any = {"type", std::string(300, 'x')};
  EXPECT_EQ(DecodeAny(EncodeAny(any)).value(), any);
}

TEST(Codec, DamagedBytesAreDataLoss) {
  EXPECT_TRUE(DecodeAny("\x0a\x7f"
                        "abc")
                  .error()
                  .Is(Code::kDataLoss));
  EXPECT_TRUE(DecodeAny("\x0b").error().Is(Code::kDataLoss));
}

TEST_F(ObjectsTest, NewFileHasTheVersion) { EXPECT_EQ(Dump(), "/v1\n/v1/version = \"\\x08\"\n"); }

TEST_F(ObjectsTest, NamespacesLiveAndDie) {
  NamespaceStore& namespaces = db_->namespaces();
  ASSERT_OK(namespaces.Create(kDefault, {{"a", "1"}}));
  EXPECT_FAILS(namespaces.Create(kDefault, {}), Code::kAlreadyExists,
               "namespace \"default\": already exists");
  EXPECT_FAILS(
      namespaces.Create(model::Namespace("a..b"), {}), Code::kInvalidArgument,
      "identifier \"a..b\" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument");
  EXPECT_FAILS(namespaces.Create(model::Namespace("version"), {}), Code::kUnknown,
               "incompatible value");
  EXPECT_EQ(namespaces.GetLabels(model::Namespace("none"))->size(), 0U);
  EXPECT_EQ(*namespaces.Update(kDefault, {{"b", "2"}}, {"labels.b"}),
            (model::Labels{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(*namespaces.Update(kDefault, {}, {"labels.a"}), (model::Labels{{"b", "2"}}));
  EXPECT_EQ(*namespaces.Update(kDefault, {{"c", "3"}}, {}), (model::Labels{{"c", "3"}}));
  EXPECT_TRUE(namespaces.Update(kDefault, {}, {"name"}).error().Is(Code::kInvalidArgument));
  EXPECT_EQ(*namespaces.Update(model::Namespace("new"), {{"x", "y"}}, {}),
            (model::Labels{{"x", "y"}}));
  EXPECT_THAT(*namespaces.List(), ElementsAre(kDefault, model::Namespace("new")));

  ASSERT_OK(db_->images().Create(kScope, MakeImage("i"), {}));
  ASSERT_OK(db_->containers().Create(kScope, MakeContainer("c")));
  EXPECT_FAILS(namespaces.Delete(kDefault), Code::kFailedPrecondition,
               "namespace \"default\" must be empty, but it still has images, containers: failed "
               "precondition");
  ASSERT_OK(db_->images().Delete(kScope, "i", {}));
  ASSERT_OK(db_->containers().Delete(kScope, model::ContainerId("c")));
  ASSERT_OK(namespaces.Delete(kDefault));
  EXPECT_FAILS(namespaces.Delete(kDefault), Code::kNotFound, "namespace \"default\": not found");
}

TEST_F(ObjectsTest, ContainerRowsAreContainerds) {
  Container container = MakeContainer("c1");
  container.extensions["e"] = {"t", "v"};
  container.snapshotter = "overlayfs";
  container.snapshot_key = "c1";
  ASSERT_OK(db_->containers().Create(kScope, container));
  const std::string time = Quoted(EncodeTime({1790000001, 500}));
  EXPECT_EQ(Dump(),
            "/v1\n/v1/default\n/v1/default/containers\n/v1/default/containers/c1\n"
            "/v1/default/containers/c1/createdat = " +
                time +
                "\n"
                "/v1/default/containers/c1/extensions\n"
                "/v1/default/containers/c1/extensions/e = " +
                Quoted(EncodeAny({"t", "v"})) +
                "\n"
                "/v1/default/containers/c1/image = \"img\"\n"
                "/v1/default/containers/c1/labels\n"
                "/v1/default/containers/c1/labels/a = \"1\"\n"
                "/v1/default/containers/c1/labels/b = \"2\"\n"
                "/v1/default/containers/c1/runtime\n"
                "/v1/default/containers/c1/runtime/name = \"io.containerd.runc.v2\"\n"
                "/v1/default/containers/c1/runtime/options = " +
                Quoted(EncodeAny({"containerd.runc.v1.Options", ""})) +
                "\n"
                "/v1/default/containers/c1/sandboxid = \"\"\n"
                "/v1/default/containers/c1/snapshotKey = \"c1\"\n"
                "/v1/default/containers/c1/snapshotter = \"overlayfs\"\n"
                "/v1/default/containers/c1/spec = " +
                Quoted(EncodeAny(*container.spec)) +
                "\n"
                "/v1/default/containers/c1/updatedat = " +
                time +
                "\n"
                "/v1/version = \"\\x08\"\n");
}

TEST_F(ObjectsTest, ContainersFollowTheirRules) {
  ContainerStore& containers = db_->containers();
  ASSERT_OK(containers.Create(kScope, MakeContainer("c1")));
  EXPECT_FAILS(containers.Create(kScope, MakeContainer("c1")), Code::kAlreadyExists,
               "container \"c1\": already exists");
  EXPECT_FAILS(containers.Get(kDefault, model::ContainerId("x")), Code::kNotFound,
               "container \"x\" in namespace \"default\": not found");
  EXPECT_FAILS(containers.Get(model::Namespace(), model::ContainerId("x")),
               Code::kFailedPrecondition, "namespace is required: failed precondition");
  Container bad = MakeContainer("c2");
  bad.runtime.name.clear();
  EXPECT_FAILS(
      containers.Create(kScope, bad), Code::kInvalidArgument,
      "create container failed validation: container.Runtime.Name must be set: invalid argument");
  bad = MakeContainer("c2");
  bad.snapshot_key = "k";
  EXPECT_TRUE(containers.Create(kScope, bad).error().Is(Code::kInvalidArgument));
  bad = MakeContainer("c2");
  bad.labels["k"] = std::string(4096, 'v');
  EXPECT_TRUE(containers.Create(kScope, bad).error().Is(Code::kInvalidArgument));

  Container update = MakeContainer("c1");
  update.snapshotter = "other";
  EXPECT_FAILS(containers.Update(kScope, update, {}), Code::kInvalidArgument,
               "container.Snapshotter field is immutable: invalid argument");
  update = MakeContainer("c1");
  update.runtime.name = "other";
  EXPECT_FAILS(containers.Update(kScope, update, {}), Code::kInvalidArgument,
               "container.Runtime.Name field is immutable: invalid argument");
  EXPECT_FAILS(containers.Update(kScope, update, {"runtime"}), Code::kInvalidArgument,
               "cannot update \"runtime\" field on \"c1\": invalid argument");
  update.labels = {{"b", "3"}};
  update.image = "unseen";
  const Container after = containers.Update(kScope, update, {"labels.b", "labels.a"}).value();
  EXPECT_EQ(after.labels, (model::Labels{{"b", "3"}}));
  EXPECT_EQ(after.image, "img");
  EXPECT_EQ(after.created_at, (Time{1790000001, 500}));
  EXPECT_GT(after.updated_at, after.created_at);
  EXPECT_EQ(containers.Get(kDefault, model::ContainerId("c1"))->labels, after.labels);
}

TEST_F(ObjectsTest, ExtensionsAreMergedOnDisk) {
  Container container = MakeContainer("c1");
  container.extensions = {{"a", {"t", "1"}}, {"b", {"t", "2"}}};
  ASSERT_OK(db_->containers().Create(kScope, container));
  container.extensions = {{"b", {"t", "3"}}};
  EXPECT_EQ(db_->containers().Update(kScope, container, {})->extensions.size(), 1U);
  std::map<std::string, model::Any> expected = {{"a", {"t", "1"}}, {"b", {"t", "3"}}};
  EXPECT_EQ(db_->containers().Get(kDefault, container.id)->extensions, expected);
  EXPECT_EQ(db_->containers().Update(kScope, container, {"extensions.z"})->extensions.size(), 3U);
  expected["z"] = model::Any();
  EXPECT_EQ(db_->containers().Get(kDefault, container.id)->extensions, expected);
}

TEST_F(ObjectsTest, ImagesFollowTheirRules) {
  ImageStore& images = db_->images();
  Image image = MakeImage("docker.io/library/bb:1");
  image.target.annotations = {{"k", "v"}};
  image.labels = {{"l", "1"}};
  ASSERT_OK(images.Create(kScope, image, Time{5, 0}));
  EXPECT_EQ(images.Get(kDefault, image.name)->created_at, (Time{5, 0}));
  EXPECT_EQ(images.Get(kDefault, image.name)->target, image.target);
  EXPECT_FAILS(images.Create(kScope, image, {}), Code::kAlreadyExists,
               "image \"docker.io/library/bb:1\": already exists");
  EXPECT_FAILS(images.Get(kDefault, "no"), Code::kNotFound, "image \"no\": not found");
  EXPECT_FAILS(images.Create(kScope, MakeImage(""), {}), Code::kInvalidArgument,
               "image name must not be empty: invalid argument");
  Image bad = MakeImage("x");
  bad.target.size = 0;
  EXPECT_TRUE(images.Create(kScope, bad, {}).error().Is(Code::kInvalidArgument));

  Image update = MakeImage(image.name, DigestNumber(2));
  update.labels = {{"m", "2"}};
  EXPECT_EQ(images.Update(kScope, update, {"labels.m"}, {})->labels,
            (model::Labels{{"l", "1"}, {"m", "2"}}));
  EXPECT_EQ(images.Get(kDefault, image.name)->target, image.target);
  EXPECT_EQ(images.Update(kScope, update, {"target"}, {})->target, update.target);
  EXPECT_EQ(images.Update(kScope, update, {}, {})->labels, update.labels);
  EXPECT_FAILS(
      images.Update(kScope, update, {"name"}, {}), Code::kInvalidArgument,
      "cannot update \"name\" field on image \"docker.io/library/bb:1\": invalid argument");
  EXPECT_FAILS(images.Update(kScope, MakeImage("no"), {}, {}), Code::kNotFound,
               "image \"no\": not found");

  ImageStore::DeleteOptions other_target;
  other_target.target = DigestNumber(1);
  EXPECT_TRUE(images.Delete(kScope, image.name, other_target).error().Is(Code::kNotFound));
  other_target.target = DigestNumber(2);
  ASSERT_OK(images.Delete(kScope, image.name, other_target));
  EXPECT_TRUE(images.Delete(kScope, image.name, {}).error().Is(Code::kNotFound));
}

TEST_F(ObjectsTest, ListsAreFilteredAndInByteOrder) {
  for (const char* name : {"b", "a", "c/d"}) {
    Image image = MakeImage(name);
    image.labels = {{"io.x/name", name}};
    ASSERT_OK(db_->images().Create(kScope, image, {}));
  }
  const auto names = [&](const Filters& filters) {
    std::vector<std::string> out;
    const std::vector<Image> found = db_->images().List(kDefault, filters).value();
    for (const Image& image : found) out.push_back(image.name);
    return out;
  };
  EXPECT_THAT(names({}), ElementsAre("a", "b", "c/d"));
  EXPECT_THAT(names({"name==b", "labels.\"io.x/name\"==a"}), ElementsAre("a", "b"));
  EXPECT_THAT(names({"name~=/^c/"}), ElementsAre("c/d"));
  EXPECT_THAT(names({"target.mediatype~=manifest,target.digest!=x"}), ElementsAre("a", "b", "c/d"));
  EXPECT_FAILS(db_->images().List(kDefault, {"name="}), Code::kInvalidArgument,
               "filters: parse error: [name >|=|< ]: unsupported operator \"=\": invalid argument: "
               "invalid argument");
  EXPECT_TRUE(db_->images().List(model::Namespace("none"), {})->empty());
  ASSERT_OK(db_->containers().Create(kScope, MakeContainer("c1")));
  EXPECT_EQ(db_->containers()
                .List(kDefault, {"runtime.name==io.containerd.runc.v2,image==img,labels.a,id==c1"})
                ->size(),
            1U);
  EXPECT_EQ(db_->containers().List(kDefault, {"labels.z"})->size(), 0U);
}

TEST_F(ObjectsTest, LeasesHoldResources) {
  LeaseStore& leases = db_->leases();
  const model::LeaseId id("l1");
  ASSERT_OK(leases.Create(kDefault, {id, {}, {{"a", "b"}}}));
  EXPECT_FAILS(leases.Create(kDefault, {id, {}, {}}), Code::kAlreadyExists,
               "lease \"l1\": already exists");
  const Lease made_up = leases.Create(kDefault, {}).value();
  EXPECT_THAT(made_up.id.str(), ::testing::MatchesRegex("[0-9]+-[A-Za-z0-9_-]{4}"));
  const std::string digest = DigestNumber(7).str();
  for (const LeaseResource& resource : std::vector<LeaseResource>{
           {"k", "snapshots/overlayfs"}, {"r", "ingests"}, {"i", "images"}, {digest, "content"}}) {
    ASSERT_OK(leases.AddResource(kDefault, id, resource));
  }
  const std::vector<LeaseResource> all = {
      {digest, "content"}, {"i", "images"}, {"r", "ingests"}, {"k", "snapshots/overlayfs"}};
  EXPECT_EQ(leases.ListResources(kDefault, id).value(), all);
  EXPECT_TRUE(
      leases.AddResource(kDefault, id, {"x", "content"}).error().Is(Code::kInvalidArgument));
  EXPECT_TRUE(
      leases.AddResource(kDefault, id, {"x", "snapshots"}).error().Is(Code::kInvalidArgument));
  EXPECT_FAILS(leases.AddResource(kDefault, id, {"x", "mounts"}), Code::kUnimplemented,
               "resource type mounts not supported yet: not implemented");
  EXPECT_FAILS(leases.AddResource(kDefault, model::LeaseId("no"), {"x", "images"}), Code::kNotFound,
               "lease \"no\": not found");
  ASSERT_OK(leases.DeleteResource(kDefault, id, {"k", "snapshots/overlayfs"}));
  EXPECT_EQ(leases.ListResources(kDefault, id)->size(), 3U);
  EXPECT_EQ(leases.List(kDefault, {"labels.a==b"})->size(), 1U);
  ASSERT_OK(leases.Delete(kDefault, id, /*synchronous=*/true));
  EXPECT_FAILS(leases.Delete(kDefault, id, false), Code::kNotFound, "lease \"l1\": not found");
}

TEST_F(ObjectsTest, OnlyImagesThatExpireJoinTheLease) {
  ASSERT_OK(db_->leases().Create(kDefault, {model::LeaseId("l"), {}, {}}));
  ASSERT_OK(db_->images().Create(In("default", "l"), MakeImage("stays"), {}));
  Image expiring = MakeImage("goes");
  expiring.labels["containerd.io/gc.expire"] = clock_.In(1000);
  ASSERT_OK(db_->images().Create(In("default", "l"), expiring, {}));
  EXPECT_EQ(db_->leases().ListResources(kDefault, model::LeaseId("l")).value(),
            (std::vector<LeaseResource>{{"goes", "images"}}));
  EXPECT_FAILS(db_->images().Update(In("default", "none"), expiring, {}, {}), Code::kNotFound,
               "lease does not exist: not found");
}

TEST_F(ObjectsTest, SandboxesFollowTheirRules) {
  SandboxStore& sandboxes = db_->sandboxes();
  Sandbox sandbox;
  sandbox.id = model::SandboxId("s1");
  sandbox.runtime.name = "r";
  sandbox.sandboxer = "podsandbox";
  sandbox.spec = model::Any{"t", "v"};
  sandbox.extensions = {{"metadata", {"t", "1"}}};
  ASSERT_OK(sandboxes.Create(kDefault, sandbox));
  EXPECT_TRUE(sandboxes.Create(kDefault, sandbox).error().Is(Code::kAlreadyExists));
  EXPECT_EQ(sandboxes.Get(kDefault, sandbox.id)->sandboxer, "podsandbox");
  sandbox.labels = {{"a", "b"}};
  EXPECT_EQ(sandboxes.Update(kDefault, sandbox, {"labels"})->labels, sandbox.labels);
  sandbox.runtime.name = "other";
  EXPECT_FAILS(sandboxes.Update(kDefault, sandbox, {}), Code::kInvalidArgument,
               "sandbox.Runtime.Name field is immutable: invalid argument");
  EXPECT_TRUE(
      sandboxes.Update(kDefault, sandbox, {"sandboxer"}).error().Is(Code::kInvalidArgument));
  EXPECT_EQ(sandboxes.List(kDefault, {"id==s1,labels.a"})->size(), 1U);
  ASSERT_OK(sandboxes.Delete(kDefault, sandbox.id));
  EXPECT_TRUE(sandboxes.Get(kDefault, sandbox.id).error().Is(Code::kNotFound));
}

TEST_F(ObjectsTest, ChangesAreToldAfterTheCommitAndOnlyOfSuccess) {
  ASSERT_OK(db_->containers().Create(kScope, MakeContainer("c1")));
  EXPECT_FALSE(db_->containers().Create(kScope, MakeContainer("c1")).ok());
  ASSERT_OK(db_->containers().Update(kScope, MakeContainer("c1"), {"labels"}));
  ASSERT_OK(db_->images().Create(kScope, MakeImage("i"), {}));
  ASSERT_OK(db_->images().Delete(kScope, "i", {}));
  ASSERT_OK(db_->containers().Delete(kScope, model::ContainerId("c1")));
  std::vector<Change::Kind> kinds;
  for (const Change& change : changes_) kinds.push_back(change.kind);
  EXPECT_THAT(kinds, ElementsAre(Change::Kind::kContainerCreate, Change::Kind::kContainerUpdate,
                                 Change::Kind::kImageCreate, Change::Kind::kImageDelete,
                                 Change::Kind::kContainerDelete));
  EXPECT_EQ(changes_[0].runtime.name, "io.containerd.runc.v2");
  EXPECT_EQ(changes_[1].labels, MakeContainer("c1").labels);
}

TEST_F(ObjectsTest, EverythingIsThereAfterReopening) {
  ASSERT_OK(db_->containers().Create(kScope, MakeContainer("c1")));
  ASSERT_OK(db_->namespaces().Create(model::Namespace("other"), {{"a", "b"}}));
  Reopen();
  EXPECT_EQ(db_->containers().Get(kDefault, model::ContainerId("c1"))->labels,
            MakeContainer("c1").labels);
  EXPECT_EQ(db_->namespaces().GetLabels(model::Namespace("other")).value(),
            (model::Labels{{"a", "b"}}));
}

TEST_F(ObjectsTest, BackupIsADatabaseWithTheSameContents) {
  ASSERT_OK(db_->containers().Create(kScope, MakeContainer("c1")));
  ASSERT_OK(db_->Backup(dir_.Path("copy.db")));
  EXPECT_TRUE(db_->Backup(dir_.Path("copy.db")).error().Is(Code::kAlreadyExists));
  DatabaseOptions options;
  options.path = dir_.Path("copy.db");
  const auto copy = std::move(Database::Open(std::move(options))).value();
  EXPECT_TRUE(copy->containers().Get(kDefault, model::ContainerId("c1")).ok());
}

TEST_F(ObjectsTest, FilesOfOlderVersionsAreMigrated) {
  db_.reset();
  std::filesystem::remove(dir_.Path("meta.db"));
  {
    const auto file = bolt::Db::Open(dir_.Path("meta.db")).value();
    ASSERT_OK(file->Update([](bolt::Tx& tx) -> Status {
      bolt::Bucket snapshots = TRY(MakeIn(tx, kDefault, {key::kSnapshots, "overlayfs"}));
      bolt::Bucket base = TRY(snapshots.CreateBucket("base"));
      TRY(base.Put(key::kName, "default/1/base"));
      bolt::Bucket top = TRY(snapshots.CreateBucket("top"));
      TRY(top.Put(key::kParent, "base"));
      bolt::Bucket old = TRY(MakeIn(tx, kDefault, {key::kContent, key::kOldIngests}));
      TRY(old.Put("my-ref", "default/9/my-ref"));
      bolt::Bucket moved = TRY(tx.CreateBucket("k8s.io"));
      moved = TRY(moved.CreateBucket(key::kSandboxes));
      moved = TRY(moved.CreateBucket("pod"));
      return moved.Put(key::kSandboxer, "podsandbox");
    }));
  }
  Open();
  EXPECT_EQ(Dump(), R"(/v1
/v1/default
/v1/default/content
/v1/default/content/ingests
/v1/default/content/ingests/my-ref
/v1/default/content/ingests/my-ref/ref = "default/9/my-ref"
/v1/default/snapshots
/v1/default/snapshots/overlayfs
/v1/default/snapshots/overlayfs/base
/v1/default/snapshots/overlayfs/base/children
/v1/default/snapshots/overlayfs/base/children/top = ""
/v1/default/snapshots/overlayfs/base/name = "default/1/base"
/v1/default/snapshots/overlayfs/top
/v1/default/snapshots/overlayfs/top/parent = "base"
/v1/k8s.io
/v1/k8s.io/sandboxes
/v1/k8s.io/sandboxes/pod
/v1/k8s.io/sandboxes/pod/sandboxer = "podsandbox"
/v1/version = "\x08"
)");
}

}  // namespace
}  // namespace corten::metadata
