// The real shim binary with the real runc, driven over ttrpc.
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <set>

#include "base/clock.h"
#include "os/fifo.h"
#include "os/mount_info.h"
#include "shim/shim_fixture.h"

namespace corten::shim {
namespace {

bool IsAlive(pid_t pid) {
  const auto text = ReadFileAt(StrCat("/proc/", pid, "/stat"), 4096);
  return text.ok() && text->find(") Z ") == std::string::npos;
}

template <typename F>
bool Eventually(F condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
    (void)usleep(10'000);  // polls what the kernel does not announce
  }
  return true;
}

class Shim : public ShimFixture {
 protected:
  // From now on the OCI runtime is runc behind a script that adds a line to `calls` below root_.
  void WriteDownCalls() {
    runtime_ = root_ + "/runc-seen/runc";
    ASSERT_TRUE(MakeDirs(root_ + "/runc-seen", 0755).ok());
    const std::string script =
        StrCat("#!/bin/sh\necho \"$*\" >>", root_, "/calls\nexec runc \"$@\"\n");
    ASSERT_TRUE(ReplaceFile(*Dir::Open(root_ + "/runc-seen"), "runc", script, 0755,
                            FileReplacer::Durable::kNo)
                    .ok());
  }
};

TEST_F(Shim, AWholeLifeHasItsEventsInOrderAndEndsTheShim) {
  WriteBundle("c1", {"/bin/busybox", "sh", "-c", "exit 3"});
  const size_t shim = StartShim("c1");
  const auto created = Call<pb::CreateTaskResponse>("c1", "Create", CreateRequest("c1"));
  ASSERT_TRUE(created.ok()) << created.error().text();
  EXPECT_EQ(State("c1")->status(), containerd::v1::types::CREATED);
  // Wait is asked before Start, as every client does.
  std::thread waiter([&] { EXPECT_EQ(*Wait("c1"), 3U); });
  Start("c1");
  waiter.join();
  const auto state = State("c1");
  EXPECT_EQ(state->status(), containerd::v1::types::STOPPED);
  EXPECT_EQ(state->exit_status(), 3U);
  ASSERT_TRUE(Shutdown("c1").ok()) << "a no-op while a container remains";
  const auto deleted = Delete("c1");
  ASSERT_TRUE(deleted.ok()) << deleted.error().text();
  EXPECT_EQ(deleted->pid(), created->pid());
  EXPECT_EQ(deleted->exit_status(), 3U);
  EXPECT_EQ(deleted->exited_at().seconds(), state->exited_at().seconds());
  EXPECT_TRUE(State("c1").error().Is(Code::kNotFound));
  EXPECT_FALSE(*os::IsMountPoint(bundle("c1") + "/rootfs"));
  ASSERT_TRUE(Shutdown("c1").ok());
  EXPECT_TRUE(shims_[shim].WaitFor(std::chrono::seconds(10))->ok());
  EXPECT_NE(access((root_ + "/s/c1").c_str(), F_OK), 0) << "the socket is removed";
  // Shutdown is answered only after the last event has been taken.
  EXPECT_EQ(
      Topics(sink_->UntilTopic("/tasks/delete")),
      (std::vector<std::string>{"/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"}));
}

TEST_F(Shim, ProcessesThatEndAtOnceStillStartFirst) {
  for (int i = 0; i < 5; ++i) {
    const std::string id = StrCat("c", i);
    RunContainer(id, {"/bin/busybox", "true"});
    EXPECT_EQ(*Wait(id), 0U);
    EXPECT_TRUE(Delete(id).ok());
    EXPECT_TRUE(Shutdown(id).ok());
  }
  const auto events = sink_->UntilTopic("/tasks/delete", 5);
  ASSERT_EQ(events.size(), 20U);
  for (size_t i = 0; i < events.size(); i += 4) {
    EXPECT_EQ(events[i + 1].topic, "/tasks/start");
    EXPECT_EQ(events[i + 2].topic, "/tasks/exit");
  }
}

// Each runc process costs more than all else in start or delete.
TEST_F(Shim, AWholeLifeNeedsOneRuncProcess) {
  WriteDownCalls();
  RunContainer("c1", {"/bin/busybox", "sh", "-c", "exit 3"});
  EXPECT_EQ(*Wait("c1"), 3U);
  EXPECT_TRUE(Delete("c1").ok());
  const Result<std::string> calls = ReadFileAt(root_ + "/calls", 64 << 10);
  ASSERT_TRUE(calls.ok());
  EXPECT_EQ(std::count(calls->begin(), calls->end(), '\n'), 1) << *calls;
  EXPECT_NE(calls->find(" create "), std::string::npos) << *calls;
  // Nothing is left that runc would have removed.
  EXPECT_TRUE(Dir::Open(StrCat(root_, "/runc/", ns_))->List()->empty());
  const auto hierarchies = Dir::Open("/sys/fs/cgroup")->List();
  for (const std::string& name : *hierarchies)
    EXPECT_NE(access(StrCat("/sys/fs/cgroup/", name, "/", ns_, "/c1").c_str(), F_OK), 0) << name;
  EXPECT_NE(access(StrCat("/sys/fs/cgroup/", ns_, "/c1").c_str(), F_OK), 0);
}

// Starting without runc waits for init at its fifo, but not for ever.
TEST_F(Shim, AnInitThatDoesNotComeToItsFifoIsLeftToRunc) {
  WriteDownCalls();
  WriteBundle("c1", {"/bin/busybox", "sleep", "1000"});
  StartShim("c1");
  const auto created = Call<pb::CreateTaskResponse>("c1", "Create", CreateRequest("c1"));
  ASSERT_TRUE(created.ok()) << created.error().text();
  ASSERT_EQ(kill(static_cast<pid_t>(created->pid()), SIGSTOP), 0);
  std::thread starter([&] { Start("c1"); });
  const auto asked = [&] {
    const Result<std::string> calls = ReadFileAt(root_ + "/calls", 64 << 10);
    return calls.ok() && calls->find(" start c1") != std::string::npos;
  };
  usleep(3'000'000);  // a third of the deadline
  EXPECT_FALSE(asked()) << "runc was asked although init may still come";
  EXPECT_TRUE(Eventually(asked));
  ASSERT_EQ(kill(static_cast<pid_t>(created->pid()), SIGCONT), 0);
  starter.join();
  EXPECT_EQ(State("c1")->status(), containerd::v1::types::RUNNING);
}

TEST_F(Shim, AHundredExecsAtOnceEachEndOnceWithTheirOwnStatus) {
  constexpr int kExecs = 100;
  RunContainer("c1", {"/bin/busybox", "sleep", "1000"});
  std::vector<std::thread> threads;
  for (int i = 0; i < kExecs; ++i) {
    threads.emplace_back([this, i] {
      const std::string exec = StrCat("e", i);
      ASSERT_TRUE(Exec("c1", exec, StrCat(R"(["/bin/busybox","sh","-c","exit )", i, R"("])")).ok());
      pb::WaitRequest wait;
      const auto pid = StartExec("c1", exec);
      ASSERT_TRUE(pid.ok()) << pid.error().text();
      EXPECT_EQ(*Wait("c1", exec), static_cast<uint32_t>(i));
      EXPECT_EQ(Delete("c1", exec)->exit_status(), static_cast<uint32_t>(i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(Kill("c1", SIGKILL).ok());
  EXPECT_EQ(*Wait("c1"), 137U);
  const auto events = sink_->UntilTopic("/tasks/exit", kExecs + 1);
  std::map<std::string, std::vector<std::string>> by_exec;
  std::set<std::string> ended;
  for (const SeenEvent& event : events) {
    if (event.topic != "/tasks/exit") continue;
    const auto exit = ExitOf(event);
    EXPECT_TRUE(ended.insert(exit.id()).second) << exit.id() << " ended twice";
    if (exit.id() != "c1") {
      EXPECT_EQ(StrCat("e", exit.exit_status()), exit.id());
    }
  }
  EXPECT_EQ(ended.size(), kExecs + 1U);
  EXPECT_EQ(ExitOf(events.back()).id(), "c1") << "init is the last";
}

TEST_F(Shim, ExecsEndBeforeTheInitThatTakesThemAlong) {
  RunContainer("c1", {"/bin/busybox", "sleep", "1000"});
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Exec("c1", StrCat("e", i), R"(["/bin/busybox","sleep","1000"])").ok());
    ASSERT_TRUE(StartExec("c1", StrCat("e", i)).ok());
  }
  ASSERT_TRUE(Kill("c1", SIGKILL).ok());
  EXPECT_EQ(*Wait("c1"), 137U);
  const auto events = sink_->UntilTopic("/tasks/exit", 6);
  EXPECT_EQ(ExitOf(events.back()).id(), "c1");
  EXPECT_TRUE(Kill("c1", SIGKILL).error().Is(Code::kNotFound));
  const Status late = Exec("c1", "late", R"(["/bin/busybox","true"])");
  EXPECT_EQ(late.error().text(), "cannot exec in a stopped state");
}

TEST_F(Shim, WithoutAPidNamespaceTheOthersAreKilledWithInit) {
  RunContainer("c1",
               {"/bin/busybox", "sh", "-c", "/bin/busybox sleep 1000 & /bin/busybox sleep 1000"},
               {.private_pids = false});
  ASSERT_TRUE(Exec("c1", "e1", R"(["/bin/busybox","sleep","1000"])").ok());
  const auto exec_pid = StartExec("c1", "e1");
  ASSERT_TRUE(exec_pid.ok());
  pb::PidsRequest pids_request;
  pids_request.set_id("c1");
  std::vector<pid_t> pids;
  ASSERT_TRUE(Eventually([&] {
    pids.clear();
    const auto pids_response = Call<pb::PidsResponse>("c1", "Pids", pids_request);
    for (const auto& process : pids_response->processes()) {
      pids.push_back(static_cast<pid_t>(process.pid()));
    }
    return pids.size() >= 3;
  }));
  ASSERT_TRUE(Kill("c1", SIGKILL).ok());
  EXPECT_EQ(*Wait("c1"), 137U);
  for (const pid_t pid : pids) {
    EXPECT_TRUE(Eventually([&] { return !IsAlive(pid); })) << pid;
  }
  const auto events = sink_->UntilTopic("/tasks/exit", 2);
  EXPECT_EQ(ExitOf(events.back()).id(), "c1");
}

TEST_F(Shim, ThePausedContainerRefusesWhatItMust) {
  RunContainer("c1", {"/bin/busybox", "sleep", "1000"});
  ASSERT_TRUE(Exec("c1", "e1", R"(["/bin/busybox","sleep","1000"])").ok());
  ASSERT_TRUE(StartExec("c1", "e1").ok());
  pb::PauseRequest pause;
  pause.set_id("c1");
  ASSERT_TRUE(Call<Empty>("c1", "Pause", pause).ok());
  EXPECT_EQ(State("c1")->status(), containerd::v1::types::PAUSED);
  EXPECT_EQ(State("c1", "e1")->status(), containerd::v1::types::PAUSED);
  EXPECT_EQ(Call<Empty>("c1", "Pause", pause).error().text(), "cannot pause a paused container");
  EXPECT_EQ(Exec("c1", "e2", R"(["x"])").error().text(), "cannot exec in a paused state");
  EXPECT_EQ(Delete("c1").error().text(), "cannot delete a paused process");
  // SIGKILL must reach a frozen container.
  ASSERT_TRUE(Kill("c1", SIGKILL).ok());
  EXPECT_EQ(*Wait("c1"), 137U);
  EXPECT_EQ(ExitOf(sink_->UntilTopic("/tasks/exit", 2).back()).id(), "c1");
}

TEST_F(Shim, WrongIdsAndStatesHaveTheirCodes) {
  RunContainer("c1", {"/bin/busybox", "sleep", "1000"});
  pb::StateRequest unknown;
  unknown.set_id("nope");
  const auto missing = Call<pb::StateResponse>("c1", "State", unknown);
  EXPECT_EQ(missing.error().text(), "container not created");
  EXPECT_TRUE(missing.error().Is(Code::kNotFound));
  EXPECT_EQ(State("c1", "nope").error().text(), "process does not exist nope");
  EXPECT_TRUE(Call<pb::CreateTaskResponse>("c1", "Create", CreateRequest("c1"))
                  .error()
                  .Is(Code::kAlreadyExists));
  EXPECT_TRUE(Exec("c1", "../x", R"(["x"])").error().Is(Code::kInvalidArgument));
  EXPECT_TRUE(Exec("c1", "", R"(["x"])").error().Is(Code::kInvalidArgument));
  ASSERT_TRUE(Exec("c1", "e1", R"(["/no/such"])").ok());
  EXPECT_TRUE(Exec("c1", "e1", R"(["x"])").error().Is(Code::kAlreadyExists));
  EXPECT_TRUE(Kill("c1", SIGTERM, "e1").error().Is(Code::kFailedPrecondition));
  const auto started = StartExec("c1", "e1");
  EXPECT_TRUE(started.error().text().starts_with("OCI runtime exec failed: "))
      << started.error().text();
  EXPECT_NE(started.error().text().find("no such file or directory"), std::string::npos);
  EXPECT_TRUE(Delete("c1", "e1").ok());
  EXPECT_EQ(Delete("c1").error().text(), "cannot delete a running process");
  pb::CheckpointTaskRequest checkpoint;
  checkpoint.set_id("c1");
  EXPECT_TRUE(Call<Empty>("c1", "Checkpoint", checkpoint).error().Is(Code::kUnimplemented));
  pb::StateRequest state;
  state.set_id("c1");
  EXPECT_TRUE(Call<pb::StateResponse>("c1", "State", state, "containerd.task.v2.Task").ok());
}

TEST_F(Shim, AContainerThatNeverStartedCanBeDeleted) {
  WriteBundle("c1", {"/bin/busybox", "true"});
  StartShim("c1");
  const auto created = Call<pb::CreateTaskResponse>("c1", "Create", CreateRequest("c1"));
  ASSERT_TRUE(created.ok()) << created.error().text();
  const auto deleted = Delete("c1");
  ASSERT_TRUE(deleted.ok()) << deleted.error().text();
  EXPECT_EQ(deleted->exit_status(), 137U);
  EXPECT_FALSE(IsAlive(static_cast<pid_t>(created->pid())));
  EXPECT_EQ(Topics(sink_->UntilTopic("/tasks/delete")),
            (std::vector<std::string>{"/tasks/create", "/tasks/exit", "/tasks/delete"}));
}

TEST_F(Shim, AFailedCreateLeavesNothing) {
  WriteBundle("c1", {"/no/such/program"});
  StartShim("c1");
  const auto created = Call<pb::CreateTaskResponse>("c1", "Create", CreateRequest("c1"));
  ASSERT_FALSE(created.ok());
  EXPECT_TRUE(created.error().text().starts_with("OCI runtime create failed: "))
      << created.error().text();
  EXPECT_FALSE(*os::IsMountPoint(bundle("c1") + "/rootfs"));
  EXPECT_TRUE(State("c1").error().Is(Code::kNotFound));
  // The name is free again.
  WriteBundle("c1", {"/bin/busybox", "true"});
  EXPECT_TRUE(Call<pb::CreateTaskResponse>("c1", "Create", CreateRequest("c1")).ok());
}

TEST_F(Shim, ARuntimesRefusalIsExplained) {
  const std::string script = root_ + "/crun";
  {
    const Fd file(open(script.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0755));
    ASSERT_TRUE(WriteAll(file,
                         "#!/bin/sh\n"
                         "echo '{\"level\":\"error\",\"msg\":\"cgroups in hybrid mode not "
                         "supported, drop all controllers from cgroupv2\"}' >>\"$4\"\nexit 1\n",
                         "script")
                    .ok());
  }
  runtime_ = script;
  WriteBundle("c1", {"/bin/busybox", "true"});
  StartShim("c1");
  const auto created = Call<pb::CreateTaskResponse>("c1", "Create", CreateRequest("c1"));
  ASSERT_FALSE(created.ok());
  EXPECT_TRUE(created.error().text().starts_with(
      "OCI runtime create failed: cgroups in hybrid mode not supported"))
      << created.error().text();
  EXPECT_NE(created.error().text().find("/sys/fs/cgroup/unified"), std::string::npos);
}

TEST_F(Shim, EventsOfADaemonlessTimeArriveLaterInOrder) {
  WriteBundle("c1", {"/bin/busybox", "sh", "-c", "exit 9"});
  sink_.reset();  // the daemon is away from the first event on
  StartShim("c1");
  ASSERT_TRUE(Call<pb::CreateTaskResponse>("c1", "Create", CreateRequest("c1")).ok());
  Start("c1");
  EXPECT_EQ(*Wait("c1"), 9U);
  sink_ = std::make_unique<EventSink>(thread_, events_path());
  pb::ConnectRequest connect;
  connect.set_id("c1");
  const auto connected = Call<pb::ConnectResponse>("c1", "Connect", connect);
  EXPECT_EQ(connected->shim_pid(), static_cast<uint32_t>(shims_[0].pid()));
  EXPECT_EQ(Topics(sink_->UntilTopic("/tasks/exit")),
            (std::vector<std::string>{"/tasks/create", "/tasks/start", "/tasks/exit"}));
  EXPECT_TRUE(Delete("c1").ok());
  EXPECT_EQ(sink_->UntilTopic("/tasks/delete").size(), 4U) << "each once";
}

TEST_F(Shim, ShutdownWaitsForTheEventsOnlySoLong) {
  WriteBundle("c1", {"/bin/busybox", "true"});
  sink_.reset();
  const size_t shim = StartShim("c1");
  ASSERT_TRUE(Call<pb::CreateTaskResponse>("c1", "Create", CreateRequest("c1")).ok());
  ASSERT_TRUE(Delete("c1").ok());
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(Shutdown("c1").ok());
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, std::chrono::seconds(4));
  EXPECT_TRUE(shims_[shim].WaitFor(std::chrono::seconds(10)).ok());
  sink_ = std::make_unique<EventSink>(thread_, events_path());
}

TEST_F(Shim, AfterKillNineDeleteCleansUp) {
  RunContainer("c1", {"/bin/busybox", "sleep", "1000"});
  const auto pid = static_cast<pid_t>(State("c1")->pid());
  ASSERT_TRUE(shims_[0].Kill(SIGKILL).ok());
  ASSERT_TRUE(shims_[0].Wait().ok());
  EXPECT_TRUE(IsAlive(pid)) << "the container outlives its shim";
  SpawnOptions spawn;
  spawn.args = {ShimBinary(), "-namespace",      ns_,       "-id",        "c1",
                "-address",   root_ + "/d.sock", "-bundle", bundle("c1"), "delete"};
  spawn.work_dir = bundle("c1");
  const auto output = RunProgram(spawn, "", std::chrono::seconds(30));
  ASSERT_TRUE(output.ok() && output->status.ok()) << output->err;
  pb::DeleteResponse response;
  ASSERT_TRUE(response.ParseFromString(output->out));
  EXPECT_EQ(response.pid(), static_cast<uint32_t>(pid));
  EXPECT_EQ(response.exit_status(), 137U);
  EXPECT_EQ(output->err, "");
  EXPECT_TRUE(Eventually([&] { return !IsAlive(pid); }));
  EXPECT_FALSE(*os::IsMountPoint(bundle("c1") + "/rootfs"));
  // Once more, as a daemon does that was killed meanwhile.
  const auto again = RunProgram(spawn, "", std::chrono::seconds(30));
  EXPECT_TRUE(again->status.ok()) << again->err;
}

TEST_F(Shim, OutputWrittenBeforeAnyReaderCameIsNotLost) {
  constexpr size_t kSize = 300'000;  // more than pipe and fifo hold together
  WriteBundle(
      "c1", {"/bin/busybox", "sh", "-c", StrCat("/bin/busybox head -c ", kSize, " /bin/busybox")});
  StartShim("c1");
  auto request = CreateRequest("c1");
  for (const char* name : {"out", "err"})
    ASSERT_TRUE(os::MakeFifo(root_ + "/io/" + name, 0700).ok());
  request.set_stdout(root_ + "/io/out");
  request.set_stderr(root_ + "/io/err");
  ASSERT_TRUE(Call<pb::CreateTaskResponse>("c1", "Create", request).ok());
  Start("c1");
  const Fd reader(open((root_ + "/io/out").c_str(), O_RDONLY | O_CLOEXEC));
  const auto text = ReadAll(reader, size_t{1} << 20, "out");
  ASSERT_TRUE(text.ok());
  const auto wanted = ReadFileAt("/bin/busybox", size_t{4} << 20);
  EXPECT_EQ(text->size(), kSize);
  EXPECT_TRUE(wanted->starts_with(*text)) << "byte for byte";
  EXPECT_EQ(*Wait("c1"), 0U);
  EXPECT_TRUE(Delete("c1").ok());
}

TEST_F(Shim, OneOutputAloneIsFine) {
  WriteBundle("c1", {"/bin/busybox", "sh", "-c", "echo out; echo err >&2"});
  StartShim("c1");
  auto request = CreateRequest("c1");
  request.set_stdout("file://" + root_ + "/new/dir/log");
  ASSERT_TRUE(Call<pb::CreateTaskResponse>("c1", "Create", request).ok());
  Start("c1");
  EXPECT_EQ(*Wait("c1"), 0U);
  EXPECT_TRUE(Delete("c1").ok());
  EXPECT_EQ(*ReadFileAt(root_ + "/new/dir/log", 100), "out\nerr\n");
}

TEST_F(Shim, ATerminalCanBeResizedAndReadsInput) {
  WriteBundle(
      "c1",
      {"/bin/busybox", "sh", "-c", "read line; echo got $line; read line; /bin/busybox stty size"},
      {.terminal = true});
  StartShim("c1");
  auto request = CreateRequest("c1");
  for (const char* name : {"in", "out"})
    ASSERT_TRUE(os::MakeFifo(root_ + "/io/" + name, 0700).ok());
  request.set_terminal(true);
  request.set_stdin(root_ + "/io/in");
  request.set_stdout(root_ + "/io/out");
  const auto created = Call<pb::CreateTaskResponse>("c1", "Create", request);
  ASSERT_TRUE(created.ok()) << created.error().text();
  const Fd out(open((root_ + "/io/out").c_str(), O_RDONLY | O_CLOEXEC));
  Start("c1");
  const Fd in(open((root_ + "/io/in").c_str(), O_WRONLY | O_CLOEXEC));
  pb::ResizePtyRequest resize;
  resize.set_id("c1");
  resize.set_width(120);
  resize.set_height(40);
  ASSERT_TRUE(Call<Empty>("c1", "ResizePty", resize).ok());
  ASSERT_TRUE(WriteAll(in, "hello\n\n", "in").ok());
  const auto text = ReadAll(out, 10000, "out");
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find("got hello"), std::string::npos) << *text;
  EXPECT_NE(text->find("40 120"), std::string::npos) << *text;
  EXPECT_EQ(*Wait("c1"), 0U);
  EXPECT_TRUE(Delete("c1").ok());
}

TEST_F(Shim, RunningOutOfMemoryIsToldBeforeTheExit) {
  RunContainer(
      "c1",
      {"/bin/busybox", "sh", "-c", "/bin/busybox dd if=/dev/zero of=/dev/null bs=200M count=1"},
      {.memory_limit = 32 << 20});
  EXPECT_NE(*Wait("c1"), 0U);
  const auto topics = Topics(sink_->UntilTopic("/tasks/exit"));
  EXPECT_EQ(topics, (std::vector<std::string>{"/tasks/create", "/tasks/start", "/tasks/oom",
                                              "/tasks/exit"}));
}

TEST_F(Shim, APodsContainersShareItAndEndAlone) {
  WriteBundle("p1", {"/bin/busybox", "sleep", "1000"});
  WriteBundle("p2", {"/bin/busybox", "sleep", "1000"});
  const size_t shim = StartShim("p1");
  ASSERT_TRUE(Call<pb::CreateTaskResponse>("p1", "Create", CreateRequest("p1")).ok());
  ASSERT_TRUE(Call<pb::CreateTaskResponse>("p1", "Create", CreateRequest("p2")).ok());
  Connect("p1");
  pb::StartRequest start;
  for (const char* id : {"p1", "p2"}) {
    start.set_id(id);
    ASSERT_TRUE(Call<pb::StartResponse>("p1", "Start", start).ok());
  }
  ASSERT_TRUE(Kill("p1", SIGKILL).ok());
  EXPECT_EQ(*Wait("p1"), 137U);
  ASSERT_TRUE(Delete("p1").ok());
  ASSERT_TRUE(Shutdown("p1").ok());
  pb::StateRequest state;
  state.set_id("p2");
  EXPECT_EQ(Call<pb::StateResponse>("p1", "State", state)->status(),
            containerd::v1::types::RUNNING);
  EXPECT_TRUE(IsAlive(shims_[shim].pid()));
}

// One number of /proc/PID/smaps_rollup or status, in kB (or as it stands).
int64_t ProcNumber(pid_t pid, const char* file, std::string_view name) {
  const auto text = ReadFileAt(StrCat("/proc/", pid, "/", file), 1 << 20);
  if (!text.ok()) return -1;
  const size_t at = text->find(StrCat("\n", name, ":"));
  return at == std::string::npos ? -1 : atoll(text->c_str() + at + name.size() + 2);
}

TEST_F(Shim, TwentyOfThemStayTiny) {
  constexpr int kShims = 20;
  for (int i = 0; i < kShims; ++i) {
    const std::string id = StrCat("c", i);
    RunContainer(id, {"/bin/busybox", "sleep", "1000"});
    for (int call = 0; call < 20; ++call) ASSERT_TRUE(State(id).ok());
  }
  (void)sink_->UntilTopic("/tasks/start", kShims);
#ifndef CORTEN_SANITIZED
  // Idle ones give their code back.
  const pid_t last = shims_.back().pid();
  EXPECT_TRUE(Eventually([&] { return ProcNumber(last, "smaps_rollup", "Rss") < 1650; }))
      << ProcNumber(last, "smaps_rollup", "Rss") << " kB, a tenth of containerd's shim is 1650";
#endif
  int64_t rss = 0;
  int64_t pss = 0;
  int64_t dirty = 0;
  size_t descriptors = 0;
  for (const Child& shim : shims_) {
    rss += ProcNumber(shim.pid(), "smaps_rollup", "Rss");
    pss += ProcNumber(shim.pid(), "smaps_rollup", "Pss");
    dirty += ProcNumber(shim.pid(), "smaps_rollup", "Private_Dirty");
    EXPECT_EQ(ProcNumber(shim.pid(), "status", "Threads"), 1);
    descriptors += Dir::Open(StrCat("/proc/", shim.pid(), "/fd"))->List()->size();
  }
  printf("each of %d shims: RSS %lld kB, PSS %lld kB, private dirty %lld kB, %zu descriptors\n",
         kShims, static_cast<long long>(rss / kShims), static_cast<long long>(pss / kShims),
         static_cast<long long>(dirty / kShims), descriptors / kShims);
#ifndef CORTEN_SANITIZED
  EXPECT_LE(dirty / kShims, 157) << "4 % of containerd's shim";
#endif
  EXPECT_LE(descriptors / kShims, 16U);
  if (getenv("CORTEN_SHOW_MAPS") != nullptr)
    printf("%s\n", ReadFileAt(StrCat("/proc/", shims_[0].pid(), "/smaps"), 1 << 20)->c_str());
}

TEST_F(Shim, OtherUsersAreTurnedAway) {
  RunContainer("c1", {"/bin/busybox", "sleep", "1000"});
  ASSERT_EQ(chmod(root_.c_str(), 0755), 0);
  ASSERT_EQ(chmod((root_ + "/s/c1").c_str(), 0777), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(2);
    const auto socket = wire::ConnectUnix(root_ + "/s/c1", std::chrono::seconds(1));
    if (!socket.ok()) _exit(3);
    (void)SetNonblocking(*socket, false);
    char byte = 0;
    _exit(read(socket->get(), &byte, 1) == 0 ? 0 : 4);  // closed without a word
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace corten::shim
