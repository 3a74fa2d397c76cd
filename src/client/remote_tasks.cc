#include "api/values.h"
#include "client/tasks.h"
#include "containerd/services/tasks/v1/tasks.grpc.pb.h"

namespace corten::client {

namespace {

namespace tasks = containerd::services::tasks::v1;
using api::FromProto;
using api::ToProto;

TaskState ToState(const containerd::v1::types::Process& process) {
  TaskState state;
  state.container =
      model::ContainerId(process.id().empty() ? process.container_id() : process.id());
  state.pid = process.pid();
  state.io = {process.stdin(), process.stdout(), process.stderr(), process.terminal()};
  state.status = containerd::v1::types::Status_Name(process.status());
  state.exit_status = process.exit_status();
  state.exited_at = FromProto(process.exited_at());
  return state;
}

class Remote final : public Tasks {
 public:
  Remote(ConnectionPtr connection, model::Scope scope)
      : connection_(std::move(connection)),
        scope_(std::move(scope)),
        stub_(tasks::Tasks::NewStub(connection_->channel())) {}

  Result<uint32_t> Create(const model::ContainerId& id, const std::vector<model::Mount>& rootfs,
                          const TaskIo& io, const std::optional<model::Any>& options) override {
    tasks::CreateTaskRequest request;
    request.set_container_id(id.str());
    ToProto(rootfs, request.mutable_rootfs());
    request.set_stdin(io.in);
    request.set_stdout(io.out);
    request.set_stderr(io.err);
    request.set_terminal(io.terminal);
    if (options.has_value()) ToProto(*options, request.mutable_options());
    tasks::CreateTaskResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Create(context, request, &response); }));
    return response.pid();
  }
  Result<uint32_t> Start(const model::ContainerId& id, const model::ExecId& exec) override {
    tasks::StartRequest request = Named<tasks::StartRequest>(id, exec);
    tasks::StartResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Start(context, request, &response); }));
    return response.pid();
  }
  Status Exec(const model::ContainerId& id, const model::ExecId& exec, const model::Any& process,
              const TaskIo& io) override {
    tasks::ExecProcessRequest request = Named<tasks::ExecProcessRequest>(id, exec);
    ToProto(process, request.mutable_spec());
    request.set_stdin(io.in);
    request.set_stdout(io.out);
    request.set_stderr(io.err);
    request.set_terminal(io.terminal);
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->Exec(context, request, &response); });
  }
  Status Kill(const model::ContainerId& id, const model::ExecId& exec, uint32_t signal,
              bool all) override {
    tasks::KillRequest request = Named<tasks::KillRequest>(id, exec);
    request.set_signal(signal);
    request.set_all(all);
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->Kill(context, request, &response); });
  }
  Result<TaskExit> Wait(const model::ContainerId& id, const model::ExecId& exec) override {
    const tasks::WaitRequest request = Named<tasks::WaitRequest>(id, exec);
    tasks::WaitResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Wait(context, request, &response); }));
    return TaskExit{response.exit_status(), FromProto(response.exited_at())};
  }
  Result<TaskExit> Delete(const model::ContainerId& id, const model::ExecId& exec) override {
    tasks::DeleteResponse response;
    if (exec.empty()) {
      tasks::DeleteTaskRequest request;
      request.set_container_id(id.str());
      TRY(Call([&](grpc::ClientContext* context) {
        return stub_->Delete(context, request, &response);
      }));
    } else {
      const tasks::DeleteProcessRequest request = Named<tasks::DeleteProcessRequest>(id, exec);
      TRY(Call([&](grpc::ClientContext* context) {
        return stub_->DeleteProcess(context, request, &response);
      }));
    }
    return TaskExit{response.exit_status(), FromProto(response.exited_at())};
  }
  Status CloseInput(const model::ContainerId& id, const model::ExecId& exec) override {
    tasks::CloseIORequest request = Named<tasks::CloseIORequest>(id, exec);
    request.set_stdin(true);
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->CloseIO(context, request, &response); });
  }
  Status Resize(const model::ContainerId& id, const model::ExecId& exec, uint32_t width,
                uint32_t height) override {
    tasks::ResizePtyRequest request = Named<tasks::ResizePtyRequest>(id, exec);
    request.set_width(width);
    request.set_height(height);
    google::protobuf::Empty response;
    return Call([&](grpc::ClientContext* context) {
      return stub_->ResizePty(context, request, &response);
    });
  }
  Result<TaskState> Get(const model::ContainerId& id) override { return GetProcess(id, {}); }
  Result<TaskState> GetProcess(const model::ContainerId& id, const model::ExecId& exec) override {
    const tasks::GetRequest request = Named<tasks::GetRequest>(id, exec);
    tasks::GetResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Get(context, request, &response); }));
    return ToState(response.process());
  }
  Result<std::vector<TaskState>> List() override {
    tasks::ListTasksResponse response;
    TRY(Call([&](grpc::ClientContext* context) {
      return stub_->List(context, tasks::ListTasksRequest(), &response);
    }));
    std::vector<TaskState> out;
    for (const auto& process : response.tasks()) out.push_back(ToState(process));
    return out;
  }
  Status Pause(const model::ContainerId& id) override {
    tasks::PauseTaskRequest request;
    request.set_container_id(id.str());
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->Pause(context, request, &response); });
  }
  Status Resume(const model::ContainerId& id) override {
    tasks::ResumeTaskRequest request;
    request.set_container_id(id.str());
    google::protobuf::Empty response;
    return Call(
        [&](grpc::ClientContext* context) { return stub_->Resume(context, request, &response); });
  }
  Result<std::vector<TaskPid>> Pids(const model::ContainerId& id) override {
    tasks::ListPidsRequest request;
    request.set_container_id(id.str());
    tasks::ListPidsResponse response;
    TRY(Call([&](grpc::ClientContext* context) {
      return stub_->ListPids(context, request, &response);
    }));
    std::vector<TaskPid> out;
    for (const auto& process : response.processes()) {
      TaskPid pid;
      pid.pid = process.pid();
      if (process.has_info()) pid.info = FromProto(process.info());
      out.push_back(std::move(pid));
    }
    return out;
  }
  Result<std::vector<TaskMetric>> Metrics(const std::vector<std::string>& filters) override {
    tasks::MetricsRequest request;
    for (const std::string& filter : filters) request.add_filters(filter);
    tasks::MetricsResponse response;
    TRY(Call(
        [&](grpc::ClientContext* context) { return stub_->Metrics(context, request, &response); }));
    std::vector<TaskMetric> out;
    for (const auto& metric : response.metrics())
      out.push_back({metric.id(), FromProto(metric.timestamp()), FromProto(metric.data())});
    return out;
  }

 private:
  template <typename Request>
  static Request Named(const model::ContainerId& id, const model::ExecId& exec) {
    Request request;
    request.set_container_id(id.str());
    request.set_exec_id(exec.str());
    return request;
  }
  template <typename F>
  Status Call(F call) {
    grpc::ClientContext context;
    connection_->Prepare(&context, scope_);
    return FromGrpc(call(&context));
  }
  ConnectionPtr connection_;
  const model::Scope scope_;
  std::unique_ptr<tasks::Tasks::Stub> stub_;
};

}  // namespace

std::unique_ptr<Tasks> RemoteTasks(ConnectionPtr connection, model::Scope scope) {
  return std::make_unique<Remote>(std::move(connection), std::move(scope));
}

}  // namespace corten::client
