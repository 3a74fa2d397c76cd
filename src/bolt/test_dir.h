// A directory of its own for a test, and short ways to say what tests say often. Test code.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "bolt/check.h"
#include "bolt/db.h"

namespace corten::bolt {

class TestDir {
 public:
  TestDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "corten-bolt-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  TestDir(const TestDir&) = delete;
  TestDir& operator=(const TestDir&) = delete;
  ~TestDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string File(const std::string& name = "test.db") const { return path_ + "/" + name; }

 private:
  std::string path_;
};

#define ASSERT_STATUS(expr)                                             \
  do {                                                                  \
    const ::corten::Status assert_status = (expr);                      \
    ASSERT_TRUE(assert_status.ok()) << assert_status.error().text();    \
  } while (false)
#define EXPECT_STATUS(expr)                                             \
  do {                                                                  \
    const ::corten::Status expect_status = (expr);                      \
    EXPECT_TRUE(expect_status.ok()) << expect_status.error().text();    \
  } while (false)

// The value of a result that must have one.
template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.error().text();
    std::abort();
  }
  return std::move(result).value();
}

inline std::unique_ptr<Db> MustOpen(const std::string& path, const Options& options = {}) {
  return Must(Db::Open(path, options));
}

// Expects that the newest state has no problem.
inline CheckReport ExpectSound(Db& db) {
  CheckReport report;
  EXPECT_STATUS(db.View([&](const Tx& tx) -> Status {
    report = TRY(Check(tx));
    return Ok();
  }));
  for (const std::string& problem : report.problems) ADD_FAILURE() << problem;
  return report;
}

}  // namespace corten::bolt
