#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bolt/db.h"
#include "metadata/db/test_fixture.h"

namespace corten::metadata {
namespace {

class GcTest : public ::testing::Test {
 protected:
  void AddToLease(const std::string& lease, const std::string& type, const std::string& id) {
    ASSERT_OK(f_.db().leases().AddResource(kDefault, model::LeaseId(lease), {id, type}));
  }
  void PutImage(const std::string& name, const model::Digest& target,
                const model::Labels& labels = {}) {
    Image image = MakeImage(name, target);
    image.labels = labels;
    ASSERT_OK(f_.db().images().Create(kScope, image, {}));
  }
  bool HasLease(const std::string& id) {
    return !f_.db().leases().List(kDefault, {"id==" + id})->empty();
  }

  DatabaseFixture f_;
};

TEST_F(GcTest, WhatNothingRefersToGoes) {
  const model::Digest digest = f_.Put("garbage");
  f_.PutSnapshot("a");
  f_.PutSnapshot("b", "a");
  const GcStats stats = f_.Collect();
  EXPECT_FALSE(f_.Has(digest));
  EXPECT_EQ(stats.removed_content, 1U);
  EXPECT_EQ(stats.freed_blobs, 1U);
  EXPECT_EQ(stats.freed_bytes, 7U);
  EXPECT_EQ(stats.removed_snapshots, 2U);
  EXPECT_EQ(stats.freed_snapshots, 2U);
  EXPECT_EQ(f_.BackendSnapshots(), 0U);
  EXPECT_EQ(f_.BackendBlobs(), 0U);
}

TEST_F(GcTest, ImageKeepsItsTreeOfBlobsAndSnapshots) {
  const model::Digest layer = f_.Put("layer");
  f_.PutSnapshot("base");
  f_.PutSnapshot("chain", "base");
  const model::Digest config =
      f_.Put("config", {{"containerd.io/gc.ref.snapshot.overlayfs", "chain"}});
  const model::Digest manifest =
      f_.Put("manifest", {{"containerd.io/gc.ref.content.config", config.str()},
                          {"containerd.io/gc.ref.content.l.0", layer.str()}});
  PutImage("i", manifest);
  f_.Collect();
  for (const model::Digest& digest : {layer, config, manifest}) EXPECT_TRUE(f_.Has(digest));
  EXPECT_TRUE(f_.HasSnapshot("chain"));
  EXPECT_TRUE(f_.HasSnapshot("base"));
  ImageStore::DeleteOptions synchronous;
  synchronous.synchronous = true;
  ASSERT_OK(f_.db().images().Delete(kScope, "i", synchronous));
  EXPECT_EQ(f_.BackendBlobs(), 0U);
  EXPECT_EQ(f_.BackendSnapshots(), 0U);
}

TEST_F(GcTest, ContainersAndSandboxesAreRoots) {
  f_.PutSnapshot("rootfs");
  f_.PutSnapshot("labelled");
  const model::Digest checkpoint = f_.Put("checkpoint");
  const model::Digest pod = f_.Put("pod");
  Container container = MakeContainer("c");
  container.snapshotter = "overlayfs";
  container.snapshot_key = "rootfs";
  container.labels = {{"containerd.io/gc.ref.snapshot.overlayfs/x", "labelled"},
                      {"containerd.io/gc.ref.content/cp", checkpoint.str()}};
  ASSERT_OK(f_.db().containers().Create(kScope, container));
  Sandbox sandbox;
  sandbox.id = model::SandboxId("s");
  sandbox.labels = {{"containerd.io/gc.ref.content.pod", pod.str()}};
  ASSERT_OK(f_.db().sandboxes().Create(kDefault, sandbox));
  f_.Collect();
  EXPECT_TRUE(f_.HasSnapshot("rootfs"));
  EXPECT_TRUE(f_.HasSnapshot("labelled"));
  EXPECT_TRUE(f_.Has(checkpoint));
  EXPECT_TRUE(f_.Has(pod));
  ASSERT_OK(f_.db().containers().Delete(kScope, container.id));
  f_.Collect();
  EXPECT_FALSE(f_.HasSnapshot("rootfs"));
  EXPECT_FALSE(f_.Has(checkpoint));
  EXPECT_TRUE(f_.Has(pod));
}

TEST_F(GcTest, RootLabelsKeepAndAreMatchedByPrefix) {
  const model::Digest root = f_.Put("root", {{"containerd.io/gc.root", "x"}});
  const model::Digest prefixed = f_.Put("prefixed", {{"containerd.io/gc.root.other", "x"}});
  f_.PutSnapshot("kept", "", {{"containerd.io/gc.root", "now"}});
  f_.Collect();
  EXPECT_TRUE(f_.Has(root));
  EXPECT_TRUE(f_.Has(prefixed));
  EXPECT_TRUE(f_.HasSnapshot("kept"));
}

TEST_F(GcTest, ReferenceLabelsNeedADotOrSlashBehindTheWord) {
  const model::Digest one = f_.Put("one");
  const model::Digest two = f_.Put("two");
  const model::Digest three = f_.Put("three");
  f_.Put("root", {{"containerd.io/gc.root", "x"},
                  {"containerd.io/gc.ref.content", one.str()},
                  {"containerd.io/gc.ref.content/a", two.str()},
                  {"containerd.io/gc.ref.contentfoo", three.str()}});
  f_.Collect();
  EXPECT_TRUE(f_.Has(one));
  EXPECT_TRUE(f_.Has(two));
  EXPECT_FALSE(f_.Has(three));
}

TEST_F(GcTest, LeasesKeepTheirResourcesUntilTheyExpire) {
  f_.MakeLease("l", {{"containerd.io/gc.expire", f_.clock().In(10000)}});
  const model::Digest child = f_.Put("child");
  const model::Digest held = f_.Put("held", {{"containerd.io/gc.ref.content.0", child.str()}});
  f_.PutSnapshot("s");
  AddToLease("l", "content", held.str());
  AddToLease("l", "snapshots/overlayfs", "s");
  const GcStats first = f_.Collect();
  EXPECT_TRUE(f_.Has(held));
  EXPECT_TRUE(f_.Has(child));
  EXPECT_TRUE(f_.HasSnapshot("s"));
  ASSERT_TRUE(first.next_expiry.has_value());
  EXPECT_GT(*first.next_expiry, f_.clock().Now());
  f_.clock().Advance(20000);
  const GcStats second = f_.Collect();
  EXPECT_EQ(second.removed_leases, 1U);
  EXPECT_FALSE(HasLease("l"));
  EXPECT_FALSE(f_.Has(held));
  EXPECT_FALSE(f_.HasSnapshot("s"));
  EXPECT_EQ(second.next_expiry, std::nullopt);
}

TEST_F(GcTest, DatesThatAreNoDatesNeverExpire) {
  f_.MakeLease("l", {{"containerd.io/gc.expire", "tomorrow"}});
  const model::Digest held = f_.Put("held");
  AddToLease("l", "content", held.str());
  f_.Collect();
  EXPECT_TRUE(f_.Has(held));
}

TEST_F(GcTest, FlatLeaseKeepsNoReferences) {
  f_.MakeLease("flat", {{"containerd.io/gc.flat", "yes"}});
  const model::Digest child = f_.Put("child");
  const model::Digest held = f_.Put("held", {{"containerd.io/gc.ref.content.0", child.str()}});
  const model::Digest layer = f_.Put("layer");
  const model::Digest target = f_.Put("target", {{"containerd.io/gc.ref.content.0", layer.str()}});
  Image expired = MakeImage("expired", target);
  expired.labels = {{"containerd.io/gc.expire", "2020-01-01T00:00:00Z"}};
  ASSERT_OK(f_.db().images().Create(kScope, expired, {}));
  f_.PutSnapshot("base");
  f_.PutSnapshot("top", "base", {{"containerd.io/gc.ref.content.x", layer.str()}});
  AddToLease("flat", "content", held.str());
  AddToLease("flat", "images", "expired");
  AddToLease("flat", "snapshots/overlayfs", "top");
  f_.Collect();
  EXPECT_TRUE(f_.Has(held));
  EXPECT_FALSE(f_.Has(child));
  EXPECT_TRUE(f_.HasImage("expired"));
  EXPECT_TRUE(f_.Has(target));
  EXPECT_FALSE(f_.Has(layer));
  EXPECT_TRUE(f_.HasSnapshot("top"));
  EXPECT_TRUE(f_.HasSnapshot("base"));
}

TEST_F(GcTest, ImagesExpireAndAreTold) {
  const model::Digest target = f_.Put("target");
  PutImage("soon", target, {{"containerd.io/gc.expire", f_.clock().In(10000)}});
  f_.Collect();
  EXPECT_TRUE(f_.HasImage("soon"));
  f_.clock().Advance(20000);
  f_.TakeChanges();
  EXPECT_EQ(f_.Collect().removed_images, 1U);
  EXPECT_FALSE(f_.HasImage("soon"));
  EXPECT_FALSE(f_.Has(target));
  const std::vector<Change> changes = f_.TakeChanges();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Change::Kind::kImageDelete);
  EXPECT_EQ(changes[0].name, "soon");
}

TEST_F(GcTest, ReferencedImageOutlivesItsDate) {
  PutImage("i", f_.Put("t"), {{"containerd.io/gc.expire", "2020-01-01T00:00:00Z"}});
  f_.Put("root", {{"containerd.io/gc.root", "x"}, {"containerd.io/gc.ref.image.x", "i"}});
  f_.Collect();
  EXPECT_TRUE(f_.HasImage("i"));
}

TEST_F(GcTest, BackReferencesKeepTheHolderWhileTheObjectLives) {
  const model::Digest of_container = f_.Put("a", {{"containerd.io/gc.bref.container", "c"}});
  const model::Digest of_image = f_.Put("b", {{"containerd.io/gc.bref.image.x", "i"}});
  f_.PutSnapshot("of-content", "", {{"containerd.io/gc.bref.content/1", of_image.str()}});
  const model::Digest of_snapshot =
      f_.Put("c", {{"containerd.io/gc.bref.snapshot.overlayfs/1", "of-content"}});
  ASSERT_OK(f_.db().containers().Create(kScope, MakeContainer("c")));
  PutImage("i", f_.Put("target"));
  f_.Collect();
  EXPECT_TRUE(f_.Has(of_container));
  EXPECT_TRUE(f_.Has(of_image));
  EXPECT_TRUE(f_.HasSnapshot("of-content"));
  EXPECT_TRUE(f_.Has(of_snapshot));
  ASSERT_OK(f_.db().containers().Delete(kScope, model::ContainerId("c")));
  ASSERT_OK(f_.db().images().Delete(kScope, "i", {}));
  f_.Collect();
  EXPECT_EQ(f_.BackendBlobs(), 0U);
  EXPECT_EQ(f_.BackendSnapshots(), 0U);
}

TEST_F(GcTest, ConditionsKeepTheHolderWhileTheSnapshotWasUsedLately) {
  f_.PutSnapshot(
      "s", "",
      {{"containerd.io/gc.root", "x"}, {"containerd.io/gc.cond.value-usedat", f_.clock().In(0)}});
  const model::Digest lately =
      f_.Put("lately", {{"containerd.io/gc.cond.snapshot.overlayfs", "usedat<3h|s"}});
  const model::Digest long_ago =
      f_.Put("long ago", {{"containerd.io/gc.cond.snapshot.overlayfs/x", "usedat>3h|s"}});
  const model::Digest either = f_.Put(
      "either", {{"containerd.io/gc.cond.snapshot.overlayfs/x", "usedat<1h|none,usedat>1ms|s"}});
  const model::Digest wrong =
      f_.Put("wrong", {{"containerd.io/gc.cond.snapshot.overlayfs/x", "usedat<3x|s"}});
  const GcStats stats = f_.Collect();
  EXPECT_TRUE(f_.Has(lately));
  EXPECT_FALSE(f_.Has(long_ago));
  EXPECT_TRUE(f_.Has(either));
  EXPECT_FALSE(f_.Has(wrong));
  EXPECT_TRUE(stats.next_expiry.has_value());
  f_.clock().Advance(4 * 3600);
  f_.Collect();
  EXPECT_FALSE(f_.Has(lately));
  EXPECT_TRUE(f_.Has(either));
}

TEST_F(GcTest, IngestsExpireAfterADayOrWithTheirLease) {
  f_.MakeLease("l");
  ASSERT_OK(f_.db().Content(kScope)->OpenWriter({"free", {}, 0}));
  ASSERT_OK(f_.db().Content(In("default", "l"))->OpenWriter({"leased", {}, 0}));
  f_.Collect();
  EXPECT_EQ(f_.db().Content(kScope)->ListStatuses({})->size(), 2U);
  ASSERT_OK(f_.db().leases().Delete(kDefault, model::LeaseId("l"), true));
  EXPECT_TRUE(f_.db().Content(kScope)->GetStatus("free").ok());
  EXPECT_FALSE(f_.db().Content(kScope)->GetStatus("leased").ok());
  f_.clock().Advance(25 * 3600);
  EXPECT_EQ(f_.Collect().freed_ingests, 1U);
  EXPECT_TRUE(f_.store().ListStatuses({})->empty());
}

TEST_F(GcTest, SharedIngestKeepsTheBackendsBlob) {
  const model::Digest digest = f_.Put("data");
  ASSERT_OK(f_.db().Content(In("other"))->OpenWriter({"r", digest, 0}));
  ASSERT_OK(f_.db().Content(kScope)->Delete(digest));
  f_.Collect();
  EXPECT_EQ(f_.BackendBlobs(), 1U);
  auto writer = f_.db().Content(In("other"))->OpenWriter({"r", {}, 0}).value();
  ASSERT_OK(writer->Commit({}));
}

TEST_F(GcTest, BlobsOfOtherNamespacesStay) {
  const model::Digest digest = f_.Put("data");
  f_.Put("data", {{"containerd.io/gc.root", "x"}}, In("other"));
  f_.Collect();
  EXPECT_FALSE(f_.Has(digest));
  EXPECT_TRUE(f_.Has(digest, "other"));
  EXPECT_EQ(f_.BackendBlobs(), 1U);
}

TEST_F(GcTest, ParentForgetsItsCollectedChild) {
  f_.PutSnapshot("base", "", {{"containerd.io/gc.root", "x"}});
  f_.PutSnapshot("child", "base");
  f_.Collect();
  EXPECT_FALSE(f_.HasSnapshot("child"));
  ASSERT_OK(f_.Snapshots()->Remove("base"));
}

TEST_F(GcTest, CyclesOfReferencesGoTogether) {
  const model::Digest a = DigestOf("a");
  const model::Digest b = f_.Put("b", {{"containerd.io/gc.ref.content.0", a.str()}});
  f_.Put("a", {{"containerd.io/gc.ref.content.0", b.str()}});
  GcOptions one_row;
  one_row.batch_rows = 1;
  EXPECT_EQ(f_.Collect(one_row).removed_content, 2U);
}

TEST_F(GcTest, GarbageOfTheBackendsGoesAfterARestart) {
  f_.store().Add("no row");
  ASSERT_OK(f_.snapshotter().Prepare("default/9/no-row", "", {}));
  f_.Open();
  const GcStats stats = f_.Collect();
  EXPECT_EQ(stats.freed_blobs, 1U);
  EXPECT_EQ(stats.freed_snapshots, 1U);
}

TEST_F(GcTest, OpenWriterProtectsTheBlobItExpects) {
  const model::Digest digest = f_.Put("data");
  auto writer = f_.db().Content(In("other"))->OpenWriter({"r", digest, 0}).value();
  ASSERT_OK(f_.db().Content(kScope)->Delete(digest));
  f_.Collect();
  ASSERT_OK(writer->Commit({}));
  EXPECT_TRUE(f_.db().Content(In("other"))->OpenReader(digest).ok());
}

// Mounts, say: one leased, one that a container keeps, one named by a label, one nobody wants.
class FakeCollector final : public Collector {
 public:
  std::string ReferenceLabel() const override { return "mount"; }
  Result<std::vector<CollectedResource>> Resources() override { return resources; }
  Status Remove(const model::Namespace&, const std::string& key) override {
    removed.push_back(key);
    return Ok();
  }
  std::vector<CollectedResource> resources;
  std::vector<std::string> removed;
};

TEST_F(GcTest, CollectorsKeepWhatIsReferredTo) {
  FakeCollector mounts;
  f_.db().AddCollector(&mounts);
  f_.MakeLease("l");
  ASSERT_OK(f_.db().containers().Create(kScope, MakeContainer("c")));
  f_.Put("root", {{"containerd.io/gc.root", "x"}, {"containerd.io/gc.ref.mount.x", "named"}});
  mounts.resources = {
      {kDefault, "leased", {model::LeaseId("l")}, {}, false},
      {kDefault, "of-container", {}, {{"containerd.io/gc.bref.container", "c"}}, false},
      {kDefault, "named", {}, {}, false},
      {kDefault, "active", {}, {}, true},
      {kDefault,
       "of-nobody",
       {model::LeaseId("gone")},
       {{"containerd.io/gc.bref.container", "gone"}},
       false}};
  EXPECT_EQ(f_.Collect().removed_resources, 1U);
  EXPECT_EQ(mounts.removed, std::vector<std::string>{"of-nobody"});
}

TEST_F(GcTest, SnapshotsRemovedByTheCollectorAreTold) {
  f_.PutSnapshot("a");
  f_.TakeChanges();
  f_.Collect();
  const std::vector<Change> changes = f_.TakeChanges();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].kind, Change::Kind::kSnapshotRemove);
  EXPECT_EQ(changes[0].name, "a");
  EXPECT_EQ(changes[0].snapshotter, "overlayfs");
}

TEST_F(GcTest, HooksHearOfMutationsDeletionsAndDates) {
  int mutations = 0;
  int deletions = 0;
  std::vector<Time> dates;
  int collections = 0;
  Database::Hooks hooks;
  hooks.on_mutation = [&](bool deletion) {
    ++mutations;
    deletions += deletion ? 1 : 0;
  };
  hooks.on_expiry = [&](Time when) { dates.push_back(when); };
  hooks.collect = [&]() -> Status {
    ++collections;
    return Ok();
  };
  f_.db().SetHooks(hooks);
  f_.MakeLease("l", {{"containerd.io/gc.expire", "2030-01-01T00:00:00Z"}});
  ASSERT_OK(f_.db().leases().Delete(kDefault, model::LeaseId("l"), true));
  EXPECT_EQ(mutations, 2);
  EXPECT_EQ(deletions, 1);
  EXPECT_EQ(dates, std::vector<Time>{ParseRfc3339("2030-01-01T00:00:00Z").value()});
  EXPECT_EQ(collections, 1);
}

}  // namespace
}  // namespace corten::metadata
