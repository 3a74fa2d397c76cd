// Part of content/contract.h: blobs that are there.
#pragma once

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "content/contract.h"

namespace corten::content {

TEST_P(StoreContract, AWrittenBlobIsReadBack) {
  const std::string data = Data(100'000, 1);
  const model::Digest digest = MustAdd("a", data);
  ExpectBlob(digest, data);
  const Result<Info> info = store().GetInfo(digest);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->digest, digest);
  EXPECT_EQ(info->size, 100'000);
  EXPECT_GT(info->created_at.seconds, 0);
  EXPECT_GT(info->updated_at.seconds, 0);
}

TEST_P(StoreContract, TheEmptyBlobIsABlob) {
  const std::unique_ptr<Writer> writer = MustOpen("empty");
  const Result<model::Digest> digest = writer->Commit({});
  ASSERT_TRUE(digest.ok()) << digest.error().text();
  EXPECT_EQ(*digest, DigestOf(""));
  ExpectBlob(*digest, "");
}

TEST_P(StoreContract, ReadAtIsShortOnlyAtTheEnd) {
  const std::string data = Data(1000, 2);
  const std::unique_ptr<Reader> reader = store().OpenReader(MustAdd("a", data)).value();
  EXPECT_EQ(reader->size(), 1000);
  std::string buffer(600, '\0');
  EXPECT_EQ(reader->ReadAt(buffer, 0).value(), 600u);
  EXPECT_EQ(buffer, data.substr(0, 600));
  EXPECT_EQ(reader->ReadAt(buffer, 900).value(), 100u);
  EXPECT_EQ(buffer.substr(0, 100), data.substr(900));
  EXPECT_EQ(reader->ReadAt(buffer, 1000).value(), 0u);
  EXPECT_EQ(reader->ReadAt(buffer, 5000).value(), 0u);
}

TEST_P(StoreContract, AReaderOutlivesTheDeletionOfItsBlob) {
  if (!GetParam().reader_pins) GTEST_SKIP() << "not promised by this store";
  const std::string data = Data(5000, 3);
  const model::Digest digest = MustAdd("a", data);
  const std::unique_ptr<Reader> reader = store().OpenReader(digest).value();
  ASSERT_TRUE(store().Delete(digest).ok());
  std::string buffer(5000, '\0');
  EXPECT_EQ(reader->ReadAt(buffer, 0).value(), 5000u);
  EXPECT_TRUE(buffer == data);
}

TEST_P(StoreContract, WhatIsNotThereIsNotFound) {
  const model::Digest digest = DigestOf("nobody wrote this");
  const model::Digest other = DigestOf("nobody wrote this", "sha512");
  EXPECT_EQ(CodeOf(store().GetInfo(digest)), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().GetInfo(other)), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().OpenReader(digest)), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().Delete(digest)), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().GetStatus("nobody")), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().Abort("nobody")), Code::kNotFound);
  EXPECT_TRUE(store().ListStatuses({}).value().empty());
}

TEST_P(StoreContract, ADeletedBlobIsGoneAndMayComeBack) {
  const std::string data = "comes and goes";
  const model::Digest digest = MustAdd("a", data);
  ASSERT_TRUE(store().Delete(digest).ok());
  EXPECT_EQ(CodeOf(store().GetInfo(digest)), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().OpenReader(digest)), Code::kNotFound);
  EXPECT_EQ(CodeOf(store().Delete(digest)), Code::kNotFound);
  MustAdd("a", data);
  ExpectBlob(digest, data);
}

TEST_P(StoreContract, WalkGoesInOrderOfDigests) {
  std::vector<std::string> written;
  for (uint32_t i = 0; i < 20; ++i) written.push_back(MustAdd(StrCat("r", i), Data(10, i)).str());
  std::sort(written.begin(), written.end());
  std::vector<std::string> seen;
  ASSERT_TRUE(store()
                  .Walk({},
                        [&](const Info& info) {
                          seen.push_back(info.digest.str());
                          EXPECT_EQ(info.size, 10);
                          return Ok();
                        })
                  .ok());
  EXPECT_EQ(seen, written);
}

TEST_P(StoreContract, WalkStopsAtTheVisitorsError) {
  for (uint32_t i = 0; i < 5; ++i) MustAdd(StrCat("r", i), Data(10, i));
  int seen = 0;
  const Status walked = store().Walk({}, [&](const Info&) -> Status {
    if (++seen == 2) return CanceledError("enough");
    return Ok();
  });
  EXPECT_EQ(CodeOf(walked), Code::kCanceled);
  EXPECT_EQ(seen, 2);
}

TEST_P(StoreContract, WalkTakesFilters) {
  const model::Digest one = MustAdd("1", "one");
  const model::Digest two = MustAdd("2", "two");
  MustAdd("3", "three");
  std::vector<std::string> seen;
  const auto visit = [&](const Info& info) {
    seen.push_back(info.digest.str());
    return Ok();
  };
  ASSERT_TRUE(
      store().Walk({StrCat("digest==", one.str()), StrCat("digest==", two.str())}, visit).ok());
  std::vector<std::string> expected = {one.str(), two.str()};
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(seen, expected);
  seen.clear();
  ASSERT_TRUE(store().Walk({"size==3"}, visit).ok());
  EXPECT_TRUE(seen.empty());
  EXPECT_EQ(CodeOf(store().Walk({"digest==="}, visit)), Code::kInvalidArgument);
}

TEST_P(StoreContract, LabelsAreKeptAndUpdatedByPath) {
  const model::Digest digest = MustAdd("a", "labelled", {{"k", "v"}, {"other", "1"}});
  Info change = Labelled(digest, {{"k", "w"}, {"unnamed", "x"}});
  if (!GetParam().labels) {
    EXPECT_EQ(CodeOf(store().Update(change, {"labels.k"})), Code::kFailedPrecondition);
    return;
  }
  EXPECT_EQ(store().GetInfo(digest)->labels, (model::Labels{{"k", "v"}, {"other", "1"}}));
  const Result<Info> updated = store().Update(change, {"labels.k"});
  ASSERT_TRUE(updated.ok()) << updated.error().text();
  EXPECT_EQ(updated->labels, (model::Labels{{"k", "w"}, {"other", "1"}}));
  EXPECT_EQ(store().GetInfo(digest)->labels, updated->labels);
  EXPECT_EQ(store().Update(change, {})->labels, change.labels);
  EXPECT_EQ(store().Update(Labelled(digest, {}), {"labels.k"})->labels,
            (model::Labels{{"unnamed", "x"}}));
  EXPECT_EQ(CodeOf(store().Update(change, {"size"})), Code::kInvalidArgument);
  change.labels = {{"k", std::string(4096, 'x')}};
  EXPECT_EQ(CodeOf(store().Update(change, {})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(store().Update(Labelled(DigestOf("none"), {}), {})), Code::kNotFound);
  int seen = 0;
  const auto count = [&](const Info&) {
    ++seen;
    return Ok();
  };
  ASSERT_TRUE(store().Walk({"labels.unnamed==x"}, count).ok());
  EXPECT_EQ(seen, 1);
  ASSERT_TRUE(store().Walk({"labels.k"}, count).ok());
  EXPECT_EQ(seen, 1);
}

TEST_P(StoreContract, ReadBlobHasALimit) {
  const model::Digest digest = MustAdd("a", Data(1000, 9));
  EXPECT_EQ(CodeOf(ReadBlob(store(), digest, 999)), Code::kResourceExhausted);
  EXPECT_EQ(ReadBlob(store(), digest, 1000)->size(), 1000u);
}

TEST_P(StoreContract, ManyWritersAtOnceEachMakeTheirBlob) {
  constexpr uint32_t kThreads = 8;
  constexpr uint32_t kBlobs = 25;
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < kBlobs; ++i) {
        const std::string data = Data(100 + i, t * 1000 + i);
        if (!WriteBlob(store(), StrCat("ref-", t, "-", i), data, DescriptorOf(data), {}).ok())
          ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0);
  int seen = 0;
  ASSERT_TRUE(store()
                  .Walk({},
                        [&](const Info&) {
                          ++seen;
                          return Ok();
                        })
                  .ok());
  EXPECT_EQ(seen, static_cast<int>(kThreads * kBlobs));
  EXPECT_TRUE(store().ListStatuses({}).value().empty());
}

TEST_P(StoreContract, WritersOfTheSameBytesMakeOneBlob) {
  constexpr int kThreads = 8;
  const std::string data = Data(200'000, 77);
  std::atomic<int> made{0};
  std::atomic<int> existed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Result<std::unique_ptr<Writer>> writer = store().OpenWriter({StrCat("ref-", t), {}, 0});
      if (!writer.ok() || !(*writer)->Write(data).ok()) return;
      const Result<model::Digest> digest =
          (*writer)->Commit({static_cast<int64_t>(data.size()), DigestOf(data), {}});
      if (digest.ok()) ++made;
      if (!digest.ok() && digest.error().Is(Code::kAlreadyExists)) ++existed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made.load(), 1);
  EXPECT_EQ(existed.load(), kThreads - 1);
  ExpectBlob(DigestOf(data), data);
  EXPECT_TRUE(store().ListStatuses({}).value().empty());
}

}  // namespace corten::content
