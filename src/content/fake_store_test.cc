#include "content/fake_store.h"

#include "content/contract.h"

namespace corten::content {
namespace {

class FakeHarness final : public StoreHarness {
 public:
  Store& store() override { return store_; }

 private:
  FakeStore store_;
};

INSTANTIATE_TEST_SUITE_P(Fake, StoreContract,
                         ::testing::Values(StoreCase{
                             "Memory", [] { return std::make_unique<FakeHarness>(); }}),
                         StoreCaseName);

TEST(FakeStore, AFullStoreRefusesWritesAndKeepsTheIngest) {
  FakeStore store;
  store.SetCapacity(10);
  std::unique_ptr<Writer> writer = store.OpenWriter({"a", {}, 0}).value();
  EXPECT_TRUE(writer->Write("12345678").ok());
  EXPECT_TRUE(writer->Write("9012").error().Is(Code::kResourceExhausted));
  EXPECT_EQ(writer->GetStatus()->offset, 8);
  EXPECT_TRUE(writer->Commit({}).ok());
}

}  // namespace
}  // namespace corten::content
