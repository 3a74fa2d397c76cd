// The daemon is killed at each failpoint of the runtime; the next one finds nothing lost and leaves
// nothing behind.
//
// The victim is this program again, in the same directories, running DISABLED_Victim with
// CORTEN_KILL_AT set. Afterwards the test itself plays the next daemon. What may be left is either
// a task that works or nothing at all: the fixture's end looks for shims, mounts, cgroups, bundles,
// sockets and runc's state.
#include <csignal>

#include "base/spawn.h"
#include "fixture.h"

namespace corten::runtime {
namespace {

class Victim : public RuntimeFixture {
 protected:
  void TearDown() override {}  // it is to be killed; if it is not, that is the test's finding
};

// A whole life: recovery of what there is, then a container of its own.
TEST_F(Victim, DISABLED_LivesUntilItIsKilled) {
  (void)AddContainer("old", {"sleep", "1000"});
  ASSERT_TRUE(tasks_->Recover().ok());
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  const ProcessKey exec{task, model::ExecId("e1")};
  ASSERT_TRUE(Exec(exec, {"true"}).ok());
  ASSERT_TRUE(Start(exec).ok());
  ASSERT_TRUE(Wait(exec).ok());
  if (getenv("CORTEN_VICTIM_KILLS_SHIM") != nullptr) {
    ASSERT_EQ(kill(ShimPid(task), SIGKILL), 0);
    (void)Wait({task, {}});
    ASSERT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}));
    ASSERT_TRUE(Eventually([&] { return !BundleExists(task); }));
  } else {
    ASSERT_TRUE(Kill({task, {}}, SIGKILL).ok());
    ASSERT_TRUE(Wait({task, {}}).ok());
    ASSERT_TRUE(Delete(task).ok());
  }
}

class Crash : public RuntimeFixture, public testing::WithParamInterface<const char*> {
 protected:
  // Runs the victim, which must die at `point`.
  void KillDaemonAt(const std::string& point, bool kills_shim = false) {
    CloseDaemon();
    SpawnOptions options;
    options.args = {"/proc/self/exe", "--gtest_filter=Victim.*", "--gtest_also_run_disabled_tests"};
    std::vector<std::string> env;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (std::string(*entry).rfind("GTEST_", 0) != 0)
        env.emplace_back(*entry);  // its results are not ours
    }
    env.push_back("CORTEN_TEST_SCRATCH=" + dir_.path());
    env.push_back("CORTEN_KILL_AT=" + point);
    if (kills_shim) env.emplace_back("CORTEN_VICTIM_KILLS_SHIM=1");
    options.env = env;
    const Result<RunOutput> ran = RunProgram(options, "", std::chrono::seconds(60));
    ASSERT_TRUE(ran.ok()) << ran.error().text();
    ASSERT_EQ(ran->status.signal, SIGKILL) << point << " was not passed:\n" << ran->out << ran->err;
  }
  // The task works, or does not exist.
  void ExpectWholeOrGone(const TaskKey& task) {
    const Result<ProcessState> state = State({task, {}});
    if (!state.ok()) {
      EXPECT_EQ(state.error().code(), Code::kNotFound) << state.error().text();
      EXPECT_FALSE(BundleExists(task));
      return;
    }
    if (state->status == ProcessStatus::kCreated) {
      EXPECT_TRUE(StartInit(task).ok());
    }
    if (state->status != ProcessStatus::kStopped) {
      EXPECT_TRUE(Kill({task, {}}, SIGKILL).ok());
    }
    const Result<ExitInfo> exit = Wait({task, {}});
    ASSERT_TRUE(exit.ok()) << exit.error().text();
    EXPECT_EQ(exit->status, 137u);
    const Result<ExitInfo> deleted = Delete(task);
    EXPECT_TRUE(deleted.ok()) << deleted.error().text();
  }
  bool Own() const { return !settings_.shim.own_shim.empty(); }
};

using CrashInLife = Crash;
TEST_P(CrashInLife, LeavesATaskThatWorksOrNothing) {
  const std::string point = GetParam();
  if (point == "runtime.create.socket_bound" && !Own())
    return;  // a foreign launcher binds its own socket
  if (point == "runtime.create.shim_answered" && Own())
    return;  // ours is started without a launcher
  ASSERT_NO_FATAL_FAILURE(KillDaemonAt(point));
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  (void)Reopen();
  if (Own() && point == "runtime.delete.shut_down") {
    EXPECT_EQ(events_->Count(TaskEvent::Kind::kExit, {task, {}}), 0u)
        << "the killed daemon had told it and acknowledged it";
  }
  ExpectWholeOrGone(task);
  EXPECT_TRUE(Create(task).ok()) << "the name is free";
}
INSTANTIATE_TEST_SUITE_P(
    All, CrashInLife,
    testing::Values("runtime.create.bundle_hidden", "runtime.create.bundle_made",
                    "runtime.create.socket_bound", "runtime.create.shim_answered",
                    "runtime.create.shim_started", "runtime.create.shim_connected",
                    "runtime.create.created", "runtime.delete.deleted", "runtime.delete.shut_down",
                    "runtime.delete.bundle_hidden", "runtime.delete.work_hidden",
                    "runtime.delete.removed"));

using CrashInCleanup = Crash;
TEST_P(CrashInCleanup, IsFinishedByTheNextDaemon) {
  ASSERT_NO_FATAL_FAILURE(KillDaemonAt(GetParam(), /*kills_shim=*/true));
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  (void)Reopen();
  EXPECT_EQ(State({task, {}}).error().code(), Code::kNotFound);
  EXPECT_FALSE(BundleExists(task));
}
INSTANTIATE_TEST_SUITE_P(All, CrashInCleanup,
                         testing::Values("runtime.dead.deleted", "runtime.dead.told"));

using CrashInRecovery = Crash;
TEST_P(CrashInRecovery, IsFinishedByTheNextDaemon) {
  const std::string point = GetParam();
  const TaskKey task = AddContainer("old", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  const bool dead =
      point.ends_with(".deleted") || point.ends_with(".told") || point.ends_with(".removed");
  if (dead) {
    const int shim = ShimPid(task);
    CloseDaemon();
    ASSERT_EQ(kill(shim, SIGKILL), 0);
    ASSERT_TRUE(Eventually([&] { return ShimPid(task) == -1; }));
  }
  ASSERT_NO_FATAL_FAILURE(KillDaemonAt(point));
  (void)Reopen();
  EXPECT_EQ(State({task, {}}).ok(), !dead);
  ExpectWholeOrGone(task);
}
INSTANTIATE_TEST_SUITE_P(All, CrashInRecovery,
                         testing::Values("runtime.recover.begin", "runtime.recover.connected",
                                         "runtime.recover.adopted", "runtime.recover.deleted",
                                         "runtime.recover.told", "runtime.recover.removed"));

}  // namespace
}  // namespace corten::runtime
