#include "daemon/lazy_driver.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/test_dir.h"
#include "snapshot/contract.h"
#include "snapshot/overlay/overlay.h"

namespace corten::snapshot {
namespace {

class LazyHarness final : public SnapshotterHarness {
 public:
  LazyHarness() {
    overlay::Config config;
    config.root = temp_.Path("root");
    driver_ = daemon::OpenWhenUsed(config.root, [config] { return overlay::Open(config); }).value();
  }
  Snapshotter& snapshotter() override { return *driver_; }

 private:
  TestDir temp_;
  std::unique_ptr<Driver> driver_;
};

INSTANTIATE_TEST_SUITE_P(Lazy, SnapshotterContract,
                         ::testing::Values(SnapshotterCase{
                             "Overlay", [] { return std::make_unique<LazyHarness>(); }}),
                         SnapshotterCaseName);

}  // namespace
}  // namespace corten::snapshot

namespace corten::daemon {
namespace {

using snapshot::Driver;

class LazyDriverTest : public ::testing::Test {
 protected:
  std::unique_ptr<Driver> Lazy() {
    return OpenWhenUsed(root_,
                        [this]() -> Result<std::unique_ptr<Driver>> {
                          ++openings_;
                          if (broken_) return UnavailableError("the disk is away");
                          snapshot::overlay::Config config;
                          config.root = root_;
                          return snapshot::overlay::Open(config);
                        })
        .value();
  }

  TestDir temp_;
  const std::string root_ = temp_.Path("root");
  int openings_ = 0;
  bool broken_ = false;
};

TEST_F(LazyDriverTest, WhatFindsNothingMakesNothing) {
  const std::unique_ptr<Driver> driver = Lazy();
  EXPECT_TRUE(driver->Cleanup().ok());
  EXPECT_TRUE(driver->Walk({}, [](const snapshot::Info&) { return Ok(); }).ok());
  EXPECT_EQ(openings_, 0);
  EXPECT_FALSE(std::filesystem::exists(root_));
  ASSERT_TRUE(driver->Prepare("a", "", {}).ok());
  EXPECT_EQ(openings_, 1);
}

TEST_F(LazyDriverTest, WhatExistsIsOpenedAtOnce) {
  ASSERT_TRUE(Lazy()->Prepare("a", "", {}).ok());
  const std::unique_ptr<Driver> driver = Lazy();
  EXPECT_EQ(openings_, 2);
  EXPECT_TRUE(driver->Stat("a").ok());
}

TEST_F(LazyDriverTest, AFailedOpeningIsToldByEachCallAndTriedAgain) {
  broken_ = true;
  const std::unique_ptr<Driver> driver = Lazy();
  EXPECT_TRUE(driver->Prepare("a", "", {}).error().Is(Code::kUnavailable));
  const std::vector<Status> removed = driver->RemoveMany({"a", "b"});
  ASSERT_EQ(removed.size(), 2u);
  for (const Status& status : removed) EXPECT_TRUE(status.error().Is(Code::kUnavailable));
  broken_ = false;
  EXPECT_TRUE(driver->Prepare("a", "", {}).ok());
}

}  // namespace
}  // namespace corten::daemon
