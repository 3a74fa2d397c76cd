// A directory of its own for one test, removed at the end. Tests only.
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
    char name[] = "/tmp/corten-runtime-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~ScratchDir() {
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
};

}  // namespace corten::runtime
