#include "runtime/task_table.h"

#include <gtest/gtest.h>

namespace corten::runtime {
namespace {

const Time kAt{1000, 5};

class TaskTableTest : public testing::Test {
 protected:
  // The table only compares shims.
  static std::shared_ptr<ShimClient> FakeShim() {
    const auto owner = std::make_shared<int>(0);
    return {owner, reinterpret_cast<ShimClient*>(owner.get())};
  }
  void Make(const TaskKey& key, uint32_t pid) {
    ASSERT_TRUE(table_.Reserve(key).ok());
    table_.Attach(key, TaskLink{shim_, "/bin/shim", "io.containerd.runc.v2", false},
                  Stdio{"i", "o", "e", false});
    table_.Created(key, pid);
  }
  TaskEvent Event(TaskEvent::Kind kind, const ProcessKey& process, uint32_t pid,
                  uint32_t status = 0) {
    return {kind, process, pid, {pid, status, kAt}};
  }
  ProcessStatus StatusOf(const ProcessKey& process) {
    const auto state = table_.State(process);
    return state ? state->status : ProcessStatus::kUnknown;
  }

  TaskTable table_;
  std::shared_ptr<ShimClient> shim_ = FakeShim();
  const TaskKey key_{model::Namespace("ns"), model::ContainerId("c1")};
  const ProcessKey init_{key_, {}};
  const ProcessKey exec_{key_, model::ExecId("e1")};
};

TEST_F(TaskTableTest, HoldsAKeyOnce) {
  ASSERT_TRUE(table_.Reserve(key_).ok());
  const Status again = table_.Reserve(key_);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().WireText(), "task c1: already exists");
  EXPECT_EQ(table_.Find(key_).error().WireText(), "task c1 not found");
  table_.Abandon(key_);
  EXPECT_TRUE(table_.Reserve(key_).ok());
}

TEST_F(TaskTableTest, MovesFromCreatedOverRunningToStopped) {
  Make(key_, 42);
  EXPECT_EQ(StatusOf(init_), ProcessStatus::kCreated);
  table_.Starting(init_);
  table_.Started(init_, 42);
  EXPECT_EQ(StatusOf(init_), ProcessStatus::kRunning);
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 7)));
  const auto state = table_.State(init_);
  ASSERT_TRUE(state);
  EXPECT_EQ(state->status, ProcessStatus::kStopped);
  EXPECT_EQ(state->exit_status, 7u);
  EXPECT_EQ(state->exited_at, kAt);
  EXPECT_EQ(state->io.out, "o");
}

TEST_F(TaskTableTest, NeverMovesBack) {
  Make(key_, 42);
  table_.Starting(init_);
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42)));
  table_.Started(init_, 42);  // the answer to Start comes after the exit event
  EXPECT_EQ(StatusOf(init_), ProcessStatus::kStopped);
  table_.SetPause(key_, ProcessStatus::kPaused);
  EXPECT_EQ(StatusOf(init_), ProcessStatus::kStopped);
}

TEST_F(TaskTableTest, KnowsAnExitThatCameBeforeTheAnswerToCreate) {
  ASSERT_TRUE(table_.Reserve(key_).ok());
  table_.Attach(key_, TaskLink{shim_, "", "", false}, {});
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kCreate, init_, 42)));
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 1)));
  table_.Created(key_, 42);
  EXPECT_EQ(StatusOf(init_), ProcessStatus::kStopped);
}

TEST_F(TaskTableTest, LetsOneExitEventThrough) {
  Make(key_, 42);
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 7)));
  EXPECT_FALSE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 7)));
}

TEST_F(TaskTableTest, KeepsTheFirstReportOfAnExit) {
  Make(key_, 42);
  table_.Exited(init_, 0, {0, 3, kAt});
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 9))) << "not told yet";
  EXPECT_EQ(table_.State(init_)->exit_status, 3u);
}

TEST_F(TaskTableTest, IgnoresTheExitOfAnEarlierProcessWithTheSameName) {
  Make(key_, 42);
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 41, 1)))
      << "somebody else's, but an event";
  EXPECT_EQ(StatusOf(init_), ProcessStatus::kCreated);
  ASSERT_TRUE(table_.ExecAdded(exec_, {}).ok());
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, exec_, 50, 1)));
  EXPECT_EQ(StatusOf(exec_), ProcessStatus::kCreated);
}

TEST_F(TaskTableTest, TakesAnExecsExitThatOvertakesTheAnswerToStart) {
  Make(key_, 42);
  ASSERT_TRUE(table_.ExecAdded(exec_, {}).ok());
  table_.Starting(exec_);
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, exec_, 50, 1)));
  EXPECT_EQ(StatusOf(exec_), ProcessStatus::kStopped);
  EXPECT_EQ(table_.State(exec_)->pid, 50u);
}

TEST_F(TaskTableTest, ParksWaitersUntilTheExit) {
  Make(key_, 42);
  std::vector<ExitInfo> seen;
  const auto note = [&](Result<ExitInfo> exit) { seen.push_back(*exit); };
  ASSERT_NE(*table_.Wait(init_, note), 0u);
  ASSERT_NE(*table_.Wait(init_, note), 0u);
  EXPECT_TRUE(seen.empty());
  (void)table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 7));
  EXPECT_EQ(seen, (std::vector<ExitInfo>{{42, 7, kAt}, {42, 7, kAt}}));
  EXPECT_EQ(*table_.Wait(init_, note), 0u) << "known already";
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(TaskTableTest, ForgetsACanceledWait) {
  Make(key_, 42);
  bool called = false;
  const uint64_t wait = *table_.Wait(init_, [&](Result<ExitInfo>) { called = true; });
  EXPECT_TRUE(table_.CancelWait(wait));
  EXPECT_FALSE(table_.CancelWait(wait));
  (void)table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 7));
  EXPECT_FALSE(called);
}

TEST_F(TaskTableTest, ResolvesAWaitThatOutlivesItsTask) {
  Make(key_, 42);
  std::optional<ExitInfo> seen;
  ASSERT_TRUE(table_.Wait(init_, [&](Result<ExitInfo> exit) { seen = *exit; }).ok());
  ASSERT_TRUE(table_.TakeForRemoval(key_));
  table_.Remove(key_, {42, 9, kAt});
  ASSERT_TRUE(seen);
  EXPECT_EQ(*seen, (ExitInfo{42, 9, kAt}));
}

TEST_F(TaskTableTest, TellsWaitersOfAnExecThatNeverRan) {
  Make(key_, 42);
  ASSERT_TRUE(table_.ExecAdded(exec_, {}).ok());
  std::optional<Code> seen;
  ASSERT_TRUE(table_.Wait(exec_, [&](Result<ExitInfo> exit) { seen = exit.error().code(); }).ok());
  table_.ExecDeleted(exec_);
  EXPECT_EQ(seen, Code::kNotFound);
}

TEST_F(TaskTableTest, IsRemovedByOneCallerOnly) {
  Make(key_, 42);
  EXPECT_TRUE(table_.TakeForRemoval(key_));
  EXPECT_FALSE(table_.TakeForRemoval(key_));
  EXPECT_FALSE(table_.Find(key_).ok());
  EXPECT_FALSE(table_.Reserve(key_).ok()) << "its bundle is still there";
}

TEST_F(TaskTableTest, PublishesLateEventsOfADepartedTaskOnce) {
  Make(key_, 42);
  ASSERT_TRUE(table_.TakeForRemoval(key_));
  table_.Remove(key_, {42, 9, kAt});
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 9)));
  EXPECT_FALSE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 9)));
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kDelete, init_, 42, 9)));
  EXPECT_FALSE(table_.Admit(Event(TaskEvent::Kind::kDelete, init_, 42, 9)));
  EXPECT_TRUE(table_.LeftOut(shim_.get()).empty());
}

TEST_F(TaskTableTest, MakesUpForEventsThatAShimTookWithIt) {
  Make(key_, 42);
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 9)));
  ASSERT_TRUE(table_.TakeForRemoval(key_));
  table_.Remove(key_, {42, 9, kAt});
  const auto left_out = table_.LeftOut(shim_.get());
  ASSERT_EQ(left_out.size(), 1u);
  EXPECT_TRUE(left_out[0].exits.empty()) << "was told";
  EXPECT_EQ(left_out[0].deleted, (ExitInfo{42, 9, kAt}));
  EXPECT_FALSE(table_.Admit(Event(TaskEvent::Kind::kDelete, init_, 42, 9))) << "told on its behalf";
}

TEST_F(TaskTableTest, AnExitToldBeforeRecoveryKnewTheTaskIsNotToldAgain) {
  ProcessState stopped;
  stopped.pid = 42;
  stopped.status = ProcessStatus::kStopped;
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 137)));
  ASSERT_TRUE(table_.Reserve(key_).ok());
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, exec_, 43, 137)));
  table_.Adopt(key_, TaskLink{shim_, "", "", false}, stopped);
  EXPECT_FALSE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 137)));
  ProcessState exec = stopped;
  exec.exec = exec_.exec;
  exec.pid = 43;
  table_.Merge(exec_, exec);
  ASSERT_TRUE(table_.TakeForRemoval(key_));
  table_.Remove(key_, {42, 137, kAt});
  const auto left_out = table_.LeftOut(shim_.get());
  ASSERT_EQ(left_out.size(), 1u);
  EXPECT_TRUE(left_out[0].exits.empty());
  EXPECT_EQ(left_out[0].deleted->pid, 42u);
}

TEST_F(TaskTableTest, AnExitOfAnEarlierDaemonsTimeIsLeftToAShimThatKeepsEvents) {
  for (const bool keeps : {true, false}) {
    const uint32_t pid = keeps ? 42 : 43;
    ASSERT_TRUE(table_.Reserve(key_).ok());
    ProcessState stopped;
    stopped.pid = pid;
    stopped.status = ProcessStatus::kStopped;
    table_.Adopt(key_, TaskLink{shim_, "", "", false, keeps}, stopped);
    ASSERT_TRUE(table_.TakeForRemoval(key_));
    table_.Remove(key_, {pid, 137, kAt});
    const auto left_out = table_.LeftOut(shim_.get());
    ASSERT_EQ(left_out.size(), 1u);
    EXPECT_EQ(left_out[0].exits.size(), keeps ? 0u : 1u);
    EXPECT_EQ(table_.Admit(Event(TaskEvent::Kind::kExit, init_, pid, 137)), keeps)
        << "it may still be on its way";
  }
}

TEST_F(TaskTableTest, BuriesExecsBeforeInitAndEachOnce) {
  Make(key_, 42);
  table_.Started(init_, 42);
  ASSERT_TRUE(table_.ExecAdded(exec_, {}).ok());
  table_.Starting(exec_);
  table_.Started(exec_, 50);
  const ProcessKey done{key_, model::ExecId("done")};
  ASSERT_TRUE(table_.ExecAdded(done, {}).ok());
  table_.Starting(done);
  EXPECT_TRUE(table_.Admit(Event(TaskEvent::Kind::kExit, done, 51, 0)));
  const ProcessKey never{key_, model::ExecId("never")};
  ASSERT_TRUE(table_.ExecAdded(never, {}).ok());
  std::optional<ExitInfo> seen;
  ASSERT_TRUE(table_.Wait(init_, [&](Result<ExitInfo> exit) { seen = *exit; }).ok());

  const auto lost = table_.ShimLost(shim_.get());
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_TRUE(table_.ShimLost(shim_.get()).empty());
  const auto untold = table_.Bury(key_, {42, 137, kAt});
  ASSERT_EQ(untold.exits.size(), 2u);
  EXPECT_EQ(untold.exits[0].first, exec_);
  EXPECT_EQ(untold.exits[0].second, (ExitInfo{50, 255, kAt}));
  EXPECT_EQ(untold.exits[1].first, init_);
  EXPECT_EQ(untold.exits[1].second, (ExitInfo{42, 137, kAt}));
  EXPECT_TRUE(untold.deleted);
  EXPECT_FALSE(seen) << "not before the bundle is gone";
  table_.Remove(key_, {42, 137, kAt});
  EXPECT_EQ(seen, (ExitInfo{42, 137, kAt}));
  EXPECT_FALSE(table_.Admit(Event(TaskEvent::Kind::kExit, init_, 42, 0)))
      << "a late event of the dead shim";
}

TEST_F(TaskTableTest, BuriesAnExitThatWasKnownAsItWas) {
  Make(key_, 42);
  table_.Exited(init_, 0, {42, 3, kAt});
  (void)table_.ShimLost(shim_.get());
  const auto untold = table_.Bury(key_, {42, 137, {2000, 0}});
  ASSERT_EQ(untold.exits.size(), 1u);
  EXPECT_EQ(untold.exits[0].second, (ExitInfo{42, 3, kAt}));
}

TEST_F(TaskTableTest, LosesAllTasksOfAPodWithItsShimAndNoOthers) {
  const TaskKey second{model::Namespace("ns"), model::ContainerId("c2")};
  const TaskKey other{model::Namespace("ns"), model::ContainerId("c3")};
  Make(key_, 42);
  Make(second, 43);
  const auto pod = std::exchange(shim_, FakeShim());
  Make(other, 44);
  EXPECT_EQ(table_.ShimLost(pod.get()).size(), 2u);
  EXPECT_TRUE(table_.Find(other).ok());
  EXPECT_FALSE(table_.Find(second).ok());
}

TEST_F(TaskTableTest, ShowsAFrozenContainersExecsAsFrozen) {
  Make(key_, 42);
  table_.Started(init_, 42);
  ASSERT_TRUE(table_.ExecAdded(exec_, {}).ok());
  table_.Starting(exec_);
  table_.Started(exec_, 50);
  table_.SetPause(key_, ProcessStatus::kPaused);
  EXPECT_EQ(StatusOf(exec_), ProcessStatus::kPaused);
  EXPECT_EQ(table_.List(key_.ns).at(0).status, ProcessStatus::kPaused);
  table_.SetPause(key_, ProcessStatus::kRunning);
  EXPECT_EQ(StatusOf(exec_), ProcessStatus::kRunning);
}

TEST_F(TaskTableTest, ListsOneNamespaceById) {
  Make({model::Namespace("ns"), model::ContainerId("b")}, 1);
  Make({model::Namespace("ns"), model::ContainerId("a")}, 2);
  Make({model::Namespace("ns2"), model::ContainerId("c")}, 3);
  ASSERT_TRUE(table_.Reserve({model::Namespace("ns"), model::ContainerId("d")}).ok());
  const auto list = table_.List(model::Namespace("ns"));
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].container.str(), "a");
  EXPECT_EQ(list[1].container.str(), "b");
}

TEST_F(TaskTableTest, AdmitsThatItDoesNotKnow) {
  Make(key_, 42);
  EXPECT_FALSE(table_.State(exec_)) << "an exec of an earlier daemon";
  table_.Doubt(key_);
  EXPECT_FALSE(table_.State(init_));
  ProcessState state;
  state.pid = 42;
  state.status = ProcessStatus::kStopped;
  state.exit_status = 5;
  state.exited_at = kAt;
  std::optional<ExitInfo> seen;
  ASSERT_TRUE(table_.Wait(init_, [&](Result<ExitInfo> exit) { seen = *exit; }).ok());
  table_.Merge(init_, state);
  EXPECT_EQ(StatusOf(init_), ProcessStatus::kStopped);
  EXPECT_EQ(seen, (ExitInfo{42, 5, kAt}));
}

TEST_F(TaskTableTest, WatchesAProcessOnce) {
  Make(key_, 42);
  const uint64_t generation = table_.BeginWatch(init_);
  EXPECT_NE(generation, 0u);
  EXPECT_EQ(table_.BeginWatch(init_), 0u);
  table_.Exited(init_, generation + 1, {42, 1, kAt});
  EXPECT_EQ(StatusOf(init_), ProcessStatus::kCreated) << "another generation";
  table_.Exited(init_, generation, {42, 1, kAt});
  EXPECT_EQ(StatusOf(init_), ProcessStatus::kStopped);
}

}  // namespace
}  // namespace corten::runtime
