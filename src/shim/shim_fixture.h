// For integration tests: a daemon's side of the shim contract. Starts the real shim binary as the
// server, with its socket on descriptor 3, and talks ttrpc to it; receives events like a daemon.
// Needs root and runc.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/dir.h"
#include "base/spawn.h"
#include "containerd/runc/v1/options.pb.h"
#include "containerd/task/v3/task.pb.h"
#include "google/protobuf/empty.pb.h"
#include "os/mount.h"
#include "shim/event_sink.h"
#include "wire/any_types.h"
#include "wire/ttrpc_messages.h"
#include "wire/unix_socket.h"

namespace corten::shim {

namespace pb = ::containerd::task::v3;

// What a container's spec says beyond the usual.
struct SpecOptions {
  bool private_pids = true;
  bool terminal = false;
  int64_t memory_limit = 0;  // bytes; 0: none
};

// The binary under test: the one built beside the test, or CORTEN_SHIM.
inline std::string ShimBinary() {
  const char* other = getenv("CORTEN_SHIM");
  return other != nullptr ? other : CORTEN_SHIM_BINARY;
}

class ShimFixture : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(getuid(), 0U) << "needs root";
    char name[] = "/tmp/corten-shim-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
    ns_ = "t" + root_.substr(root_.rfind('-') + 1);
    for (const char* dir : {"/tree/bin", "/tree/proc", "/tree/dev", "/tree/sys", "/tree/tmp", "/s",
                            "/state", "/io"}) {
      ASSERT_TRUE(MakeDirs(root_ + dir, 0755).ok());
    }
    ASSERT_EQ(symlink("busybox", (root_ + "/tree/bin/sh").c_str()), 0);
    SpawnOptions copy;
    copy.args = {"/bin/cp", "/bin/busybox", root_ + "/tree/bin/busybox"};
    ASSERT_TRUE(RunProgram(copy, "", std::chrono::seconds(20))->status.ok())
        << "needs busybox-static";
    sink_ = std::make_unique<EventSink>(thread_, events_path());
  }

  void TearDown() override {
    for (auto& [id, client] : clients_) thread_.Do([&] { client.reset(); });
    clients_.clear();
    for (Child& shim : shims_) {
      // A test that failed half way leaves containers; they go with this.
      if (shim.pid() > 0 && !shim.WaitFor(std::chrono::milliseconds(0)).ok())
        (void)shim.Kill(SIGKILL);
    }
    shims_.clear();
    const auto dir = Dir::Open(root_ + "/state");
    const auto ids = dir->List();
    for (const std::string& id : *ids) {
      SpawnOptions remove;
      remove.args = {"runc", "--root", root_ + "/runc/" + ns_, "delete", "--force", id};
      (void)RunProgram(remove, "", std::chrono::seconds(20));
    }
    sink_.reset();
    // The runtime leaves the directory above its containers' cgroups.
    const auto hierarchies = Dir::Open("/sys/fs/cgroup")->List();
    for (const std::string& name : *hierarchies)
      (void)rmdir(StrCat("/sys/fs/cgroup/", name, "/", ns_).c_str());
    (void)rmdir(StrCat("/sys/fs/cgroup/", ns_).c_str());
    EXPECT_TRUE(os::UnmountRecursive(root_, MNT_DETACH).ok());
    EXPECT_TRUE(Dir::Open("/tmp")->RemoveTree(root_.substr(5)).ok());
  }

  std::string events_path() const { return root_ + "/d.ttrpc"; }
  std::string bundle(const std::string& id) const { return root_ + "/state/" + id; }

  void WriteBundle(const std::string& id, const std::vector<std::string>& args,
                   const SpecOptions& options = {}) {
    ASSERT_TRUE(MakeDirs(bundle(id) + "/rootfs", 0711).ok());
    std::string words;
    for (const std::string& arg : args) words += (words.empty() ? "" : ",") + ("\"" + arg + "\"");
    const std::string memory = options.memory_limit == 0
                                   ? ""
                                   : StrCat(R"("memory":{"limit":)", options.memory_limit, R"(},)");
    const std::string spec = StrCat(
        R"({"ociVersion":"1.0.2","process":{"terminal":)", options.terminal,
        R"(,"user":{"uid":0,"gid":0},"args":[)", words,
        R"(],"env":["PATH=/bin"],"cwd":"/"},"root":{"path":"rootfs"},"hostname":"h","mounts":[)",
        R"({"destination":"/proc","type":"proc","source":"proc"},)",
        R"({"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["mode=755"]},)",
        R"({"destination":"/dev/pts","type":"devpts","source":"devpts","options":["newinstance","ptmxmode=0666"]}],)",
        R"("linux":{"cgroupsPath":"/)", ns_, "/", id, R"(","resources":{)", memory,
        R"("devices":[{"allow":true,"access":"rwm"}]},"namespaces":[)",
        options.private_pids ? R"({"type":"pid"},)" : "",
        R"({"type":"mount"},{"type":"ipc"},{"type":"uts"}]}})");
    ASSERT_TRUE(
        ReplaceFile(*Dir::Open(bundle(id)), "config.json", spec, 0600, FileReplacer::Durable::kNo)
            .ok());
  }

  // Starts a shim as our daemon does, and connects. Returns its index.
  size_t StartShim(const std::string& id) {
    const std::string socket = root_ + "/s/" + id;
    const Fd listener = std::move(*wire::ListenUnix(socket, 0600));
    SpawnOptions spawn;
    spawn.args = {ShimBinary(), "-namespace", ns_, "-id", id, "-address", root_ + "/d.sock"};
    spawn.env = {"PATH=" + path_, "TTRPC_ADDRESS=" + events_path()};
    // A shim of a sanitizer's build is told where to write what it finds.
    for (const char* name : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
      if (const char* value = getenv(name)) spawn.env->push_back(StrCat(name, "=", value));
    }
    spawn.work_dir = bundle(id);
    spawn.fds = {{listener, 3}};
    spawn.new_process_group = true;
    auto child = Spawn(spawn);
    EXPECT_TRUE(child.ok());
    shims_.push_back(std::move(*child));
    Connect(id);
    return shims_.size() - 1;
  }
  void Connect(const std::string& id) {
    auto socket = wire::ConnectUnix(root_ + "/s/" + id, std::chrono::seconds(1));
    ASSERT_TRUE(socket.ok()) << socket.error().text();
    thread_.Do([&] {
      clients_[id] = std::move(*wire::TtrpcClient::Create(thread_.loop(), std::move(*socket)));
    });
  }

  template <typename Response, typename Request>
  Result<Response> Call(const std::string& shim, const char* method, const Request& request,
                        const char* service = "containerd.task.v3.Task") {
    wire::CallOptions options;
    options.timeout = std::chrono::seconds(30);
    return wire::CallMessage<Response>(clients_[shim]->caller(), service, method, request, options);
  }

  pb::CreateTaskRequest CreateRequest(const std::string& id) {
    pb::CreateTaskRequest request;
    request.set_id(id);
    request.set_bundle(bundle(id));
    auto* mount = request.add_rootfs();
    mount->set_type("bind");
    mount->set_source(root_ + "/tree");
    mount->add_options("rbind");
    mount->add_options("rw");
    containerd::runc::v1::Options options;
    options.set_root(root_ + "/runc");
    options.set_binary_name(runtime_);
    EXPECT_TRUE(wire::PackAny(options, request.mutable_options()));
    return request;
  }
  // Shim, container, started: `id` for both.
  void RunContainer(const std::string& id, const std::vector<std::string>& args,
                    const SpecOptions& options = {}) {
    WriteBundle(id, args, options);
    StartShim(id);
    const auto created = Call<pb::CreateTaskResponse>(id, "Create", CreateRequest(id));
    ASSERT_TRUE(created.ok()) << created.error().text();
    Start(id);
  }
  void Start(const std::string& id) {
    pb::StartRequest request;
    request.set_id(id);
    const auto started = Call<pb::StartResponse>(id, "Start", request);
    ASSERT_TRUE(started.ok()) << started.error().text();
  }
  Status Exec(const std::string& id, const std::string& exec_id, const std::string& args_json) {
    pb::ExecProcessRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    request.mutable_spec()->set_value(StrCat(R"({"user":{"uid":0,"gid":0},"args":)", args_json,
                                             R"(,"env":["PATH=/bin"],"cwd":"/"})"));
    TRY(Call<Empty>(id, "Exec", request));
    return Ok();
  }
  Result<pid_t> StartExec(const std::string& id, const std::string& exec_id) {
    pb::StartRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    const auto started = TRY(Call<pb::StartResponse>(id, "Start", request));
    return static_cast<pid_t>(started.pid());
  }
  Result<uint32_t> Wait(const std::string& id, const std::string& exec_id = "") {
    pb::WaitRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    const auto done = TRY(Call<pb::WaitResponse>(id, "Wait", request));
    return done.exit_status();
  }
  Status Kill(const std::string& id, uint32_t signal, const std::string& exec_id = "") {
    pb::KillRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    request.set_signal(signal);
    TRY(Call<Empty>(id, "Kill", request));
    return Ok();
  }
  Result<pb::DeleteResponse> Delete(const std::string& id, const std::string& exec_id = "") {
    pb::DeleteRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    return Call<pb::DeleteResponse>(id, "Delete", request);
  }
  Result<pb::StateResponse> State(const std::string& id, const std::string& exec_id = "") {
    pb::StateRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    return Call<pb::StateResponse>(id, "State", request);
  }
  Status Shutdown(const std::string& id) {
    pb::ShutdownRequest request;
    request.set_id(id);
    TRY(Call<Empty>(id, "Shutdown", request));
    return Ok();
  }

  LoopThread thread_;
  std::string root_;
  std::string ns_;
  std::string runtime_ = "runc";
  std::string path_ = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  std::unique_ptr<EventSink> sink_;
  std::vector<Child> shims_;
  std::map<std::string, std::unique_ptr<wire::TtrpcClient>> clients_;
};

}  // namespace corten::shim
