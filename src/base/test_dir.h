// A directory for one test, gone with it. Tests only.
#pragma once

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/dir.h"

namespace corten {

class TestDir {
 public:
  // In memory where the machine has such a place (flushes then cost nothing), unless
  // CORTEN_TEST_DIR names another one.
  TestDir() : TestDir(DefaultPlace()) {}
  explicit TestDir(std::string_view above) {
    std::string name = StrCat(above, "/corten-test-XXXXXX");
    CHECK(mkdtemp(name.data()) != nullptr);
    dir_ = Dir::Open(name).value();
  }
  ~TestDir() {
    (void)dir_.RemoveChildren();  // a leftover fails nothing
    (void)rmdir(dir_.path().c_str());
  }
  TestDir(const TestDir&) = delete;
  TestDir& operator=(const TestDir&) = delete;

  const Dir& dir() const { return dir_; }
  std::string Path(std::string_view name) const { return dir_.Path(name); }

 private:
  static const char* DefaultPlace() {
    const char* above = getenv("CORTEN_TEST_DIR");
    if (above != nullptr) return above;
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  }
  Dir dir_;
};

}  // namespace corten
