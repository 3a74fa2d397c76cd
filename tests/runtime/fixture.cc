#include "fixture.h"

#include <sys/mount.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/dir.h"
#include "base/spawn.h"
#include "containerd/runc/v1/options.pb.h"
#include "os/mount_info.h"
#include "wire/any_types.h"
#include "wire/unix_socket.h"

namespace corten::runtime {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::chrono::seconds kPatience{20};

std::string ShimUnderTest(bool* own) {
  const char* path = getenv("CORTEN_TEST_SHIM");
  *own = path == nullptr || getenv("CORTEN_TEST_SHIM_DIRECT") != nullptr;
  return path != nullptr ? path : CORTEN_OWN_SHIM;
}

// Pids of the shims whose arguments name `word`.
std::vector<int> Shims(const std::string& word) {
  std::vector<int> pids;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto cmdline = ReadFileAt("/proc/" + pid + "/cmdline", 65536);
    if (!cmdline.ok() || cmdline->find("containerd-shim") == std::string::npos) continue;
    if (cmdline->find(word) != std::string::npos) pids.push_back(std::stoi(pid));
  }
  return pids;
}

json Mounts() {
  const auto mount = [](const char* at, const char* type, std::vector<std::string> options) {
    return json{{"destination", at}, {"type", type}, {"source", type}, {"options", options}};
  };
  return json::array(
      {mount("/proc", "proc", {"nosuid", "noexec", "nodev"}),
       mount("/dev", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
       mount("/dev/pts", "devpts",
             {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
       mount("/sys", "sysfs", {"nosuid", "noexec", "nodev", "ro"})});
}

}  // namespace

// --- FakeContainers ---

Result<metadata::Container> FakeContainers::Get(const model::Namespace& ns,
                                                const model::ContainerId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find({ns, id});
  if (found == rows_.end())
    return NotFoundError("container ", Quoted(id.str()), " in namespace ", Quoted(ns.str()));
  return found->second;
}
Result<std::vector<metadata::Container>> FakeContainers::List(const model::Namespace&,
                                                              const metadata::Filters&) {
  return UnimplementedError("list");
}
Result<metadata::Container> FakeContainers::Create(const model::Scope& scope,
                                                   metadata::Container container) {
  const std::lock_guard lock(mutex_);
  return rows_.insert_or_assign({scope.ns, container.id}, container).first->second;
}
Result<metadata::Container> FakeContainers::Update(const model::Scope&, metadata::Container,
                                                   const metadata::FieldPaths&) {
  return UnimplementedError("update");
}
Status FakeContainers::Delete(const model::Scope& scope, const model::ContainerId& id) {
  const std::lock_guard lock(mutex_);
  return rows_.erase({scope.ns, id}) == 1 ? Ok() : Status(NotFoundError("container ", id.str()));
}

// --- EventRecorder ---

EventRecorder::EventRecorder(events::Exchange& exchange, bool ordered) : ordered_(ordered) {
  subscription_ = exchange.Subscribe({}, [this] { Drain(); }).value();
}

// On a publisher's thread: the exchange is done with its lock by then.
void EventRecorder::Drain() {
  const std::lock_guard lock(mutex_);
  if (subscription_ == nullptr) return;
  while (true) {
    auto next = subscription_->TryNext();
    if (!next.ok() || *next == nullptr) break;
    if (const auto event = DecodeTaskEvent(**next)) seen_.push_back(*event);
  }
  changed_.notify_all();
}

bool EventRecorder::Await(TaskEvent::Kind kind, const ProcessKey& process, size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] {
    size_t found = 0;
    for (const TaskEvent& event : seen_)
      found += event.kind == kind && event.process == process ? 1 : 0;
    return found >= count;
  });
}

size_t EventRecorder::Count(TaskEvent::Kind kind, const ProcessKey& process) {
  const std::lock_guard lock(mutex_);
  size_t found = 0;
  for (const TaskEvent& event : seen_)
    found += event.kind == kind && event.process == process ? 1 : 0;
  return found;
}

std::vector<std::string> EventRecorder::Story(const TaskKey& task) {
  static const char* const kNames[] = {"create", "start",      "exit",
                                       "delete", "exec-added", "exec-started"};
  std::vector<std::string> story;
  const std::lock_guard lock(mutex_);
  for (const TaskEvent& event : seen_) {
    if (event.process.task != task) continue;
    std::string line = kNames[static_cast<int>(event.kind)];
    if (!event.process.exec.empty()) line += " " + event.process.exec.str();
    if (event.kind == TaskEvent::Kind::kExit) line += "=" + std::to_string(event.exit.status);
    story.push_back(line);
  }
  // containerd's shim wakes those that wait for init before it queues the exit, so a quick client's
  // delete may be queued first: of a foreign shim's story the order of these two says nothing.
  if (!ordered_ && story.size() > 1 && story.back().starts_with("exit=") &&
      story[story.size() - 2] == "delete")
    std::swap(story.back(), story[story.size() - 2]);
  return story;
}

// --- RuntimeFixture ---

void RuntimeFixture::SetUp() {
  ASSERT_EQ(geteuid(), 0u) << "needs root";
  if (!fs::exists(dir_ / "rootfs")) MakeRootfs();
  bool own = false;
  const std::string shim = ShimUnderTest(&own);
  ASSERT_EQ(access(shim.c_str(), X_OK), 0) << shim;
  settings_.root = dir_ / "root/io.containerd.runtime.v2.task";
  settings_.state = dir_ / "state/io.containerd.runtime.v2.task";
  settings_.shim.grpc_address = dir_ / "d.sock";
  settings_.shim.ttrpc_address = dir_ / "d.sock.ttrpc";
  settings_.shim.daemon_binary = "/bin/false";
  settings_.shim.daemon_version = "v2.3.4";
  settings_.shim.socket_dir = dir_ / "s";
  settings_.shim_dirs = {shim.substr(0, shim.rfind('/'))};
  if (own) settings_.shim.own_shim = shim;
  OpenDaemon();
}

void RuntimeFixture::MakeRootfs() {
  fs::create_directories(dir_ / "rootfs/bin");
  for (const char* name : {"proc", "dev", "sys", "tmp", "etc"})
    fs::create_directories((dir_ / "rootfs/") + name);
  fs::copy_file("/bin/busybox", dir_ / "rootfs/bin/busybox");
  for (const char* name : {"sh", "true", "sleep", "echo", "cat", "kill", "ls"})
    fs::create_symlink("busybox", (dir_ / "rootfs/bin/") + name);
}

void RuntimeFixture::TearDown() {
  if (settings_.state.empty()) return;  // SetUp failed
  if (tasks_ == nullptr) OpenDaemon();
  (void)tasks_->Recover();  // what a test left with a closed daemon
  for (const ProcessState& state : tasks_->List(ns_)) {
    const TaskKey task{ns_, state.container};
    (void)Resume(task);
    (void)Kill({task, {}}, SIGKILL, true);
    (void)Wait({task, {}});
    const auto deleted = Delete(task);
    EXPECT_TRUE(deleted.ok()) << deleted.error().text();
  }
  CloseDaemon();
  EXPECT_TRUE(Eventually([&] { return Shims(dir_.path()).empty(); })) << "a shim is left";
  EXPECT_EQ(Leaks(), std::vector<std::string>());
  for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup"))
    (void)rmdir((entry.path() / group_).c_str());
}

void RuntimeFixture::OpenDaemon() {
  exchange_.emplace(
      [](const model::Any&, const std::vector<std::string>&) { return std::nullopt; });
  events_.emplace(*exchange_, !settings_.shim.own_shim.empty());
  control_ = std::make_unique<Executor>("control", Executor::Limits{.threads = 16, .queue = 4096});
  auto tasks = Tasks::Open(
      settings_, {.containers = &containers_, .exchange = &*exchange_, .control = control_.get()});
  ASSERT_TRUE(tasks.ok()) << tasks.error().text();
  tasks_ = std::move(*tasks);
  (void)unlink(settings_.shim.ttrpc_address.c_str());
  auto listener = wire::ListenUnix(settings_.shim.ttrpc_address, 0600);
  ASSERT_TRUE(listener.ok()) << listener.error().text();
  ASSERT_TRUE(tasks_->ListenEvents(std::move(*listener)).ok());
}

void RuntimeFixture::CloseDaemon() {
  tasks_.reset();
  control_.reset();
  events_.reset();
  exchange_.reset();
}

RecoveryReport RuntimeFixture::Reopen() {
  if (tasks_ != nullptr) CloseDaemon();
  OpenDaemon();
  auto report = tasks_->Recover();
  EXPECT_TRUE(report.ok());
  for (const std::string& trouble : report.ok() ? report->troubles : std::vector<std::string>())
    std::cerr << "recovery: " << trouble << "\n";
  return report.ok() ? *report : RecoveryReport{};
}

std::string RuntimeFixture::ProcessJson(const std::vector<std::string>& args, bool terminal) {
  return json{
      {"terminal", terminal},
      {"user", {{"uid", 0}, {"gid", 0}}},
      {"args", args},
      {"env", {"PATH=/bin"}},
      {"cwd", "/"},
      {"capabilities",
       {{"bounding", {"CAP_KILL"}}, {"effective", {"CAP_KILL"}}, {"permitted", {"CAP_KILL"}}}},
      {"noNewPrivileges", true}}
      .dump();
}

TaskKey RuntimeFixture::AddContainer(const std::string& id, const std::vector<std::string>& args,
                                     const Extra& extra) {
  json namespaces = json::array({{{"type", "ipc"}}, {{"type", "uts"}}, {{"type", "mount"}}});
  if (!extra.shared_pids) namespaces.push_back({{"type", "pid"}});
  json spec{{"ociVersion", "1.0.2"},
            {"process", json::parse(ProcessJson(args, extra.terminal))},
            {"root", {{"path", "rootfs"}}},
            {"hostname", id},
            {"mounts", Mounts()},
            {"linux", {{"cgroupsPath", "/" + group_ + "/" + id}, {"namespaces", namespaces}}}};
  if (!extra.annotations.empty()) spec["annotations"] = extra.annotations;
  ::containerd::runc::v1::Options options;
  options.set_root(dir_ / "runc");
  metadata::Container row;
  row.id = model::ContainerId(id);
  row.runtime = {"io.containerd.runc.v2",
                 model::Any{std::string(wire::kRuncOptionsType), options.SerializeAsString()}};
  row.spec = model::Any{std::string(wire::kSpecType), spec.dump()};
  (void)containers_.Create({ns_, {}}, row).value();
  return {ns_, row.id};
}

CreateRequest RuntimeFixture::RequestFor(const TaskKey& task) {
  CreateRequest request;
  request.task = task;
  request.rootfs = {{"bind", dir_ / "rootfs", "", {"rbind", "rw"}}};
  return request;
}

template <typename T, typename F>
Result<T> Awaited(F call) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<T>> result;
  };
  auto shared = std::make_shared<Shared>();
  call(Done<T>([shared](Result<T> result) {
    const std::lock_guard lock(shared->mutex);
    shared->result.emplace(std::move(result));
    shared->changed.notify_all();
  }));
  std::unique_lock lock(shared->mutex);
  if (!shared->changed.wait_for(lock, std::chrono::seconds(30),
                                [&] { return shared->result.has_value(); })) {
    return DeadlineExceededError("the test waited in vain");
  }
  return std::move(*shared->result);
}

Result<uint32_t> RuntimeFixture::Create(const TaskKey& task) { return Create(RequestFor(task)); }
Result<uint32_t> RuntimeFixture::Create(CreateRequest request) {
  return Awaited<uint32_t>([&](auto done) { tasks_->Create(call_, std::move(request), done); });
}
Result<uint32_t> RuntimeFixture::Start(const ProcessKey& process) {
  return Awaited<uint32_t>([&](auto done) { tasks_->Start(call_, process, done); });
}
Status RuntimeFixture::Exec(const ProcessKey& process, const std::vector<std::string>& args,
                            const Stdio& io) {
  ExecRequest request{process, io,
                      model::Any{std::string(wire::kProcessType), ProcessJson(args, io.terminal)}};
  return Awaited<void>([&](auto done) { tasks_->Exec(call_, request, done); });
}
Status RuntimeFixture::Kill(const ProcessKey& process, uint32_t signal, bool all) {
  return Awaited<void>([&](auto done) { tasks_->Kill(call_, process, signal, all, done); });
}
Result<ExitInfo> RuntimeFixture::Delete(const TaskKey& task) {
  return Awaited<ExitInfo>([&](auto done) { tasks_->Delete(call_, task, done); });
}
Result<ExitInfo> RuntimeFixture::DeleteProcess(const ProcessKey& process) {
  return Awaited<ExitInfo>([&](auto done) { tasks_->DeleteProcess(call_, process, done); });
}
Result<ProcessState> RuntimeFixture::State(const ProcessKey& process) {
  return Awaited<ProcessState>([&](auto done) { tasks_->State(call_, process, done); });
}
Result<ExitInfo> RuntimeFixture::Wait(const ProcessKey& process) {
  return Awaited<ExitInfo>([&](auto done) { (void)tasks_->Wait(process, done); });
}
Status RuntimeFixture::Pause(const TaskKey& task) {
  return Awaited<void>([&](auto done) { tasks_->Pause(call_, task, done); });
}
Status RuntimeFixture::Resume(const TaskKey& task) {
  return Awaited<void>([&](auto done) { tasks_->Resume(call_, task, done); });
}

bool RuntimeFixture::Freeze(int pid) {
  if (kill(pid, SIGSTOP) != 0) return false;
  return Eventually([pid] {
    for (const auto& thread : fs::directory_iterator(StrCat("/proc/", pid, "/task"))) {
      const auto status = ReadFileAt(thread.path().string() + "/status", 65536);
      if (status.ok() && status->find("\nState:\tT") == std::string::npos) return false;
    }
    return true;
  });
}

int RuntimeFixture::ShimPid(const TaskKey& task) {
  const std::string bundle = settings_.state + "/" + task.ns.str() + "/" + task.id.str();
  for (const int pid : Shims(dir_.path())) {
    std::error_code error;
    if (fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", error) == bundle) return pid;
  }
  return -1;
}

bool RuntimeFixture::BundleExists(const TaskKey& task) {
  return access((settings_.state + "/" + task.ns.str() + "/" + task.id.str()).c_str(), F_OK) == 0;
}

bool RuntimeFixture::Eventually(const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < end) {
    if (done()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return done();
}

std::vector<std::string> RuntimeFixture::Leaks() {
  std::vector<std::string> leaks;
  const auto table = os::ReadMountInfo();
  if (table.ok()) {
    for (const auto& mount : os::MountsAtOrBelow(*table, dir_.path()))
      leaks.push_back("mount " + mount.mount_point);
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup")) {
    for (const auto& below : fs::directory_iterator(entry.path() / group_, error)) {
      if (below.is_directory()) leaks.push_back("cgroup " + below.path().string());
    }
  }
  std::vector<std::string> trees = {settings_.state + "/test", settings_.root + "/test",
                                    dir_ / "runc/test"};
  // Go's shim sometimes ends before it has removed its socket.
  if (!settings_.shim.own_shim.empty()) trees.push_back(dir_ / "s");
  for (const std::string& tree : trees) {
    for (const auto& entry : fs::directory_iterator(tree, error)) leaks.push_back(entry.path());
  }
  return leaks;
}

}  // namespace corten::runtime
