// A process is killed at each step of a commit; the next one finds the state before or after it and
// goes on.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/spawn.h"
#include "base/strcat.h"
#include "bolt/test_dir.h"

namespace corten::bolt {
namespace {

uint64_t Number(const Tx& tx, const std::string& bucket) {
  const std::optional<Bucket> found = Must(tx.FindBucket(bucket));
  return found ? std::stoull(std::string(Must(found->Get("number")))) : 0;
}

// The last number that the killed process printed, or `otherwise`.
uint64_t LastPrinted(const std::string& out, uint64_t otherwise) {
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) otherwise = std::stoull(line);
  return otherwise;
}

class Kill : public ::testing::TestWithParam<const char*> {};

TEST_P(Kill, LeavesTheStateBeforeOrAfterTheCommit) {
  const TestDir dir;
  uint64_t known = 0;
  for (const int passage : {1, 2, 3, 20, 55}) {
    SpawnOptions options;
    options.args = {
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "bolt_kill_child",
        dir.File(), std::to_string(known + 1)};
    options.env = std::vector<std::string>{StrCat("CORTEN_KILL_AT=", GetParam(), "@", passage)};
    const RunOutput run =
        Must(RunProgram(std::move(options), "", std::chrono::milliseconds(60000)));
    ASSERT_EQ(run.status.signal, SIGKILL) << run.err;
    const uint64_t acknowledged = LastPrinted(run.out, known);
    const auto db = MustOpen(dir.File());
    ExpectAllPagesAccountedFor(*db);
    ASSERT_STATUS(db->View([&](const Tx& tx) -> Status {
      known = Number(tx, "left");
      EXPECT_EQ(known, Number(tx, "right"));
      return Ok();
    }));
    EXPECT_TRUE(known == acknowledged || known == acknowledged + 1)
        << known << " and " << acknowledged;
  }
}

INSTANTIATE_TEST_SUITE_P(Steps, Kill,
                         ::testing::Values("bolt.commit.pages_written", "bolt.commit.pages_flushed",
                                           "bolt.commit.meta_written", "bolt.commit.meta_flushed"));

}  // namespace
}  // namespace corten::bolt
