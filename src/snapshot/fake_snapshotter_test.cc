#include "snapshot/fake_snapshotter.h"

#include "base/dir.h"
#include "base/test_dir.h"
#include "snapshot/contract.h"

namespace corten::snapshot {
namespace {

class FakeHarness final : public SnapshotterHarness {
 public:
  Snapshotter& snapshotter() override { return snapshotter_; }

 private:
  FakeSnapshotter snapshotter_;
};

INSTANTIATE_TEST_SUITE_P(Fake, SnapshotterContract,
                         ::testing::Values(SnapshotterCase{
                             "Memory", [] { return std::make_unique<FakeHarness>(); }}),
                         SnapshotterCaseName);

TEST(FakeSnapshotter, WithARootActiveSnapshotsHaveADirectory) {
  const TestDir temp;
  FakeSnapshotter snapshotter(temp.dir().path());
  const std::vector<model::Mount> mounts = snapshotter.Prepare("a", "", {}).value();
  ASSERT_EQ(mounts.size(), 1u);
  EXPECT_EQ(mounts[0].type, "bind");
  EXPECT_TRUE(Dir::Open(mounts[0].source).ok());
}

TEST(FakeSnapshotter, UsageIsWhatTheTestSaid) {
  FakeSnapshotter snapshotter;
  snapshotter.SetUsage({3, 4096});
  ASSERT_TRUE(snapshotter.Prepare("a", "", {}).ok());
  EXPECT_EQ(snapshotter.GetUsage("a")->inodes, 3);
  ASSERT_TRUE(snapshotter.Commit("b", "a", {}).ok());
  snapshotter.SetUsage({});
  EXPECT_EQ(snapshotter.GetUsage("b")->size, 4096);
}

}  // namespace
}  // namespace corten::snapshot
