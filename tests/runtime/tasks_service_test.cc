// The Tasks service over gRPC: what a client reads, word for word as from containerd 2.3.4
// (tasks_golden.txt).
#include "services/tasks_service.h"

#include <dirent.h>
#include <grpcpp/grpcpp.h>

#include <csignal>
#include <fstream>
#include <regex>
#include <sstream>
#include <thread>

#include "containerd/services/tasks/v1/tasks.grpc.pb.h"
#include "fixture.h"
#include "wire/any_types.h"

namespace corten::runtime {
namespace {

namespace pb = ::containerd::services::tasks::v1;

size_t Threads() {
  size_t count = 0;
  DIR* dir = opendir("/proc/self/task");
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

class TasksService : public RuntimeFixture {
 protected:
  void SetUp() override {
    RuntimeFixture::SetUp();
    if (HasFatalFailure()) return;
    service_ = services::MakeTasksService(tasks_.get());
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix://" + (dir_ / "d.sock"), grpc::InsecureServerCredentials());
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    stub_ = pb::Tasks::NewStub(
        grpc::CreateChannel("unix://" + (dir_ / "d.sock"), grpc::InsecureChannelCredentials()));
  }
  void TearDown() override {
    if (server_ != nullptr)
      server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
    server_.reset();
    RuntimeFixture::TearDown();
  }

  // Calls METHOD and notes what came back, with pids and times blotted out.
  template <typename Request, typename Response>
  void Say(const std::string& what,
           grpc::Status (pb::Tasks::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
           const Request& request, bool in_namespace = true) {
    grpc::ClientContext context;
    if (in_namespace) context.AddMetadata("containerd-namespace", ns_.str());
    context.set_deadline(std::chrono::system_clock::now() + kLong);
    Response response;
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    said_ << what << ": " << status.error_code() << " [" << status.error_message() << "]";
    const std::string body = Blotted(response.ShortDebugString());
    said_ << (body.empty() ? "" : " ") << body << "\n";
  }
  static std::string Blotted(const std::string& text) {
    const std::string pids = std::regex_replace(text, std::regex("pid: [0-9]+"), "pid: N");
    return std::regex_replace(pids, std::regex("seconds: [0-9]+ nanos: [0-9]+"), "seconds: T");
  }
  template <typename Request>
  static Request Process(const std::string& container, const std::string& exec) {
    Request request;
    request.set_container_id(container);
    request.set_exec_id(exec);
    return request;
  }
  template <typename Request>
  static Request Task(const std::string& container) {
    Request request;
    request.set_container_id(container);
    return request;
  }
  void SayCreate(const std::string& id, const std::string& runtime = "",
                 const std::string& source = "") {
    auto request = Task<pb::CreateTaskRequest>(id);
    request.set_runtime_path(runtime);
    auto* mount = request.add_rootfs();
    mount->set_type("bind");
    mount->set_source(source.empty() ? dir_ / "rootfs" : source);
    mount->add_options("rbind");
    Say("create " + id + " " + runtime, &pb::Tasks::Stub::Create, request);
  }
  void SayGet(const std::string& id, const std::string& exec) {
    Say("get " + id + " " + exec, &pb::Tasks::Stub::Get, Process<pb::GetRequest>(id, exec));
  }
  void SayKill(const std::string& id, const std::string& exec) {
    auto request = Process<pb::KillRequest>(id, exec);
    request.set_signal(SIGKILL);
    Say("kill " + id + " " + exec, &pb::Tasks::Stub::Kill, request);
  }
  void SayWait(const std::string& id, const std::string& exec) {
    Say("wait " + id + " " + exec, &pb::Tasks::Stub::Wait, Process<pb::WaitRequest>(id, exec));
  }
  void SayStart(const std::string& id, const std::string& exec) {
    Say("start " + id + " " + exec, &pb::Tasks::Stub::Start, Process<pb::StartRequest>(id, exec));
  }
  void SayDelete(const std::string& id) {
    Say("delete " + id, &pb::Tasks::Stub::Delete, Task<pb::DeleteTaskRequest>(id));
  }
  void SayDeleteProcess(const std::string& id, const std::string& exec) {
    Say("delete-process " + id + " " + exec, &pb::Tasks::Stub::DeleteProcess,
        Process<pb::DeleteProcessRequest>(id, exec));
  }
  void SayExec(const std::string& id, const std::string& exec,
               const std::string& program = "true") {
    auto request = Process<pb::ExecProcessRequest>(id, exec);
    request.mutable_spec()->set_type_url(std::string(wire::kProcessType));
    request.mutable_spec()->set_value(ProcessJson({program}, false));
    Say("exec " + id + " " + exec, &pb::Tasks::Stub::Exec, request);
  }
  void SayList() { Say("list", &pb::Tasks::Stub::List, pb::ListTasksRequest()); }

  void TellCreation();
  void TellExecs();
  void TellTheRest();

  services::ServicePtr service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<pb::Tasks::Stub> stub_;
  std::stringstream said_;
};

void TasksService::TellCreation() {
  Say("list without namespace", &pb::Tasks::Stub::List, pb::ListTasksRequest(), false);
  Say("wait without namespace", &pb::Tasks::Stub::Wait, pb::WaitRequest(), false);
  SayCreate("nope");
  SayCreate("p2");
  SayCreate("p1", "io.containerd.nope.v1");
  SayCreate("p1", "relative/shim");
  SayCreate("p1", "/nonexist/shim");
  SayGet("nope", "");
  SayGet("p1", "");
  SayWait("p1", "");
  SayKill("p1", "");
  SayDelete("p1");
  SayCreate("p1");
  SayCreate("p1");
  SayGet("p1", "");
  SayList();
  SayDelete("nope");
  SayStart("p1", "");
  SayStart("p1", "");
  SayGet("p1", "");
  SayDelete("p1");
}

void TasksService::TellExecs() {
  SayExec("p1", "e1");
  SayExec("p1", "e1");
  SayGet("p1", "e1");
  SayGet("p1", "nope");
  SayKill("p1", "e1");
  SayKill("p1", "nope");
  SayWait("p1", "nope");
  SayDeleteProcess("p1", "nope");
  SayStart("p1", "nope");
  SayStart("p1", "e1");
  SayWait("p1", "e1");
  SayGet("p1", "e1");
  SayKill("p1", "e1");
  SayDeleteProcess("p1", "e1");
  SayExec("p1", "e2", "nosuch");
  SayStart("p1", "e2");
  // What an exec is after a failed start is the shim's affair: Go's says created, ours stopped with
  // 255.
  const Result<ExitInfo> exit =
      RuntimeFixture::Wait({{ns_, model::ContainerId("p1")}, model::ExecId("e2")});
  EXPECT_TRUE(exit.ok()) << exit.error().text();
  EXPECT_TRUE(DeleteProcess({{ns_, model::ContainerId("p1")}, model::ExecId("e2")}).ok());
}

void TasksService::TellTheRest() {
  Say("pause", &pb::Tasks::Stub::Pause, Task<pb::PauseTaskRequest>("p1"));
  SayGet("p1", "");
  Say("pause", &pb::Tasks::Stub::Pause, Task<pb::PauseTaskRequest>("p1"));
  SayExec("p1", "e3");
  Say("resume", &pb::Tasks::Stub::Resume, Task<pb::ResumeTaskRequest>("p1"));
  Say("resume", &pb::Tasks::Stub::Resume, Task<pb::ResumeTaskRequest>("p1"));
  Say("pids", &pb::Tasks::Stub::ListPids, Task<pb::ListPidsRequest>("p1"));
  SayKill("p1", "");
  SayWait("p1", "");
  SayGet("p1", "");
  SayKill("p1", "");
  SayExec("p1", "e3");
  SayStart("p1", "");
  SayDelete("p1");
  SayDelete("p1");
  SayWait("p1", "");
  SayList();
}

TEST_F(TasksService, AnswersInContainerdsWords) {
  (void)AddContainer("p1", {"sleep", "1000"});
  (void)AddContainer("p2", {"nosuch"});
  TellCreation();
  TellExecs();
  TellTheRest();
  std::ifstream golden(CORTEN_TASKS_GOLDEN);
  std::stringstream expected;
  expected << golden.rdbuf();
  EXPECT_EQ(said_.str(), expected.str());
}

TEST_F(TasksService, ParksWaitsWithoutThreads) {
  const TaskKey task = AddContainer("c1", {"sleep", "1000"});
  ASSERT_TRUE(RuntimeFixture::Create(task).ok());
  constexpr size_t kWaits = 300;
  struct Parked {
    grpc::ClientContext context;
    pb::WaitResponse response;
  };
  std::vector<std::unique_ptr<Parked>> parked;
  std::mutex mutex;
  std::condition_variable changed;
  size_t exited = 0;
  size_t canceled = 0;
  const pb::WaitRequest request = Process<pb::WaitRequest>("c1", "");
  const size_t before = Threads();
  for (size_t i = 0; i < kWaits; ++i) {
    parked.push_back(std::make_unique<Parked>());
    parked.back()->context.AddMetadata("containerd-namespace", ns_.str());
    stub_->async()->Wait(&parked.back()->context, &request, &parked.back()->response,
                         [&](const grpc::Status& status) {
                           const std::lock_guard lock(mutex);
                           ++(status.ok() ? exited : canceled);
                           changed.notify_all();
                         });
  }
  ASSERT_TRUE(StartInit(task).ok());
  EXPECT_LT(Threads(), before + 40) << "gRPC and the executors may start a few";
  for (size_t i = 0; i < 100; ++i) parked[i]->context.TryCancel();
  {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, kLong, [&] { return canceled == 100; }));
    EXPECT_EQ(exited, 0u);
  }
  ASSERT_TRUE(RuntimeFixture::Kill({task, {}}, SIGKILL).ok());
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, kLong, [&] { return exited == kWaits - 100; }));
  EXPECT_EQ(parked.back()->response.exit_status(), 137u);
}

TEST_F(TasksService, FiltersMetricsByIdAndNamespace) {
  for (const char* id : {"c1", "c2"}) {
    ASSERT_TRUE(RuntimeFixture::Create(AddContainer(id, {"sleep", "1000"})).ok());
  }
  const auto count = [&](const std::vector<std::string>& filters) {
    grpc::ClientContext context;
    context.AddMetadata("containerd-namespace", ns_.str());
    pb::MetricsRequest request;
    for (const std::string& filter : filters) request.add_filters(filter);
    pb::MetricsResponse response;
    const grpc::Status status = stub_->Metrics(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.metrics_size();
  };
  EXPECT_EQ(count({}), 2);
  EXPECT_EQ(count({"id==c2"}), 1);
  EXPECT_EQ(count({"id==c1", "id==c2"}), 2);
  EXPECT_EQ(count({"namespace==other"}), 0);
  EXPECT_EQ(count({"namespace==test,id~=c."}), 2);
}

}  // namespace
}  // namespace corten::runtime
