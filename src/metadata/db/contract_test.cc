#include "metadata/contract.h"

#include "metadata/db/test_fixture.h"
#include "snapshot/contract.h"
#include "snapshot/contract_crowd.h"

namespace corten::metadata {
namespace {

class DatabaseHarness final : public StoresHarness {
 public:
  NamespaceStore& namespaces() override { return f_.db().namespaces(); }
  ContainerStore& containers() override { return f_.db().containers(); }
  ImageStore& images() override { return f_.db().images(); }
  LeaseStore& leases() override { return f_.db().leases(); }
  SandboxStore& sandboxes() override { return f_.db().sandboxes(); }

 private:
  DatabaseFixture f_;
};

INSTANTIATE_TEST_SUITE_P(Database, StoresContract,
                         ::testing::Values(StoresCase{
                             "Database", [] { return std::make_unique<DatabaseHarness>(); }}),
                         StoresCaseName);

}  // namespace
}  // namespace corten::metadata

namespace corten::snapshot {
namespace {

class ScopedHarness final : public SnapshotterHarness {
 public:
  Snapshotter& snapshotter() override { return *view_; }

 private:
  metadata::DatabaseFixture fixture_;
  std::unique_ptr<Snapshotter> view_ = fixture_.Snapshots();
};

INSTANTIATE_TEST_SUITE_P(Metadata, SnapshotterContract,
                         ::testing::Values(SnapshotterCase{
                             "ScopedSnapshots", [] { return std::make_unique<ScopedHarness>(); },
                             true, true}),
                         SnapshotterCaseName);

}  // namespace
}  // namespace corten::snapshot
