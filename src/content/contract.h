// The contract suite of content::Store: what content/store.h says, as tests that every
// implementation passes.
//
// A test file includes this header and instantiates the suite:
//   INSTANTIATE_TEST_SUITE_P(Local, StoreContract, ::testing::Values(StoreCase{...}),
//   StoreCaseName);
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "base/hash.h"
#include "content/store.h"

namespace corten::content {

// An empty store and whatever must live as long as it does.
class StoreHarness {
 public:
  virtual ~StoreHarness() = default;
  virtual Store& store() = 0;
};

struct StoreCase {
  std::string name;  // letters and digits
  std::function<std::unique_ptr<StoreHarness>()> make;
  bool labels = true;       // keeps labels
  bool reader_pins = true;  // a reader outlives the deletion of its blob (a remote one cannot)
};

inline void PrintTo(const StoreCase& store_case, std::ostream* out) { *out << store_case.name; }
inline std::string StoreCaseName(const ::testing::TestParamInfo<StoreCase>& info) {
  return info.param.name;
}

class StoreContract : public ::testing::TestWithParam<StoreCase> {
 protected:
  void SetUp() override {
    harness_ = GetParam().make();
    ASSERT_NE(harness_, nullptr);
  }

  Store& store() { return harness_->store(); }

  static model::Digest DigestOf(std::string_view data, std::string_view algorithm = "sha256") {
    Hasher hasher = Hasher::Create(algorithm).value();
    hasher.Update(data);
    return model::Digest::Parse(hasher.Digest()).value();
  }

  static model::Descriptor DescriptorOf(std::string_view data) {
    model::Descriptor descriptor;
    descriptor.digest = DigestOf(data);
    descriptor.size = static_cast<int64_t>(data.size());
    return descriptor;
  }

  static Info Labelled(const model::Digest& digest, const model::Labels& labels) {
    Info info;
    info.digest = digest;
    info.labels = labels;
    return info;
  }

  // Bytes that do not repeat soon, told apart by `seed`.
  static std::string Data(size_t size, uint32_t seed) {
    std::string data(size, '\0');
    uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
    for (char& c : data) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      c = static_cast<char>(state >> 56);
    }
    return data;
  }

  std::unique_ptr<Writer> MustOpen(const std::string& ref, const model::Digest& expected = {},
                                   int64_t total = 0) {
    Result<std::unique_ptr<Writer>> writer = store().OpenWriter({ref, expected, total});
    EXPECT_TRUE(writer.ok()) << (writer.ok() ? "" : writer.error().text());
    return writer.ok() ? std::move(writer).value() : nullptr;
  }

  model::Digest MustAdd(const std::string& ref, std::string_view data,
                        const model::Labels& labels = {}) {
    const model::Digest digest = DigestOf(data);
    const Status written = WriteBlob(store(), ref, data, DescriptorOf(data), labels);
    EXPECT_TRUE(written.ok()) << (written.ok() ? "" : written.error().text());
    return digest;
  }

  void ExpectBlob(const model::Digest& digest, const std::string& data) {
    const Result<std::string> read = ReadBlob(store(), digest, 1 << 30);
    ASSERT_TRUE(read.ok()) << read.error().text();
    EXPECT_TRUE(*read == data) << digest.str() << " holds other bytes";
  }

  Code CodeOf(const Status& status) { return status.ok() ? Code::kOk : status.error().code(); }
  template <typename T>
  Code CodeOf(const Result<T>& result) {
    return result.ok() ? Code::kOk : result.error().code();
  }

 private:
  std::unique_ptr<StoreHarness> harness_;
};

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreContract);

}  // namespace corten::content

#include "content/contract_blobs.h"
#include "content/contract_ingests.h"
