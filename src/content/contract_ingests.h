// Part of content/contract.h: writes in progress.
#pragma once

#include <vector>

#include "content/contract.h"

namespace corten::content {

TEST_P(StoreContract, ABlobMayComeInPieces) {
  for (const size_t size :
       {size_t{70'000}, size_t{3'000'001}}) {  // below and above what stores keep aside
    const std::string data = Data(size, 4);
    const std::unique_ptr<Writer> writer = MustOpen("pieces");
    for (size_t at = 0; at < data.size(); at += 32768) {
      ASSERT_TRUE(writer->Write(std::string_view(data).substr(at, 32768)).ok());
    }
    EXPECT_EQ(writer->CurrentDigest().value(), DigestOf(data));
    const Result<model::Digest> digest =
        writer->Commit({static_cast<int64_t>(size), DigestOf(data), {}});
    ASSERT_TRUE(digest.ok()) << digest.error().text();
    EXPECT_EQ(*digest, DigestOf(data));
    ExpectBlob(*digest, data);
  }
}

TEST_P(StoreContract, ABlobIsUnseenBeforeCommit) {
  const std::string data = Data(1000, 5);
  const std::unique_ptr<Writer> writer = MustOpen("a", DigestOf(data), 1000);
  ASSERT_TRUE(writer->Write(data).ok());
  EXPECT_EQ(CodeOf(store().GetInfo(DigestOf(data))), Code::kNotFound);
  ASSERT_TRUE(writer->Commit({}).ok());
  EXPECT_TRUE(store().GetInfo(DigestOf(data)).ok());
}

TEST_P(StoreContract, AStatusTellsWhatWasWritten) {
  const std::unique_ptr<Writer> writer = MustOpen("a", DigestOf("x"), 500);
  ASSERT_TRUE(writer->Write(Data(300, 1)).ok());
  const std::vector<IngestStatus> statuses = {writer->GetStatus().value(),
                                              store().GetStatus("a").value()};
  for (const IngestStatus& status : statuses) {
    EXPECT_EQ(status.ref, "a");
    EXPECT_EQ(status.offset, 300);
    EXPECT_EQ(status.total, 500);
    EXPECT_GT(status.started_at.seconds, 0);
    EXPECT_GE(status.updated_at, status.started_at);
  }
}

TEST_P(StoreContract, AnEmptyRefIsInvalid) {
  EXPECT_EQ(CodeOf(store().OpenWriter({"", {}, 0})), Code::kInvalidArgument);
}

TEST_P(StoreContract, ARefHasOneWriterAtATime) {
  std::unique_ptr<Writer> first = MustOpen("a");
  const Result<std::unique_ptr<Writer>> second = store().OpenWriter({"a", {}, 0});
  ASSERT_EQ(CodeOf(second), Code::kUnavailable);
  EXPECT_NE(second.error().text().find("locked for"), std::string::npos) << second.error().text();
  EXPECT_TRUE(store().OpenWriter({"b", {}, 0}).ok());
  first.reset();
  EXPECT_TRUE(store().OpenWriter({"a", {}, 0}).ok());
}

TEST_P(StoreContract, ADroppedWriterLeavesItsIngestForTheNext) {
  for (const size_t size : {size_t{50'000}, size_t{2'500'000}}) {
    const std::string ref = StrCat("resumed-", size);
    const std::string data = Data(size, 6);
    const size_t half = size / 2;
    std::unique_ptr<Writer> writer = MustOpen(ref, {}, static_cast<int64_t>(size));
    ASSERT_TRUE(writer->Write(std::string_view(data).substr(0, half)).ok());
    writer.reset();
    EXPECT_EQ(store().GetStatus(ref)->offset, static_cast<int64_t>(half));
    EXPECT_EQ(store().GetStatus(ref)->total, static_cast<int64_t>(size));
    writer = MustOpen(ref, DigestOf(data), static_cast<int64_t>(size));
    EXPECT_EQ(writer->GetStatus()->offset, static_cast<int64_t>(half));
    EXPECT_EQ(writer->CurrentDigest().value(), DigestOf(std::string_view(data).substr(0, half)));
    ASSERT_TRUE(writer->Write(std::string_view(data).substr(half)).ok());
    const Result<model::Digest> digest =
        writer->Commit({static_cast<int64_t>(size), DigestOf(data), {}});
    ASSERT_TRUE(digest.ok()) << digest.error().text();
    ExpectBlob(*digest, data);
    EXPECT_EQ(CodeOf(store().GetStatus(ref)), Code::kNotFound);
  }
}

TEST_P(StoreContract, AnEmptyIngestIsKeptToo) {
  MustOpen("a").reset();
  const Result<IngestStatus> status = store().GetStatus("a");
  ASSERT_TRUE(status.ok()) << status.error().text();
  EXPECT_EQ(status->offset, 0);
  EXPECT_TRUE(store().Abort("a").ok());
}

TEST_P(StoreContract, AnotherTotalBeginsAnew) {
  std::unique_ptr<Writer> writer = MustOpen("a", {}, 100);
  ASSERT_TRUE(writer->Write("some bytes").ok());
  writer.reset();
  writer = MustOpen("a", {}, 200);
  EXPECT_EQ(writer->GetStatus()->offset, 0);
  EXPECT_EQ(writer->GetStatus()->total, 200);
  ASSERT_TRUE(writer->Write("fresh").ok());
  EXPECT_EQ(writer->Commit({}).value(), DigestOf("fresh"));
}

TEST_P(StoreContract, CommitWithWrongDigestKeepsIngest) {
  const std::string data = Data(1000, 7);
  std::unique_ptr<Writer> writer = MustOpen("a");
  ASSERT_TRUE(writer->Write(data).ok());
  EXPECT_EQ(CodeOf(writer->Commit({1000, DigestOf("something else"), {}})),
            Code::kFailedPrecondition);
  writer.reset();
  EXPECT_EQ(CodeOf(store().GetInfo(DigestOf(data))), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().GetInfo(DigestOf("something else"))), Code::kNotFound);
  writer = MustOpen("a");
  EXPECT_EQ(writer->GetStatus()->offset, 1000);
  EXPECT_TRUE(writer->Commit({1000, DigestOf(data), {}}).ok());
  ExpectBlob(DigestOf(data), data);
}

TEST_P(StoreContract, CommitWithWrongSizeKeepsIngest) {
  std::unique_ptr<Writer> writer = MustOpen("a");
  ASSERT_TRUE(writer->Write("12345").ok());
  EXPECT_EQ(CodeOf(writer->Commit({4, {}, {}})), Code::kFailedPrecondition);
  writer.reset();
  EXPECT_EQ(store().GetStatus("a")->offset, 5);
  EXPECT_EQ(CodeOf(store().GetInfo(DigestOf("12345"))), Code::kNotFound);
}

TEST_P(StoreContract, CommitOfAnExistingBlobEndsTheIngest) {
  const model::Digest digest = MustAdd("a", "twice");
  std::unique_ptr<Writer> writer = MustOpen("b");
  ASSERT_TRUE(writer->Write("twice").ok());
  EXPECT_EQ(CodeOf(writer->Commit({5, digest, {}})), Code::kAlreadyExists);
  writer.reset();
  EXPECT_EQ(CodeOf(store().GetStatus("b")), Code::kNotFound);
  ExpectBlob(digest, "twice");
}

TEST_P(StoreContract, AWriterForAnExistingBlobIsRefused) {
  const model::Digest digest = MustAdd("a", "there");
  EXPECT_EQ(CodeOf(store().OpenWriter({"b", digest, 0})), Code::kAlreadyExists);
  EXPECT_TRUE(store().OpenWriter({"b", {}, 0}).ok());  // the ref is free
}

TEST_P(StoreContract, TruncateBeginsAnew) {
  const std::unique_ptr<Writer> writer = MustOpen("a");
  ASSERT_TRUE(writer->Write(Data(5000, 8)).ok());
  EXPECT_EQ(CodeOf(writer->Truncate(100)), Code::kInvalidArgument);
  ASSERT_TRUE(writer->Truncate(0).ok());
  EXPECT_EQ(writer->GetStatus()->offset, 0);
  ASSERT_TRUE(writer->Write("short").ok());
  EXPECT_EQ(writer->Commit({5, DigestOf("short"), {}}).value(), DigestOf("short"));
  ExpectBlob(DigestOf("short"), "short");
}

TEST_P(StoreContract, OtherAlgorithmsCount) {
  for (const std::string_view algorithm : {"sha384", "sha512"}) {
    const std::string data = StrCat("for ", algorithm);
    const model::Digest digest = DigestOf(data, algorithm);
    // The algorithm is known from the beginning in one case and only at commit in the other.
    const std::unique_ptr<Writer> writer =
        MustOpen(StrCat("r-", algorithm), algorithm == "sha384" ? digest : model::Digest());
    ASSERT_TRUE(writer->Write(data).ok());
    const Result<model::Digest> done =
        writer->Commit({static_cast<int64_t>(data.size()), digest, {}});
    ASSERT_TRUE(done.ok()) << done.error().text();
    EXPECT_EQ(*done, digest);
    ExpectBlob(digest, data);
    EXPECT_EQ(CodeOf(store().GetInfo(DigestOf(data))), Code::kNotFound);
  }
}

TEST_P(StoreContract, AbortEndsAnIngest) {
  std::unique_ptr<Writer> writer = MustOpen("a");
  ASSERT_TRUE(writer->Write("lost").ok());
  writer.reset();
  ASSERT_TRUE(store().Abort("a").ok());
  EXPECT_EQ(CodeOf(store().GetStatus("a")), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().Abort("a")), Code::kNotFound);
  writer = MustOpen("a");
  EXPECT_EQ(writer->GetStatus()->offset, 0);
}

TEST_P(StoreContract, AbortUnderAWriterLeavesNothing) {
  for (const size_t size : {size_t{1000}, size_t{2'000'000}}) {
    const std::string data = Data(size, 10);
    std::unique_ptr<Writer> writer = MustOpen("a");
    ASSERT_TRUE(writer->Write(data).ok());
    ASSERT_TRUE(store().Abort("a").ok());
    EXPECT_EQ(CodeOf(store().GetStatus("a")), Code::kNotFound);
    EXPECT_FALSE(writer->Commit({}).ok());
    writer.reset();
    EXPECT_EQ(CodeOf(store().GetStatus("a")), Code::kNotFound);
    EXPECT_EQ(CodeOf(store().GetInfo(DigestOf(data))), Code::kNotFound);
    EXPECT_TRUE(store().ListStatuses({}).value().empty());
  }
}

TEST_P(StoreContract, StatusesAreListedByRefAndFiltered) {
  std::unique_ptr<Writer> open_one = MustOpen("layer-b");
  std::unique_ptr<Writer> closed = MustOpen("layer-a");
  std::unique_ptr<Writer> other = MustOpen("manifest");
  ASSERT_TRUE(open_one->Write("123").ok());
  ASSERT_TRUE(closed->Write("12").ok());
  closed.reset();
  const auto list = [&](const Filters& filters) {
    const std::vector<IngestStatus> statuses = store().ListStatuses(filters).value();
    std::vector<std::string> refs;
    for (const IngestStatus& status : statuses)
      refs.push_back(StrCat(status.ref, "@", status.offset));
    return refs;
  };
  EXPECT_EQ(list({}), (std::vector<std::string>{"layer-a@2", "layer-b@3", "manifest@0"}));
  EXPECT_EQ(list({"ref~=^layer"}), (std::vector<std::string>{"layer-a@2", "layer-b@3"}));
  EXPECT_EQ(CodeOf(store().ListStatuses({"ref==="})), Code::kInvalidArgument);
}

TEST_P(StoreContract, WriteBlobResumesAndTakesAnExistingOneForSuccess) {
  std::unique_ptr<Writer> writer = MustOpen("a", {}, 7);
  ASSERT_TRUE(writer->Write("wrong").ok());
  writer.reset();
  const model::Digest digest = MustAdd("a", "content");
  ExpectBlob(digest, "content");
  EXPECT_EQ(MustAdd("b", "content"), digest);
}

}  // namespace corten::content
