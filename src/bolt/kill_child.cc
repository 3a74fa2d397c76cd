// The process that kill_test.cc kills. Usage: bolt_kill_child FILE FIRST
// Commits numbers from FIRST on, each in a group of two buckets, and prints each number once its
// commit is acknowledged.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/strcat.h"
#include "bolt/db.h"

namespace corten::bolt {
namespace {

Status PutNumber(Tx& tx, uint64_t number) {
  for (const char* name : {"left", "right"}) {
    Bucket bucket = TRY(tx.CreateBucketIfNotExists(name));
    TRY(bucket.Put("number", std::to_string(number)));
    TRY(bucket.Put(StrCat("k", number % 50), std::string(number % 700, 'v')));
  }
  return Ok();
}

int Main(const std::string& path, uint64_t first) {
  const auto db = Db::Open(path);
  if (!db.ok() || !(*db)->WaitForFreePages().ok()) return 2;
  for (uint64_t number = first; number < first + 100; ++number) {
    if (!(*db)->Update([&](Tx& tx) { return PutNumber(tx, number); }).ok()) return 3;
    std::printf("%s\n", std::to_string(number).c_str());
    (void)std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace corten::bolt

int main(int argc, char** argv) {
  return argc == 3 ? corten::bolt::Main(argv[1], std::strtoull(argv[2], nullptr, 10)) : 1;
}
