// A directory of its own for one test, removed at the end. Tests only.
// A program that a test starts may be told to work in the test's directory (CORTEN_TEST_SCRATCH)
// and leaves it alone.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace corten::runtime {

class ScratchDir {
 public:
  ScratchDir() {
    const char* given = getenv("CORTEN_TEST_SCRATCH");
    ours_ = given == nullptr;
    if (!ours_) {
      path_ = given;
      return;
    }
    char name[] = "/tmp/corten-runtime-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~ScratchDir() {
    if (!ours_) return;
    std::error_code ignored;  // what is left is a finding of the test, not of its end
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::string Read(const std::string& name) const {
    std::ifstream file(*this / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void WriteProgram(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(*this / name).parent_path());
    std::ofstream(*this / name) << text;
    std::filesystem::permissions(*this / name, std::filesystem::perms::owner_all);
  }

 private:
  std::string path_;
  bool ours_ = true;
};

}  // namespace corten::runtime
