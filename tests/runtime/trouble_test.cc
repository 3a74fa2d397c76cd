// What goes wrong: shims that die, daemons that restart, creations that fail.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "containerd/runc/v1/options.pb.h"
#include "fixture.h"
#include "wire/any_types.h"
#include "wire/unix_socket.h"

namespace corten::runtime {
namespace {

using Trouble = RuntimeFixture;

// The last `count` lines: what came before may have been told to the earlier daemon or, kept by the
// shim, to this one.
std::vector<std::string> EndOf(std::vector<std::string> story, size_t count) {
  if (story.size() > count) story.erase(story.begin(), story.end() - static_cast<ptrdiff_t>(count));
  return story;
}

// --- a shim dies ---

TEST_F(Trouble, AKilledShimIsTheEndOfItsContainerToldOnce) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  const auto pid = Create(task);
  ASSERT_TRUE(StartInit(task).ok());
  Pending<ExitInfo> waiting;
  (void)tasks_->Wait({task, {}}, waiting.Callback());
  ASSERT_EQ(kill(ShimPid(task), SIGKILL), 0);
  const auto exit = waiting.Get();
  ASSERT_TRUE(exit.ok()) << exit.error().text();
  EXPECT_EQ(exit->status, 137u);
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}));
  EXPECT_EQ(events_->Story(task),
            (std::vector<std::string>{"create", "start", "exit=137", "delete"}));
  EXPECT_TRUE(Eventually([&] { return kill(static_cast<pid_t>(*pid), 0) != 0; }))
      << "the process outlived its shim";
  EXPECT_TRUE(Eventually([&] { return !BundleExists(task); }));
  EXPECT_EQ(Delete(task).error().WireText(), "task c1 not found");
  EXPECT_TRUE(Create(task).ok()) << "the name is free again";
}

TEST_F(Trouble, AKilledShimEndsEveryContainerOfItsPod) {
  Extra pod;
  pod.annotations = {{"io.kubernetes.cri.sandbox-id", "pod1"}};
  const TaskKey first = AddContainer("pod1", {"sleep", "1000"}, pod);
  const TaskKey second = AddContainer("app1", {"sleep", "1000"}, pod);
  for (const TaskKey& task : {first, second}) {
    ASSERT_TRUE(Create(task).ok());
    ASSERT_TRUE(StartInit(task).ok());
  }
  const ProcessKey exec{second, model::ExecId("e1")};
  ASSERT_TRUE(Exec(exec, {"sleep", "1000"}).ok());
  ASSERT_TRUE(Start(exec).ok());
  ASSERT_EQ(kill(ShimPid(first), SIGKILL), 0);
  for (const TaskKey& task : {first, second}) {
    EXPECT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}));
    EXPECT_EQ(events_->Count(TaskEvent::Kind::kExit, {task, {}}), 1u);
    EXPECT_TRUE(Eventually([&] { return !BundleExists(task); }));
  }
  const auto story = events_->Story(second);
  EXPECT_EQ(std::vector<std::string>(story.end() - 3, story.end()),
            (std::vector<std::string>{"exit e1=255", "exit=137", "delete"}));
  EXPECT_TRUE(tasks_->List(ns_).empty());
}

// --- the daemon restarts ---

TEST_F(Trouble, ARunningTaskIsAdopted) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  CreateRequest request = RequestFor(task);
  std::ofstream(dir_ / "out").close();
  request.io = {"", dir_ / "out", dir_ / "out", false};
  const auto pid = Create(request);
  ASSERT_TRUE(StartInit(task).ok());
  const RecoveryReport report = Reopen();
  EXPECT_EQ(report.adopted, 1u);
  EXPECT_EQ(report.dead, 0u);
  const auto state = State({task, {}});
  ASSERT_TRUE(state.ok()) << state.error().text();
  EXPECT_EQ(state->status, ProcessStatus::kRunning);
  EXPECT_EQ(state->pid, *pid);
  EXPECT_EQ(state->io.out, dir_ / "out");
  // It works like before: exec, wait, exit event, delete.
  ASSERT_TRUE(Exec({task, model::ExecId("e1")}, {"sh", "-c", "exit 4"}).ok());
  ASSERT_TRUE(Start({task, model::ExecId("e1")}).ok());
  EXPECT_EQ(Wait({task, model::ExecId("e1")})->status, 4u);
  Pending<ExitInfo> waiting;
  (void)tasks_->Wait({task, {}}, waiting.Callback());
  ASSERT_TRUE(Kill({task, {}}, SIGKILL).ok());
  EXPECT_EQ(waiting.Get()->status, 137u);
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kExit, {task, {}}));
  ASSERT_TRUE(Delete(task).ok());
  EXPECT_FALSE(BundleExists(task));
}

TEST_F(Trouble, ARunningExecOfAnEarlierDaemonCanBeWaitedFor) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  const ProcessKey exec{task, model::ExecId("e1")};
  ASSERT_TRUE(Exec(exec, {"sleep", "1000"}).ok());
  const auto pid = Start(exec);
  (void)Reopen();
  const auto state = State(exec);
  ASSERT_TRUE(state.ok()) << state.error().text();
  EXPECT_EQ(state->status, ProcessStatus::kRunning);
  EXPECT_EQ(state->pid, *pid);
  Pending<ExitInfo> waiting;
  (void)tasks_->Wait(exec, waiting.Callback());
  ASSERT_TRUE(Kill(exec, SIGKILL).ok());
  EXPECT_EQ(waiting.Get()->status, 137u);
  EXPECT_EQ(Wait({task, model::ExecId("nope")}).error().code(), Code::kNotFound);
}

TEST_F(Trouble, ATaskThatStoppedMeanwhileKeepsItsExit) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  const auto pid = Create(task);
  ASSERT_TRUE(StartInit(task).ok());
  CloseDaemon();
  ASSERT_EQ(kill(static_cast<pid_t>(*pid), SIGKILL), 0);
  // Nobody tells: the process is gone when its shim has reaped it.
  ASSERT_TRUE(Eventually([&] { return kill(static_cast<pid_t>(*pid), 0) != 0; }));
  const RecoveryReport report = Reopen();
  EXPECT_EQ(report.adopted, 1u);
  const auto exit = Wait({task, {}});
  ASSERT_TRUE(exit.ok()) << exit.error().text();
  EXPECT_EQ(exit->status, 137u);
  EXPECT_EQ(State({task, {}})->status, ProcessStatus::kStopped);
  // Its shim kept the event for whoever would come to take it.
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kExit, {task, {}}));
  EXPECT_EQ(Delete(task)->status, 137u);
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}));
  EXPECT_EQ(events_->Count(TaskEvent::Kind::kExit, {task, {}}), 1u);
}

TEST_F(Trouble, APausedTaskIsAdoptedPaused) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  ASSERT_TRUE(Pause(task).ok());
  (void)Reopen();
  EXPECT_EQ(State({task, {}})->status, ProcessStatus::kPaused);
  EXPECT_TRUE(Resume(task).ok());
}

TEST_F(Trouble, APodIsAdoptedWithOneConnection) {
  Extra pod;
  pod.annotations = {{"io.kubernetes.cri.sandbox-id", "pod1"}};
  const TaskKey first = AddContainer("pod1", {"sleep", "1000"}, pod);
  const TaskKey second = AddContainer("app1", {"sleep", "1000"}, pod);
  for (const TaskKey& task : {first, second}) {
    ASSERT_TRUE(Create(task).ok());
    ASSERT_TRUE(StartInit(task).ok());
  }
  const int shim = ShimPid(first);
  EXPECT_EQ(Reopen().adopted, 2u);
  ASSERT_EQ(kill(shim, SIGKILL), 0);
  for (const TaskKey& task : {first, second}) {
    EXPECT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}));
    EXPECT_EQ(events_->Count(TaskEvent::Kind::kExit, {task, {}}), 1u);
  }
}

TEST_F(Trouble, AContainerThatJoinedARunningShimIsAdoptedAndEndsWithIt) {
  const TaskKey first = AddContainer("first", {"sleep", "1000"});
  const TaskKey second = AddContainer("second", {"sleep", "1000"});
  ASSERT_TRUE(Create(first).ok());
  ASSERT_TRUE(StartInit(first).ok());
  CreateRequest request = RequestFor(second);
  request.task_api_address =
      "ttrpc+" +
      BundleStore::Open(settings_.root, settings_.state)->At(first).ReadEndpoint()->address;
  request.task_api_version = 3;
  const auto joined = Create(request);
  ASSERT_TRUE(joined.ok()) << joined.error().text();
  ASSERT_TRUE(StartInit(second).ok());
  const std::string bundle = settings_.state + "/test/second/";
  EXPECT_FALSE(std::filesystem::exists(bundle + "shim-binary-path"));
  EXPECT_TRUE(std::filesystem::exists(bundle + "sandbox"));
  EXPECT_TRUE(std::filesystem::exists(bundle + "bootstrap.json"));
  EXPECT_EQ(Reopen().adopted, 2u);
  EXPECT_EQ(State({second, {}})->status, ProcessStatus::kRunning);
  ASSERT_EQ(kill(ShimPid(first), SIGKILL), 0);
  for (const TaskKey& task : {first, second}) {
    EXPECT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}));
    EXPECT_EQ(EndOf(events_->Story(task), 2), (std::vector<std::string>{"exit=137", "delete"}));
    EXPECT_TRUE(Eventually([&] { return !BundleExists(task); }));
  }
}

TEST_F(Trouble, AShimThatDiedMeanwhileIsCleanedUpAndTold) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  const auto pid = Create(task);
  ASSERT_TRUE(StartInit(task).ok());
  const int shim = ShimPid(task);
  CloseDaemon();
  ASSERT_EQ(kill(shim, SIGKILL), 0);
  ASSERT_TRUE(Eventually([&] { return ShimPid(task) == -1; }));
  const RecoveryReport report = Reopen();
  EXPECT_EQ(report.dead, 1u);
  EXPECT_FALSE(BundleExists(task));
  EXPECT_EQ(EndOf(events_->Story(task), 2), (std::vector<std::string>{"exit=137", "delete"}));
  EXPECT_EQ(State({task, {}}).error().WireText(), "task c1 not found");
  EXPECT_TRUE(Eventually([&] { return kill(static_cast<pid_t>(*pid), 0) != 0; }));
}

TEST_F(Trouble, AShimThatDiesWhileItIsAskedLeavesNoSocket) {
  if (settings_.shim.own_shim.empty()) return;  // a foreign shim's socket is not known to be litter
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  const int shim = ShimPid(task);
  CloseDaemon();
  ASSERT_EQ(kill(shim, SIGKILL), 0);
  const std::string socket = std::filesystem::directory_iterator(dir_ / "s")->path();
  ASSERT_TRUE(Eventually([&] { return !wire::ConnectUnix(socket).ok(); }));
  // What a dying shim is to who connects: somebody listens, and hangs up.
  ASSERT_EQ(unlink(socket.c_str()), 0);
  Result<Fd> listener = wire::ListenUnix(socket, 0600);
  ASSERT_TRUE(listener.ok()) << listener.error().text();
  std::thread dying([&] {
    pollfd caller = {listener->get(), POLLIN, 0};
    EXPECT_EQ(poll(&caller, 1, 5000), 1);
    const Fd asked(accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(asked.valid());
    listener->Reset();
  });
  const RecoveryReport report = Reopen();
  dying.join();
  EXPECT_EQ(report.dead, 1u);
  EXPECT_FALSE(std::filesystem::exists(socket));
}

TEST_F(Trouble, ATaskWithoutItsContainerIsEnded) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  const auto pid = Create(task);
  ASSERT_TRUE(StartInit(task).ok());
  DropContainer(task);
  const RecoveryReport report = Reopen();
  EXPECT_EQ(report.dead, 1u);
  EXPECT_FALSE(BundleExists(task));
  EXPECT_TRUE(tasks_->List(ns_).empty());
  EXPECT_TRUE(events_->Await(TaskEvent::Kind::kDelete, {task, {}}));
  EXPECT_EQ(EndOf(events_->Story(task), 2), (std::vector<std::string>{"exit=137", "delete"}));
  EXPECT_TRUE(Eventually([&] { return kill(static_cast<pid_t>(*pid), 0) != 0; }));
}

TEST_F(Trouble, AFrozenShimCostsOneDeadlineAndKeepsItsContainer) {
  settings_.load_deadline = std::chrono::milliseconds(300);
  const TaskKey sick = AddContainer("sick", {"sleep", "1000"});
  const TaskKey well = AddContainer("well", {"sleep", "1000"});
  for (const TaskKey& task : {sick, well}) {
    ASSERT_TRUE(Create(task).ok());
    ASSERT_TRUE(StartInit(task).ok());
  }
  const int shim = ShimPid(sick);
  CloseDaemon();
  ASSERT_TRUE(Freeze(shim));
  const auto begin = std::chrono::steady_clock::now();
  const RecoveryReport report = Reopen();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
  EXPECT_EQ(report.adopted, 2u);
  EXPECT_EQ(report.doubtful, 1u);
  EXPECT_EQ(report.troubles.size(), 1u);
  EXPECT_EQ(State({well, {}})->status, ProcessStatus::kRunning);
  ASSERT_EQ(kill(shim, SIGCONT), 0);
  EXPECT_EQ(State({sick, {}})->status, ProcessStatus::kRunning);
}

TEST_F(Trouble, AShimWithoutATaskIsShutDown) {
  settings_.load_deadline = std::chrono::seconds(2);
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  const int shim = ShimPid(task);
  // As if the daemon had died between the shim's Delete and its Shutdown: let another daemon's
  // bundle name no task.
  const std::string bundles = settings_.state + "/test/";
  CloseDaemon();
  const std::vector<std::string> empty = {"c2", "c3", "c4", "c5"};
  for (const std::string& id : empty) {
    std::filesystem::create_directories(StrCat(bundles, id, "/rootfs"));
    std::filesystem::copy_file(bundles + "c1/bootstrap.json",
                               StrCat(bundles, id, "/bootstrap.json"));
    (void)AddContainer(id, {"true"});
  }
  const RecoveryReport report = Reopen();
  EXPECT_EQ(report.leftover, empty.size());
  EXPECT_EQ(report.adopted, 1u) << "Shutdown does nothing while the shim has a container";
  for (const std::string& id : empty) EXPECT_FALSE(std::filesystem::exists(bundles + id)) << id;
  EXPECT_EQ(kill(shim, 0), 0);
}

TEST_F(Trouble, ACreateThatOutlivesItsDaemonIsAdopted) {
  if (settings_.shim.own_shim.empty()) return;  // a foreign shim may end when it is told to
  const std::string runc = dir_ / "slow-runc";
  const std::string begun = dir_ / "creating";
  std::ofstream(runc) << "#!/bin/sh\ncase \" $* \" in *\" create \"*) : >" << begun
                      << "; sleep 1 ;; esac\nexec runc \"$@\"\n";
  ASSERT_EQ(chmod(runc.c_str(), 0755), 0);
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  CreateRequest request = RequestFor(task);
  ::containerd::runc::v1::Options options;
  options.set_root(dir_ / "runc");
  options.set_binary_name(runc);
  request.options = model::Any{std::string(wire::kRuncOptionsType), options.SerializeAsString()};
  Pending<uint32_t> created;
  tasks_->Create({}, request, created.Callback());
  ASSERT_TRUE(Eventually([&] { return std::filesystem::exists(begun); }));
  const RecoveryReport report = Reopen();
  EXPECT_FALSE(created.Get().ok()) << "its daemon has gone";
  EXPECT_EQ(report.adopted, 1u);
  ASSERT_TRUE(StartInit(task).ok());
  ASSERT_TRUE(Kill({task, {}}, SIGKILL).ok());
  ASSERT_TRUE(Wait({task, {}}).ok());
  EXPECT_TRUE(Delete(task).ok());
}

TEST_F(Trouble, RecoveringTwiceGivesTheSame) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  std::filesystem::create_directories(settings_.state + "/test/.c9/rootfs");
  std::filesystem::create_directories(settings_.state + "/test/empty");
  EXPECT_EQ(Reopen().swept, 2u);
  const RecoveryReport report = Reopen();
  EXPECT_EQ(report.swept, 0u);
  EXPECT_EQ(report.adopted, 1u);
  EXPECT_EQ(State({task, {}})->status, ProcessStatus::kRunning);
}

// --- creation fails ---

TEST_F(Trouble, AMissingContainerIsNamed) {
  const auto created = Create(TaskKey{ns_, model::ContainerId("nope")});
  ASSERT_FALSE(created.ok());
  EXPECT_EQ(created.error().WireText(), "container \"nope\" in namespace \"test\": not found");
  EXPECT_EQ(Kill({{ns_, model::ContainerId("nope")}, {}}, SIGKILL).error().WireText(),
            "container \"nope\" in namespace \"test\": not found");
}

TEST_F(Trouble, AMissingShimIsNamed) {
  const TaskKey task = AddContainer("c1", {"true"});
  CreateRequest request = RequestFor(task);
  request.runtime_path = "io.containerd.nope.v1";
  const auto created = Create(request);
  ASSERT_FALSE(created.ok());
  EXPECT_EQ(created.error().WireText(),
            "failed to start shim: failed to resolve runtime path: runtime "
            "\"io.containerd.nope.v1\" binary not installed "
            "\"containerd-shim-nope-v1\": file does not exist");
  EXPECT_FALSE(BundleExists(task));
  EXPECT_TRUE(Create(task).ok()) << "nothing stayed behind";
}

TEST_F(Trouble, AMissingProgramIsToldInRuncsWords) {
  const TaskKey task = AddContainer("c1", {"nosuchprogram"});
  const auto created = Create(task);
  ASSERT_FALSE(created.ok());
  const std::string& text = created.error().text();
  EXPECT_TRUE(text.starts_with("failed to create shim task: OCI runtime create failed: ")) << text;
  EXPECT_NE(text.find("executable file not found"), std::string::npos) << text;
  EXPECT_FALSE(BundleExists(task));
  EXPECT_TRUE(tasks_->List(ns_).empty());
  EXPECT_EQ(events_->Story(task), std::vector<std::string>());
}

TEST_F(Trouble, AMissingRuntimeIsTold) {
  const TaskKey task = AddContainer("c1", {"true"});
  CreateRequest request = RequestFor(task);
  ::containerd::runc::v1::Options options;
  options.set_root(dir_ / "runc");
  options.set_binary_name("/nonexistent/runc");
  request.options = model::Any{std::string(wire::kRuncOptionsType), options.SerializeAsString()};
  const auto created = Create(request);
  ASSERT_FALSE(created.ok());
  EXPECT_TRUE(created.error().text().starts_with("failed to create shim task: "))
      << created.error().text();
  EXPECT_NE(created.error().text().find("/nonexistent/runc"), std::string::npos)
      << created.error().text();
  EXPECT_FALSE(BundleExists(task));
}

TEST_F(Trouble, ABadRootfsMountIsTold) {
  const TaskKey task = AddContainer("c1", {"true"});
  CreateRequest request = RequestFor(task);
  request.rootfs = {{"bind", dir_ / "nothing-here", "", {"rbind", "rw"}}};
  const auto created = Create(request);
  ASSERT_FALSE(created.ok());
  EXPECT_TRUE(created.error().text().starts_with(
      "failed to create shim task: failed to mount rootfs component"))
      << created.error().text();
  EXPECT_FALSE(BundleExists(task));
}

TEST_F(Trouble, AShimThatFailsToStartIsQuoted) {
  dir_.WriteProgram("bin/containerd-shim-bad-v1",
                    "#!/bin/sh\ncat >/dev/null\necho no luck today >&2\nexit 3\n");
  const TaskKey task = AddContainer("c1", {"true"});
  CreateRequest request = RequestFor(task);
  request.runtime_path = dir_ / "bin/containerd-shim-bad-v1";
  const auto created = Create(request);
  ASSERT_FALSE(created.ok());
  EXPECT_EQ(created.error().text(),
            "failed to start shim: start failed: no luck today: exit status 3");
}

TEST_F(Trouble, AShimThatHangsAtItsStartIsKilledAtTheDeadline) {
  CloseDaemon();
  settings_.shim.start_deadline = std::chrono::milliseconds(200);
  OpenDaemon();
  dir_.WriteProgram("bin/containerd-shim-slow-v1", "#!/bin/sh\nexec sleep 1000\n");
  const TaskKey task = AddContainer("c1", {"true"});
  CreateRequest request = RequestFor(task);
  request.runtime_path = dir_ / "bin/containerd-shim-slow-v1";
  const auto created = Create(request);
  ASSERT_FALSE(created.ok());
  EXPECT_EQ(created.error().code(), Code::kDeadlineExceeded) << created.error().text();
}

TEST_F(Trouble, AShimThatSpeaksGrpcIsRefusedInWords) {
  dir_.WriteProgram("bin/containerd-shim-grpc-v1",
                    "#!/bin/sh\ncat >/dev/null\necho "
                    "'{\"version\":3,\"address\":\"/run/x.sock\",\"protocol\":\"grpc\"}'\n");
  const TaskKey task = AddContainer("c1", {"true"});
  CreateRequest request = RequestFor(task);
  request.runtime_path = dir_ / "bin/containerd-shim-grpc-v1";
  const auto created = Create(request);
  ASSERT_FALSE(created.ok());
  EXPECT_EQ(created.error().code(), Code::kUnimplemented);
  EXPECT_NE(created.error().text().find("grpc"), std::string::npos);
}

TEST_F(Trouble, ACheckpointIsRefused) {
  const TaskKey task = AddContainer("c1", {"true"});
  CreateRequest request = RequestFor(task);
  request.checkpoint = "sha256:x";
  EXPECT_EQ(Create(request).error().code(), Code::kUnimplemented);
}

TEST_F(Trouble, ABadExecIdIsRefused) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  EXPECT_EQ(Exec({task, model::ExecId("a/b")}, {"true"}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(Exec({task, model::ExecId("")}, {"true"}).error().code(), Code::kInvalidArgument);
}

TEST_F(Trouble, KillsOfWhatIsNotThereAreTold) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(Create(task).ok());
  ASSERT_TRUE(StartInit(task).ok());
  EXPECT_EQ(Kill({task, model::ExecId("nope")}, SIGKILL).error().code(), Code::kNotFound);
  ASSERT_TRUE(Kill({task, {}}, SIGKILL).ok());
  ASSERT_TRUE(Wait({task, {}}).ok());
  const Status late = Kill({task, {}}, SIGKILL);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().WireText(), "process already finished: not found");
}

}  // namespace
}  // namespace corten::runtime
