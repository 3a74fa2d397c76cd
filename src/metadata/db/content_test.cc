#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "content/contract_blobs.h"
#include "content/contract_ingests.h"
#include "metadata/db/test_fixture.h"

namespace corten::content {
namespace {

class ScopedHarness final : public StoreHarness {
 public:
  Store& store() override { return *view_; }

 private:
  metadata::DatabaseFixture fixture_;
  std::unique_ptr<Store> view_ = fixture_.db().Content(metadata::kScope);
};

INSTANTIATE_TEST_SUITE_P(Metadata, StoreContract,
                         ::testing::Values(StoreCase{
                             "ScopedContent", [] { return std::make_unique<ScopedHarness>(); }}),
                         StoreCaseName);

}  // namespace
}  // namespace corten::content

namespace corten::metadata {
namespace {

class ScopedContentTest : public ::testing::Test {
 protected:
  std::unique_ptr<content::Store> Content(const model::Scope& scope = kScope) {
    return f_.db().Content(scope);
  }
  std::vector<LeaseResource> Held(const std::string& lease) {
    return f_.db().leases().ListResources(kDefault, model::LeaseId(lease)).value();
  }

  DatabaseFixture f_;
};

TEST_F(ScopedContentTest, NamespacesShareBlobsButNotRows) {
  const model::Digest digest = f_.Put("data");
  EXPECT_FAILS(Content(In("other"))->GetInfo(digest), Code::kNotFound,
               "content digest " + digest.str() + ": not found");
  EXPECT_TRUE(Content(In("other"))->OpenReader(digest).error().Is(Code::kNotFound));
  auto writer = Content(In("other"))->OpenWriter({"r", digest, 4}).value();
  EXPECT_EQ(writer->GetStatus()->offset, 4);
  EXPECT_EQ(writer->GetStatus()->total, 4);
  ASSERT_OK(writer->Commit({4, digest, {{"l", "v"}}}));
  EXPECT_EQ(Content(In("other"))->GetInfo(digest)->labels, (model::Labels{{"l", "v"}}));
  EXPECT_TRUE(Content()->GetInfo(digest)->labels.empty());
  EXPECT_EQ(f_.BackendBlobs(), 1U);
  ASSERT_OK(Content()->Delete(digest));
  f_.Collect();
  EXPECT_EQ(f_.BackendBlobs(), 0U);  // no image, no lease
}

TEST_F(ScopedContentTest, OtherSizeThanTheBlobsIsNotShared) {
  const model::Digest digest = f_.Put("data");
  auto writer = Content(In("other"))->OpenWriter({"r", digest, 5}).value();
  EXPECT_EQ(writer->GetStatus()->offset, 0);
}

TEST_F(ScopedContentTest, IsolatedNamespacesBringTheirOwnBytes) {
  DatabaseFixture f(ContentSharing::kIsolated);
  const model::Digest digest = f.Put("data");
  {
    auto writer = f.db().Content(In("other"))->OpenWriter({"r", digest, 4}).value();
    EXPECT_EQ(writer->GetStatus()->offset, 0);
    EXPECT_TRUE(writer->Commit({4, digest, {}}).error().Is(Code::kFailedPrecondition));
  }
  ASSERT_OK(
      f.db().namespaces().Update(kDefault, {{"containerd.io/namespace.shareable", "true"}}, {}));
  ASSERT_OK(f.db().Content(In("other"))->Abort("r"));
  auto writer = f.db().Content(In("other"))->OpenWriter({"r", digest, 4}).value();
  EXPECT_EQ(writer->GetStatus()->offset, 4);
  ASSERT_OK(writer->Commit({4, digest, {}}));
}

TEST_F(ScopedContentTest, FirstWriteCopiesTheSharedBlob) {
  const model::Digest digest = f_.Put("data");
  auto writer = Content(In("other"))->OpenWriter({"r", digest, 0}).value();
  ASSERT_OK(writer->Write("+more"));
  EXPECT_EQ(writer->GetStatus()->offset, 9);
  EXPECT_EQ(writer->Commit({}).value(), DigestOf("data+more"));
  EXPECT_TRUE(f_.Has(DigestOf("data+more"), "other"));

  auto emptied = Content(In("other"))->OpenWriter({"r2", digest, 0}).value();
  ASSERT_OK(emptied->Truncate(0));
  EXPECT_EQ(emptied->GetStatus()->offset, 0);
  ASSERT_OK(emptied->Write("data"));
  EXPECT_EQ(emptied->Commit({4, digest, {}}).value(), digest);
}

TEST_F(ScopedContentTest, SharedIngestCanBeResumedAndListed) {
  const model::Digest digest = f_.Put("data");
  ASSERT_OK(Content(In("other"))->OpenWriter({"r", digest, 0}));
  EXPECT_EQ(Content(In("other"))->GetStatus("r")->offset, 4);
  EXPECT_EQ(Content(In("other"))->ListStatuses({})->size(), 1U);
  f_.Open();
  auto writer = Content(In("other"))->OpenWriter({"r", {}, 0}).value();
  EXPECT_EQ(writer->GetStatus()->offset, 4);
  ASSERT_OK(writer->Commit({}));
  EXPECT_TRUE(Content(In("other"))->ListStatuses({})->empty());
}

TEST_F(ScopedContentTest, WhatACallMakesOrFindsJoinsItsLease) {
  f_.MakeLease("l");
  const model::Digest digest = f_.Put("data");
  EXPECT_TRUE(
      Content(In("default", "l"))->OpenWriter({"r", digest, 4}).error().Is(Code::kAlreadyExists));
  EXPECT_EQ(Held("l"), (std::vector<LeaseResource>{{digest.str(), "content"}}));
  auto writer = Content(In("default", "l"))->OpenWriter({"r2", {}, 0}).value();
  EXPECT_EQ(Held("l"), (std::vector<LeaseResource>{{digest.str(), "content"}, {"r2", "ingests"}}));
  ASSERT_OK(writer->Write("more"));
  ASSERT_OK(writer->Commit({}));
  EXPECT_EQ(Held("l").size(), 2U);
  EXPECT_EQ(Held("l")[1].type, "content");
  ASSERT_OK(Content(In("default", "l"))->Delete(digest));
  EXPECT_EQ(Held("l").size(), 1U);
  EXPECT_FAILS(Content(In("default", "none"))->OpenWriter({"r3", {}, 0}), Code::kNotFound,
               "lease does not exist: not found");
}

TEST_F(ScopedContentTest, SecondCommitOfABlobIsAlreadyExistsAndEndsTheIngest) {
  const model::Digest digest = f_.Put("data");
  auto writer = Content()->OpenWriter({"r", {}, 0}).value();
  ASSERT_OK(writer->Write("data"));
  EXPECT_FAILS(writer->Commit({}), Code::kAlreadyExists,
               "content " + digest.str() + ": already exists");
  EXPECT_TRUE(Content()->GetStatus("r").error().Is(Code::kNotFound));
  EXPECT_TRUE(f_.store().ListStatuses({})->empty());
}

TEST_F(ScopedContentTest, IngestsHaveTheirOwnNamesInTheBackend) {
  auto writer = Content()->OpenWriter({"my-ingest", {}, 10}).value();
  EXPECT_EQ(f_.store().GetStatus("default/1/my-ingest")->total, 10);
  EXPECT_EQ(Content()->GetStatus("my-ingest")->ref, "my-ingest");
  EXPECT_TRUE(Content()->OpenWriter({"my-ingest", {}, 10}).error().Is(Code::kUnavailable));
  EXPECT_TRUE(Content(In("other"))->GetStatus("my-ingest").error().Is(Code::kNotFound));
  writer.reset();
  ASSERT_OK(Content()->Abort("my-ingest"));
  EXPECT_TRUE(f_.store().ListStatuses({})->empty());
  EXPECT_FAILS(Content()->Abort("my-ingest"), Code::kNotFound,
               "ingest ref \"my-ingest\": not found");
}

TEST_F(ScopedContentTest, CommitsAndDeletesAreTold) {
  const model::Digest digest = f_.Put("data");
  ASSERT_OK(Content()->Delete(digest));
  const std::vector<Change> changes = f_.TakeChanges();
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].kind, Change::Kind::kContentCreate);
  EXPECT_EQ(changes[0].size, 4);
  EXPECT_EQ(changes[0].digest, digest);
  EXPECT_EQ(changes[1].kind, Change::Kind::kContentDelete);
}

TEST_F(ScopedContentTest, LabelsTooLongLeaveTheIngest) {
  auto writer = Content()->OpenWriter({"r", {}, 0}).value();
  ASSERT_OK(writer->Write("x"));
  EXPECT_TRUE(
      writer->Commit({0, {}, {{"k", std::string(5000, 'v')}}}).error().Is(Code::kInvalidArgument));
  ASSERT_OK(writer->Commit({}));
}

}  // namespace
}  // namespace corten::metadata
