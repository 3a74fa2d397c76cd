// Lifecycles of real containers through a real shim and runc.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "fixture.h"

namespace corten::runtime {
namespace {

using Journeys = RuntimeFixture;

TEST_F(Journeys, AContainerLivesFromCreateToDelete) {
  const TaskKey task = AddContainer("c1", {"sh", "-c", "exit 7"});
  const auto pid = Create(task);
  ASSERT_TRUE(pid.ok()) << pid.error().text();
  EXPECT_GT(*pid, 0u);
  EXPECT_EQ(State({task, {}})->status, ProcessStatus::kCreated);
  EXPECT_TRUE(BundleExists(task));

  Pending<ExitInfo> waiting;  // as every client does: before Start
  EXPECT_NE(tasks_->Wait({task, {}}, waiting.Callback()), 0u);
  const auto started = StartInit(task);
  ASSERT_TRUE(started.ok()) << started.error().text();
  EXPECT_EQ(*started, *pid);
  const auto exit = waiting.Get();
  ASSERT_TRUE(exit.ok()) << exit.error().text();
  EXPECT_EQ(exit->status, 7u);

  const auto state = State({task, {}});
  EXPECT_EQ(state->status, ProcessStatus::kStopped);
  EXPECT_EQ(state->exit_status, 7u);
  EXPECT_EQ(state->exited_at, exit->at) << "Wait and State tell one time";
  EXPECT_EQ(Wait({task, {}})->at, exit->at) << "and again";
  const auto deleted = Delete(task);
  ASSERT_TRUE(deleted.ok()) << deleted.error().text();
  EXPECT_EQ(deleted->status, 7u);
  EXPECT_EQ(deleted->pid, *pid);
  EXPECT_FALSE(BundleExists(task));
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}));
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kExit, {task, {}}));
  EXPECT_EQ(events_->Story(task),
            (std::vector<std::string>{"create", "start", "exit=7", "delete"}));
  EXPECT_EQ(State({task, {}}).error().WireText(), "task c1 not found");
}

TEST_F(Journeys, OutputGoesToTheFilesThatWereNamed) {
  const TaskKey task = AddContainer("c1", {"sh", "-c", "echo out; echo err >&2"});
  CreateRequest request = RequestFor(task);
  std::ofstream(dir_ / "out").close();
  std::ofstream(dir_ / "err").close();
  request.io = {"", dir_ / "out", dir_ / "err", false};
  ASSERT_TRUE(Create(request).ok());
  EXPECT_EQ(State({task, {}})->io.out, dir_ / "out");
  ASSERT_TRUE(StartInit(task).ok());
  ASSERT_TRUE(Wait({task, {}}).ok());
  ASSERT_TRUE(Delete(task).ok());
  EXPECT_EQ(dir_.Read("out"), "out\n");
  EXPECT_EQ(dir_.Read("err"), "err\n");
}

TEST_F(Journeys, AnExecRunsBesideInitAndTellsItsOwnExit) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  const ProcessKey exec{task, model::ExecId("e1")};
  const Status added = Exec(exec, {"sh", "-c", "exit 3"});
  ASSERT_TRUE(added.ok()) << added.error().text();
  EXPECT_EQ(Exec(exec, {"true"}).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(State(exec)->status, ProcessStatus::kCreated);
  Pending<ExitInfo> waiting;
  (void)tasks_->Wait(exec, waiting.Callback());
  const auto pid = Start(exec);
  ASSERT_TRUE(pid.ok()) << pid.error().text();
  EXPECT_EQ(waiting.Get()->status, 3u);
  const auto state = State(exec);
  EXPECT_EQ(state->status, ProcessStatus::kStopped);
  EXPECT_EQ(state->exit_status, 3u);
  EXPECT_EQ(state->pid, *pid);
  EXPECT_EQ(DeleteProcess(exec)->status, 3u);
  const auto gone = State(exec);
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().WireText(), "process does not exist e1: not found");
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kExit, exec));
  EXPECT_EQ(events_->Story(task), (std::vector<std::string>{"create", "start", "exec-added e1",
                                                            "exec-started e1", "exit e1=3"}));
}

TEST_F(Journeys, ExecsEndBeforeTheirContainer) {
  Extra shared;
  shared.shared_pids = true;
  const TaskKey task = AddContainer("c1", {"sleep", "1000"}, shared);
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  for (const char* id : {"e1", "e2", "e3"}) {
    ASSERT_TRUE(Exec({task, model::ExecId(id)}, {"sleep", "1000"}).ok());
    ASSERT_TRUE(Start({task, model::ExecId(id)}).ok());
  }
  ASSERT_TRUE(Kill({task, {}}, SIGKILL).ok());
  ASSERT_TRUE(events_->Await(TaskEvent::Kind::kExit, {task, {}}));
  EXPECT_EQ(events_->Story(task).back(), "exit=137");
  for (const char* id : {"e1", "e2", "e3"})
    EXPECT_EQ(events_->Count(TaskEvent::Kind::kExit, {task, model::ExecId(id)}), 1u);
}

TEST_F(Journeys, AWaitOutstandingAcrossDeleteIsAnswered) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  Pending<ExitInfo> waiting;
  (void)tasks_->Wait({task, {}}, waiting.Callback());
  const auto deleted = Delete(task);  // created, never started
  ASSERT_TRUE(deleted.ok()) << deleted.error().text();
  const auto exit = waiting.Get();
  ASSERT_TRUE(exit.ok()) << exit.error().text();
  EXPECT_EQ(exit->status, deleted->status);
}

TEST_F(Journeys, ARunningTaskIsNotDeleted) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  const auto deleted = Delete(task);
  ASSERT_FALSE(deleted.ok());
  EXPECT_EQ(deleted.error().code(), Code::kUnknown);
  EXPECT_NE(deleted.error().text().find("cannot delete a running process"), std::string::npos)
      << deleted.error().text();
  EXPECT_EQ(State({task, {}})->status, ProcessStatus::kRunning);
}

TEST_F(Journeys, ASecondCreateIsRefused) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  const auto again = Create(task);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().WireText(), "task c1: already exists");
  EXPECT_EQ(State({task, {}})->status, ProcessStatus::kCreated);
}

TEST_F(Journeys, AFrozenContainerSaysSoAndThaws) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  const Status paused = Pause(task);
  ASSERT_TRUE(paused.ok()) << paused.error().text();
  EXPECT_EQ(State({task, {}})->status, ProcessStatus::kPaused);
  EXPECT_EQ(tasks_->List(ns_).at(0).status, ProcessStatus::kPaused);
  const Status exec = Exec({task, model::ExecId("e1")}, {"true"});
  ASSERT_FALSE(exec.ok());
  EXPECT_NE(exec.error().text().find("cannot exec in a paused state"), std::string::npos)
      << exec.error().text();
  ASSERT_TRUE(Resume(task).ok());
  EXPECT_EQ(State({task, {}})->status, ProcessStatus::kRunning);
}

TEST_F(Journeys, PidsNameTheExecs) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  const auto init = Create(task);
  ASSERT_TRUE(StartInit(task).ok());
  const ProcessKey exec{task, model::ExecId("e1")};
  ASSERT_TRUE(Exec(exec, {"sleep", "1000"}).ok());
  const auto pid = Start(exec);
  Pending<std::vector<PidInfo>> pending;
  tasks_->Pids(call_, task, pending.Callback());
  const auto pids = pending.Get();
  ASSERT_TRUE(pids.ok()) << pids.error().text();
  ASSERT_EQ(pids->size(), 2u);
  for (const PidInfo& info : *pids) {
    EXPECT_EQ(info.info.has_value(), info.pid == *pid);
    EXPECT_TRUE(info.pid == *pid || info.pid == *init);
  }
}

TEST_F(Journeys, MetricsComeForTheTasksAskedFor) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  const TaskKey other = AddContainer("c2", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  ASSERT_TRUE(Create(other).ok());
  Pending<std::vector<Metric>> all;
  tasks_->Metrics(ns_, nullptr, all.Callback());
  EXPECT_EQ(all.Get()->size(), 2u);
  Pending<std::vector<Metric>> one;
  tasks_->Metrics(
      ns_, [](const model::ContainerId& id) { return id.str() == "c1"; }, one.Callback());
  const auto metrics = one.Get();
  ASSERT_EQ(metrics->size(), 1u);
  EXPECT_EQ(metrics->at(0).id.str(), "c1");
  EXPECT_TRUE(metrics->at(0).data.type_url.starts_with("io.containerd.cgroups.v"))
      << metrics->at(0).data.type_url;
  EXPECT_FALSE(metrics->at(0).data.value.empty());
}

TEST_F(Journeys, AShortProcessTellsStartBeforeExit) {
  for (int i = 0; i < 5; ++i) {
    const TaskKey task = AddContainer("c" + std::to_string(i), {"true"});
    ASSERT_TRUE(Create(task).ok());
    ASSERT_TRUE(StartInit(task).ok());
    ASSERT_TRUE(events_->Await(TaskEvent::Kind::kExit, {task, {}}));
    EXPECT_EQ(events_->Story(task), (std::vector<std::string>{"create", "start", "exit=0"}));
    ASSERT_TRUE(Delete(task).ok());
  }
}

TEST_F(Journeys, APodSharesOneShim) {
  Extra pod;
  pod.annotations = {{"io.kubernetes.cri.sandbox-id", "pod1"}};
  const TaskKey first = AddContainer("pod1", {"sleep", "1000"}, pod);
  const TaskKey second = AddContainer("app1", {"sleep", "1000"}, pod);
  ASSERT_TRUE(Create(first).ok());
  ASSERT_TRUE(Create(second).ok());
  ASSERT_TRUE(StartInit(first).ok());
  ASSERT_TRUE(StartInit(second).ok());
  const BundleStore store = *BundleStore::Open(settings_.root, settings_.state);
  EXPECT_EQ(*store.At(first).ReadEndpoint(), *store.At(second).ReadEndpoint());
  ASSERT_TRUE(Kill({second, {}}, SIGKILL).ok());
  ASSERT_TRUE(Wait({second, {}}).ok());
  ASSERT_TRUE(Delete(second).ok());
  EXPECT_EQ(State({first, {}})->status, ProcessStatus::kRunning);
  EXPECT_TRUE(Exec({first, model::ExecId("e")}, {"true"}).ok()) << "the shim is still there";
  ASSERT_TRUE(DeleteProcess({first, model::ExecId("e")}).ok());
  ASSERT_TRUE(Kill({first, {}}, SIGKILL).ok());
  ASSERT_TRUE(Wait({first, {}}).ok());
  ASSERT_TRUE(Delete(first).ok());
}

TEST_F(Journeys, TheSameNameCanBeUsedAgainAtOnce) {
  const TaskKey task = AddContainer("c1", {"true"});
  for (int i = 0; i < 5; ++i) {
    const auto created = Create(task);
    ASSERT_TRUE(created.ok()) << i << ": " << created.error().text();
    ASSERT_TRUE(StartInit(task).ok());
    EXPECT_EQ(Wait({task, {}})->status, 0u);
    const auto deleted = Delete(task);
    ASSERT_TRUE(deleted.ok()) << i << ": " << deleted.error().text();
  }
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}, 5));
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kExit, {task, {}}, 5));
  EXPECT_EQ(events_->Count(TaskEvent::Kind::kExit, {task, {}}), 5u);
}

TEST_F(Journeys, TwentyLifecyclesAtOnceEachTellOneOfEverything) {
  std::vector<std::thread> threads;
  std::vector<TaskKey> keys;
  for (int i = 0; i < 20; ++i)
    keys.push_back(
        AddContainer("c" + std::to_string(i), {"sh", "-c", "exit " + std::to_string(i)}));
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([this, i, task = keys[static_cast<size_t>(i)]] {
      const auto created = Create(task);
      ASSERT_TRUE(created.ok()) << created.error().text();
      const auto started = StartInit(task);
      ASSERT_TRUE(started.ok()) << started.error().text();
      const auto exit = Wait({task, {}});
      ASSERT_TRUE(exit.ok()) << exit.error().text();
      EXPECT_EQ(exit->status, static_cast<uint32_t>(i));
      const auto deleted = Delete(task);
      ASSERT_TRUE(deleted.ok()) << deleted.error().text();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 20; ++i) {
    const TaskKey& task = keys[static_cast<size_t>(i)];
    EXPECT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}));
    EXPECT_TRUE(events_->Await(TaskEvent::Kind::kExit, {task, {}}));
    EXPECT_EQ(events_->Story(task),
              (std::vector<std::string>{"create", "start", "exit=" + std::to_string(i), "delete"}));
  }
  EXPECT_TRUE(tasks_->List(ns_).empty());
}

}  // namespace
}  // namespace corten::runtime
