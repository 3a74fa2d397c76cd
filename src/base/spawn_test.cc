#include "base/spawn.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace corten {
namespace {

using std::chrono::milliseconds;

SpawnOptions Shell(const std::string& script) {
  SpawnOptions options;
  options.args = {"/bin/sh", "-c", script};
  return options;
}

TEST(Spawn, CapturesOutputAndExitCode) {
  const RunOutput output =
      RunProgram(Shell("cat; echo err >&2; exit 7"), "hello", milliseconds(10000)).value();
  EXPECT_EQ(output.out, "hello");
  EXPECT_EQ(output.err, "err\n");
  EXPECT_EQ(output.status.code, 7);
}

TEST(Spawn, AProgramNeedNotReadItsInput) {
  ASSERT_NE(signal(SIGPIPE, SIG_DFL), SIG_ERR);  // a client's: the daemon ignores it
  const std::string input(1 << 20, 'x');         // more than a pipe holds
  EXPECT_EQ(RunProgram(Shell("exit 3"), input, milliseconds(10000)).value().status.code, 3);
}

TEST(Spawn, AMissingProgramIsAnErrorNotAnExit) {
  SpawnOptions options;
  options.args = {"corten-no-such-program"};
  EXPECT_EQ(Spawn(options).error().code(), Code::kNotFound);
}

TEST(Spawn, OnlyNamedDescriptorsReachTheChild) {
  const Pipe hidden = MakePipe().value();
  const Pipe named = MakePipe().value();
  SpawnOptions options = Shell("ls /proc/$$/fd");
  options.fds.emplace_back(named.write, 77);
  const RunOutput output = RunProgram(std::move(options), "", milliseconds(10000)).value();
  EXPECT_NE(output.out.find("77\n"), std::string::npos);
  EXPECT_EQ(StrCat("\n", output.out).find(StrCat("\n", hidden.read.get(), "\n")),
            std::string::npos);
}

TEST(Spawn, ADeadlineKillsTheChild) {
  const auto result = RunProgram(Shell("exec sleep 1000"), "", milliseconds(50));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), Code::kDeadlineExceeded);
}

TEST(Spawn, SignalsShowAs128PlusNumber) {
  Child child = Spawn(Shell("exec sleep 1000")).value();
  ASSERT_TRUE(child.Kill(SIGTERM).ok());
  const ExitStatus status = child.Wait().value();
  EXPECT_EQ(status.code, 143);
  EXPECT_EQ(status.signal, SIGTERM);
}

}  // namespace
}  // namespace corten
