// A database of one test in a directory of its own, on backends in memory.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/test_dir.h"
#include "content/fake_store.h"
#include "metadata/db/database.h"

namespace corten::metadata {

// A clock that moves one second at each look, and further when told.
class TickingClock {
 public:
  Time Now() {
    const std::lock_guard lock(mutex_);
    return Time{++seconds_, 500};
  }
  void Advance(int64_t seconds) {
    const std::lock_guard lock(mutex_);
    seconds_ += seconds;
  }
  // RFC 3339 of a moment `seconds` from now.
  std::string In(int64_t seconds) {
    const std::lock_guard lock(mutex_);
    return FormatRfc3339({seconds_ + seconds, 0});
  }

 private:
  std::mutex mutex_;
  int64_t seconds_ = 1790000000;
};

inline const model::Namespace kDefault{"default"};

inline model::Scope In(const std::string& ns, const std::string& lease = "") {
  return {model::Namespace(ns), model::LeaseId(lease)};
}
inline const model::Scope kScope = In("default");

inline Container MakeContainer(const std::string& id) {
  Container container;
  container.id = model::ContainerId(id);
  container.image = "img";
  container.runtime.name = "io.containerd.runc.v2";
  container.runtime.options = model::Any{"containerd.runc.v1.Options", ""};
  container.spec = model::Any{"types.containerd.io/opencontainers/runtime-spec/1/Spec", "{}"};
  container.labels = {{"a", "1"}, {"b", "2"}};
  return container;
}

inline model::Digest DigestNumber(uint64_t number) {
  std::string hex = StrCat(number);
  return model::Digest::Parse("sha256:" + std::string(64 - hex.size(), '0') + hex).value();
}

inline Image MakeImage(const std::string& name, const model::Digest& target = DigestNumber(1)) {
  Image image;
  image.name = name;
  image.target.digest = target;
  image.target.size = 582;
  image.target.media_type = std::string(model::media_type::kOciManifest);
  return image;
}

// Status and Result as test conditions.
#define ASSERT_OK(expr)                                                    \
  do {                                                                     \
    const auto& assert_ok_status = (expr);                                 \
    ASSERT_TRUE(assert_ok_status.ok()) << assert_ok_status.error().text(); \
  } while (false)
#define EXPECT_FAILS(expr, expected_code, expected_text)              \
  do {                                                                \
    const auto& expect_fails_status = (expr);                         \
    ASSERT_FALSE(expect_fails_status.ok());                           \
    EXPECT_EQ(expect_fails_status.error().code(), expected_code)      \
        << expect_fails_status.error().text();                        \
    EXPECT_EQ(expect_fails_status.error().WireText(), expected_text); \
  } while (false)

}  // namespace corten::metadata
