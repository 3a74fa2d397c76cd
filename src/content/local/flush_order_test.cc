// What stands on the disk before what: the order of system calls that a power loss would judge.
// Needs strace.
#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/test_dir.h"
#include "base/test_trace.h"
#include "content/local/crash_data.h"

namespace corten::content {
namespace {

class FlushOrderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::vector<std::string>> calls =
        TraceCalls({CORTEN_CRASH_JOURNEY, temp_.Path("store")},
                   "fsync,fdatasync,linkat,renameat2,write,mkdirat", temp_.Path("log"));
    ASSERT_TRUE(calls.ok()) << calls.error().text();
    calls_ = std::move(calls).value();
  }

  // The blob's name appears after its data was flushed, and the promise after its directory was.
  void ExpectOrder(const std::string& data, std::string_view algorithm, std::string_view naming) {
    Hasher hasher = Hasher::Create(algorithm).value();
    hasher.Update(data);
    const std::string hex = hasher.Hex();
    const size_t named = FindCall(calls_, 0, naming, {StrCat("\"", hex, "\"")});
    ASSERT_LT(named, calls_.size()) << "no " << naming << " to " << hex;
    // The file is the first argument of the link; of a rename it is a path below the ingest
    // directory.
    const std::string file =
        naming == "linkat" ? calls_[named].substr(sizeof("linkat(") - 1,
                                                  calls_[named].find(", ") - sizeof("linkat(") + 1)
                           : "/data>";
    const size_t flushed = FindCall(calls_, 0, "fsync(", {file});
    EXPECT_LT(flushed, named) << "the name stands before the data (I3)";
    const size_t listed = FindCall(calls_, named, "fsync(", {StrCat("/blobs/", algorithm, ">")});
    const size_t promised =
        FindCall(calls_, 0, "write(1<", {StrCat("committed ", algorithm, ":", hex)});
    ASSERT_LT(promised, calls_.size());
    EXPECT_LT(listed, promised) << "Commit returned before the directory was flushed (I2)";
  }

  TestDir temp_;
  std::vector<std::string> calls_;
};

TEST_F(FlushOrderTest, ASmallBlobIsFlushedThenLinkedThenListed) {
  ExpectOrder(CrashData(1000, 1), "sha256", "linkat");
}

TEST_F(FlushOrderTest, ALargeBlobIsFlushedThenRenamedThenListed) {
  ExpectOrder(CrashData(kLargeCrashData, 2), "sha256", "renameat2");
}

TEST_F(FlushOrderTest, ANewAlgorithmsDirectoryIsListedBeforeItsFirstBlob) {
  ExpectOrder(CrashData(500, 3), "sha512", "linkat");
  const size_t made = FindCall(calls_, 0, "mkdirat(", {"\"sha512\""});
  const size_t listed = FindCall(calls_, made, "fsync(", {"/blobs>"});
  const size_t linked = FindCall(calls_, made, "linkat(", {"/blobs/sha512>"});
  EXPECT_LT(made, calls_.size());
  EXPECT_LT(listed, linked);
}

TEST_F(FlushOrderTest, TheWayToTheFirstBlobIsListedBeforeIt) {
  const size_t made = FindCall(calls_, 0, "mkdirat(", {"\"sha256\""});
  const size_t linked = FindCall(calls_, made, "linkat(", {"/blobs/sha256>"});
  ASSERT_LT(linked, calls_.size());
  for (const std::string& dir : {StrCat(temp_.Path("store"), "/blobs>"),
                                 StrCat(temp_.Path("store"), ">"), StrCat(temp_.dir().path(), ">")})
    EXPECT_LT(FindCall(calls_, made, "fsync(", {dir}), linked) << dir;
}

TEST_F(FlushOrderTest, WhatAKilledProcessLinkedIsListedAtOpen) {
  const Result<std::vector<std::string>> again =
      TraceCalls({CORTEN_CRASH_JOURNEY, temp_.Path("store")}, "fsync,write", temp_.Path("log"));
  ASSERT_TRUE(again.ok()) << again.error().text();
  const size_t listed = FindCall(*again, 0, "fsync(", {"/blobs/sha256>"});
  const size_t promised = FindCall(*again, 0, "write(1<", {"committed "});
  EXPECT_LT(listed, promised) << "a blob that was found is promised without its entry on the disk";
  for (const std::string& dir : {StrCat(temp_.Path("store"), "/blobs>"),
                                 StrCat(temp_.Path("store"), ">"), StrCat(temp_.dir().path(), ">")})
    EXPECT_LT(FindCall(*again, 0, "fsync(", {dir}), promised) << dir;
}

}  // namespace
}  // namespace corten::content
