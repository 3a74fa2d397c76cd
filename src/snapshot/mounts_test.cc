// The drivers that really mount. Needs root.
#include "snapshot/contract_mounts.h"
#include "snapshot/native/native.h"
#include "snapshot/overlay/overlay.h"

namespace corten::snapshot {
namespace {

class DriverHarness final : public SnapshotterHarness {
 public:
  explicit DriverHarness(
      const std::function<Result<std::unique_ptr<Driver>>(const std::string& root)>& open)
      : driver_(open(temp_.Path("root")).value()) {}
  Snapshotter& snapshotter() override { return *driver_; }

 private:
  TestDir temp_;
  std::unique_ptr<Driver> driver_;
};

std::unique_ptr<SnapshotterHarness> MakeOverlay() {
  return std::make_unique<DriverHarness>([](const std::string& root) {
    overlay::Config config;
    config.root = root;
    return overlay::Open(config);
  });
}

std::unique_ptr<SnapshotterHarness> MakeNative() {
  return std::make_unique<DriverHarness>(
      [](const std::string& root) { return native::Open({root}); });
}

INSTANTIATE_TEST_SUITE_P(Drivers, SnapshotterMountContract,
                         ::testing::Values(SnapshotterCase{"Overlay", &MakeOverlay},
                                           SnapshotterCase{"Native", &MakeNative, false}),
                         SnapshotterCaseName);

}  // namespace
}  // namespace corten::snapshot
