#include "shim/program_call.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

namespace corten::shim {
namespace {

class ProgramCallTest : public testing::Test {
 protected:
  void SetUp() override { (void)signal(SIGPIPE, SIG_IGN); }
  // Runs `script` and turns the loop until its end.
  Result<ProgramOutput> Run(const std::string& script, const std::string& input = "",
                            std::chrono::milliseconds deadline = std::chrono::seconds(20)) {
    ProgramCall call;
    call.spawn.args = {"/bin/sh", "-c", script};
    call.input = input;
    call.deadline = deadline;
    std::optional<Result<ProgramOutput>> result;
    TRY(RunProgramCall(*loop_, reaper_, std::move(call),
                       [&](Result<ProgramOutput> output) { result.emplace(std::move(output)); }));
    const auto end = Loop::Clock::now() + std::chrono::seconds(30);
    while (!result.has_value() && Loop::Clock::now() < end) {
      EXPECT_TRUE(loop_->RunOnce(std::chrono::milliseconds(50)).ok());
    }
    if (!result.has_value()) return InternalError("the call never ended");
    return std::move(*result);
  }

  std::unique_ptr<Loop> loop_ = std::move(*Loop::Create());
  Reaper reaper_{*loop_};
};

TEST_F(ProgramCallTest, OutputsInputAndStatusAreTold) {
  const auto output = Run("cat; echo err >&2; exit 3", "some input");
  ASSERT_TRUE(output.ok()) << output.error().text();
  EXPECT_EQ(output->out, "some input");
  EXPECT_EQ(output->err, "err\n");
  EXPECT_EQ(output->status.code, 3);
}

TEST_F(ProgramCallTest, OutputBeyondTheBoundIsCutAndDoesNotStopTheProgram) {
  const auto output = Run("head -c 3000000 /dev/zero");
  ASSERT_TRUE(output.ok()) << output.error().text();
  EXPECT_EQ(output->out.size(), size_t{1} << 20);
  EXPECT_EQ(output->status.code, 0);
}

TEST_F(ProgramCallTest, PastItsDeadlineItIsKilled) {
  const auto begin = Loop::Clock::now();
  const auto output = Run("exec sleep 1000", "", std::chrono::milliseconds(1000));
  ASSERT_FALSE(output.ok());
  EXPECT_TRUE(output.error().Is(Code::kDeadlineExceeded));
  EXPECT_EQ(output.error().text(), "/bin/sh: no result after 1 s");
  EXPECT_LT(Loop::Clock::now() - begin, std::chrono::seconds(15));
}

TEST_F(ProgramCallTest, AGrandchildThatHoldsTheOutputIsNotWaitedFor) {
  const auto begin = Loop::Clock::now();
  const auto output = Run("echo before; sleep 25 & exit 0");
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->out, "before\n");
  EXPECT_LT(Loop::Clock::now() - begin, std::chrono::seconds(15));
}

TEST_F(ProgramCallTest, AMissingProgramIsTheCallersError) {
  ProgramCall call;
  call.spawn.args = {"/no/such/program"};
  const Status started = RunProgramCall(*loop_, reaper_, std::move(call), [](auto) { FAIL(); });
  EXPECT_TRUE(started.error().Is(Code::kNotFound));
}

TEST_F(ProgramCallTest, AnOrphanUnderAHoldKeepsItsStatusUntilItIsWatched) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  std::optional<Reaper::Hold> hold(&reaper_);
  // Like `runc create`: reports a pid and ends. The process ends after it, or the shell that
  // started it could take its status, and before it is watched.
  const auto output =
      Run("sh -c 'while kill -0 $1; do :; done; exit 7' sh $$ >/dev/null 2>&1 & echo $!");
  ASSERT_TRUE(output.ok());
  const pid_t pid = atoi(output->out.c_str());
  siginfo_t info = {};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  reaper_.Sweep();
  std::optional<ExitStatus> status;
  ASSERT_TRUE(reaper_.WatchPid(pid, [&](ExitStatus seen) { status = seen; }).ok());
  hold.reset();
  const auto end = Loop::Clock::now() + std::chrono::seconds(20);
  while (!status.has_value() && Loop::Clock::now() < end) {
    ASSERT_TRUE(loop_->RunOnce(std::chrono::milliseconds(50)).ok());
  }
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->code, 7);
  EXPECT_TRUE(reaper_.Kill(pid, SIGTERM).error().Is(Code::kNotFound));
}

}  // namespace
}  // namespace corten::shim
