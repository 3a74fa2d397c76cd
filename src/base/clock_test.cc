#include "base/clock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

#include "base/executor.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sha256.h"

namespace corten {
namespace {

TEST(Clock, Rfc3339RoundTrips) {
  const Time time = ParseRfc3339("2026-11-21T01:41:31.058025437Z").value();
  EXPECT_EQ(time.seconds, 1795225291);
  EXPECT_EQ(FormatRfc3339(time), "2026-11-21T01:41:31.058025437Z");
  EXPECT_EQ(ParseRfc3339("2026-11-21T03:41:31+02:00").value(),
            ParseRfc3339("2026-11-21T01:41:31Z").value());
  EXPECT_EQ(FormatRfc3339(kZeroTime), "0001-01-01T00:00:00Z");
  for (const char* bad : {"", "2026", "2026-13-21T01:41:31Z", "2026-11-21T01:41:31",
                          "2026-11-21 01:41:31Z", "2026-11-21T01:41:31.Z"}) {
    EXPECT_FALSE(ParseRfc3339(bad).ok()) << bad;
  }
}

TEST(Clock, DurationsReadAndPrintAsInGo) {
  EXPECT_EQ(ParseDuration("1h2m3.5s").value(), 3723500000000);
  EXPECT_EQ(ParseDuration("-250ms").value(), -250000000);
  EXPECT_EQ(FormatDuration(60000000000), "1m0s");
  EXPECT_EQ(FormatDuration(4 * 3600000000000), "4h0m0s");
  EXPECT_EQ(FormatDuration(100000000), "100ms");
  EXPECT_EQ(FormatDuration(1500000000), "1.5s");
  for (const char* bad : {"", "10", "s", "1x", "1..5s", "99999999999h"})
    EXPECT_FALSE(ParseDuration(bad).ok()) << bad;
}

TEST(Hash, BothImplementationsAgree) {
  std::string data;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(StrCat("sha256:", SmallSha256Hex(data)), Sha256Digest(data));
    data.push_back(static_cast<char>(i * 7));
  }
  EXPECT_EQ(SmallSha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

// The examples of FIPS 180-4.
TEST(Hash, EachAlgorithmGivesItsKnownDigest) {
  const std::pair<const char*, const char*> known[] = {
      {"sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"sha384",
       "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
       "8086072ba1e7cc2358baeca134c825a7"},
      {"sha512",
       "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
       "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"}};
  for (const auto& [algorithm, digest] : known) {
    Hasher hasher = Hasher::Create(algorithm).value();
    hasher.Update("a");
    (void)hasher.Hex();  // updates may go on
    hasher.Update("bc");
    EXPECT_EQ(hasher.Hex(), digest);
    EXPECT_EQ(hasher.Digest(), StrCat(algorithm, ":", digest));
    EXPECT_EQ(hasher.algorithm(), algorithm);
    hasher.Reset();
    hasher.Update("abc");
    EXPECT_EQ(hasher.Hex(), digest);
  }
  EXPECT_TRUE(Hasher::Create("md5").error().Is(Code::kInvalidArgument));
}

TEST(Log, LinesLookLikeContainerds) {
  EXPECT_EQ(log::FormatLine(log::Format::kText, log::Level::kWarn, "T", "two words",
                            {{"id", "a b"}, {"n", "1"}}),
            "time=\"T\" level=warning msg=\"two words\" id=\"a b\" n=1");
  EXPECT_EQ(log::FormatLine(log::Format::kJson, log::Level::kInfo, "T", "a\"b\xff", {{"id", "x"}}),
            "{\"id\":\"x\",\"level\":\"info\",\"msg\":\"a\\\"b\\ufffd\",\"time\":\"T\"}");
}

TEST(Executor, RunsEverythingAcceptedAndRefusesBeyondTheQueue) {
  std::atomic<int> ran{0};
  int accepted = 0;
  {
    Executor executor("test", {.threads = 2, .queue = 8});
    std::mutex hold;
    hold.lock();
    for (int i = 0; i < 30; ++i) {
      if (executor
              .Submit([&] {
                const std::lock_guard wait(hold);
                ++ran;
              })
              .ok())
        ++accepted;
    }
    EXPECT_LT(accepted, 30);
    EXPECT_GE(accepted, 8);
    hold.unlock();
  }
  EXPECT_EQ(ran.load(), accepted);
}

TEST(Executor, WhatATaskHoldsMaySubmitAsItGoes) {
  std::atomic<bool> ran{false};
  {
    Executor executor("test", {.threads = 1, .queue = 8});
    const auto submit = [&](void*) { EXPECT_TRUE(executor.Submit([&] { ran = true; }).ok()); };
    ASSERT_TRUE(executor.Submit([held = std::shared_ptr<void>(&ran, submit)] {}).ok());
    while (!ran) std::this_thread::yield();
  }
  EXPECT_TRUE(ran);
}

TEST(Gate, CloseWaitsForHoldsAndRefusesNewOnes) {
  Gate gate;
  {
    const Gate::Hold hold = gate.Enter().value();
    EXPECT_FALSE(gate.Close(std::chrono::milliseconds(1)));
  }
  EXPECT_TRUE(gate.Close(std::chrono::milliseconds(1)));
  EXPECT_FALSE(gate.Enter().ok());
}

}  // namespace
}  // namespace corten
