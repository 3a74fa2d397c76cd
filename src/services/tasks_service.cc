#include "services/tasks_service.h"

#include <memory>
#include <mutex>

#include "api/values.h"
#include "base/failpoint.h"
#include "containerd/services/tasks/v1/tasks.grpc.pb.h"
#include "model/filter.h"
#include "runtime/tasks.h"
#include "services/rpc.h"

namespace corten::services {

namespace pb = containerd::services::tasks::v1;

namespace {

using api::FromProto;
using api::ToProto;
using google::protobuf::Empty;
using runtime::CallOptions;
using runtime::Done;
using runtime::ExitInfo;
using runtime::ProcessKey;
using runtime::ProcessState;
using runtime::TaskKey;

CallOptions OptionsOf(const grpc::CallbackServerContext& context) {
  CallOptions options;
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return options;
  options.deadline =
      std::chrono::steady_clock::now() + (deadline - std::chrono::system_clock::now());
  return options;
}

std::optional<model::Any> AnyOf(bool has, const google::protobuf::Any& any) {
  return has ? std::optional(FromProto(any)) : std::nullopt;
}

template <typename Request>
TaskKey TaskOf(const model::Scope& scope, const Request& request) {
  return {scope.ns, model::ContainerId(request.container_id())};
}
template <typename Request>
ProcessKey ProcessOf(const model::Scope& scope, const Request& request) {
  return {TaskOf(scope, request), model::ExecId(request.exec_id())};
}
template <typename Request>
runtime::Stdio StdioOf(const Request& request) {
  return {request.stdin(), request.stdout(), request.stderr(), request.terminal()};
}

void Encode(const ProcessState& state, containerd::v1::types::Process* out) {
  out->set_id(state.exec.empty() ? state.container.str() : state.exec.str());
  out->set_pid(state.pid);
  out->set_status(static_cast<containerd::v1::types::Status>(state.status));
  out->set_stdin(state.io.in);
  out->set_stdout(state.io.out);
  out->set_stderr(state.io.err);
  out->set_terminal(state.io.terminal);
  out->set_exit_status(state.exit_status);
  ToProto(state.exited_at, out->mutable_exited_at());
}

// Ends the call with a result; `encode` fills the response from the value.
template <typename T, typename Encoder>
Done<T> FinishWith(grpc::ServerUnaryReactor* reactor, Encoder encode) {
  return [reactor, encode](Result<T> result) {
    if (result.ok()) encode(*result);
    FAILPOINT("services.tasks.answering");
    reactor->Finish(ToGrpc(result));
    FAILPOINT("services.tasks.answered");
  };
}
Done<void> FinishEmpty(grpc::ServerUnaryReactor* reactor) {
  return [reactor](Status result) {
    FAILPOINT("services.tasks.answering");
    reactor->Finish(ToGrpc(result));
    FAILPOINT("services.tasks.answered");
  };
}

// One parked Wait. It ends by the process's exit or by the client's leaving, whichever is first.
class WaitCall final : public grpc::ServerUnaryReactor {
 public:
  WaitCall(runtime::Tasks* tasks, const ProcessKey& process, pb::WaitResponse* response)
      : tasks_(tasks) {
    state_->call = this;
    state_->response = response;
    const uint64_t ticket =
        tasks->Wait(process, [state = state_](Result<ExitInfo> exit) { state->Exited(exit); });
    const std::lock_guard lock(state_->mutex);
    state_->ticket = ticket;
  }
  void OnCancel() override {
    uint64_t ticket = 0;
    {
      const std::lock_guard lock(state_->mutex);
      if (std::exchange(state_->finished, true)) return;
      ticket = state_->ticket;
    }
    if (ticket != 0)
      (void)tasks_->CancelWait(ticket);  // it may be running just now: it finds the call finished
    Finish(grpc::Status(grpc::StatusCode::CANCELLED, "context canceled"));
  }
  void OnDone() override { delete this; }

 private:
  // Shared with the callback, which may come after the call is gone.
  struct State {
    std::mutex mutex;
    bool finished = false;
    uint64_t ticket = 0;
    WaitCall* call = nullptr;  // valid until finished
    pb::WaitResponse* response = nullptr;
    void Exited(const Result<ExitInfo>& exit) {
      {
        const std::lock_guard lock(mutex);
        if (std::exchange(finished, true)) return;
      }
      if (exit.ok()) {
        response->set_exit_status(exit->status);
        ToProto(exit->at, response->mutable_exited_at());
      }
      call->Finish(ToGrpc(exit));
    }
  };
  runtime::Tasks* tasks_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

class TasksService final : public pb::Tasks::CallbackService {
 public:
  explicit TasksService(runtime::Tasks* tasks) : tasks_(tasks) {}

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context,
                                   const pb::CreateTaskRequest* request,
                                   pb::CreateTaskResponse* response) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      runtime::CreateRequest create;
      create.task = TaskOf(scope, *request);
      create.rootfs = FromProto(request->rootfs());
      create.io = StdioOf(*request);
      if (request->has_checkpoint()) create.checkpoint = request->checkpoint().digest();
      create.options = AnyOf(request->has_options(), request->options());
      create.runtime_path = request->runtime_path();
      create.task_api_address = request->task_api_address();
      create.task_api_version = request->task_api_version();
      tasks_->Create(
          OptionsOf(*context), std::move(create),
          FinishWith<uint32_t>(reactor, [response, id = request->container_id()](uint32_t pid) {
            response->set_container_id(id);
            response->set_pid(pid);
          }));
    });
  }

  grpc::ServerUnaryReactor* Start(grpc::CallbackServerContext* context,
                                  const pb::StartRequest* request,
                                  pb::StartResponse* response) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->Start(
          OptionsOf(*context), ProcessOf(scope, *request),
          FinishWith<uint32_t>(reactor, [response](uint32_t pid) { response->set_pid(pid); }));
    });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const pb::DeleteTaskRequest* request,
                                   pb::DeleteResponse* response) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->Delete(OptionsOf(*context), TaskOf(scope, *request),
                     FinishDelete(reactor, response, ""));
    });
  }

  grpc::ServerUnaryReactor* DeleteProcess(grpc::CallbackServerContext* context,
                                          const pb::DeleteProcessRequest* request,
                                          pb::DeleteResponse* response) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->DeleteProcess(OptionsOf(*context), ProcessOf(scope, *request),
                            FinishDelete(reactor, response, request->exec_id()));
    });
  }

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const pb::GetRequest* request,
                                pb::GetResponse* response) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->State(OptionsOf(*context), ProcessOf(scope, *request),
                    FinishWith<ProcessState>(reactor, [response](const ProcessState& state) {
                      Encode(state, response->mutable_process());
                    }));
    });
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const pb::ListTasksRequest*,
                                 pb::ListTasksResponse* response) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      for (const ProcessState& state : tasks_->List(scope.ns)) Encode(state, response->add_tasks());
      reactor->Finish(grpc::Status::OK);
    });
  }

  grpc::ServerUnaryReactor* Kill(grpc::CallbackServerContext* context,
                                 const pb::KillRequest* request, Empty*) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->Kill(OptionsOf(*context), ProcessOf(scope, *request), request->signal(),
                   request->all(), FinishEmpty(reactor));
    });
  }

  grpc::ServerUnaryReactor* Exec(grpc::CallbackServerContext* context,
                                 const pb::ExecProcessRequest* request, Empty*) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      runtime::ExecRequest exec{ProcessOf(scope, *request), StdioOf(*request),
                                AnyOf(request->has_spec(), request->spec())};
      tasks_->Exec(OptionsOf(*context), std::move(exec), FinishEmpty(reactor));
    });
  }

  grpc::ServerUnaryReactor* ResizePty(grpc::CallbackServerContext* context,
                                      const pb::ResizePtyRequest* request, Empty*) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->ResizePty(OptionsOf(*context), ProcessOf(scope, *request), request->width(),
                        request->height(), FinishEmpty(reactor));
    });
  }

  grpc::ServerUnaryReactor* CloseIO(grpc::CallbackServerContext* context,
                                    const pb::CloseIORequest* request, Empty*) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->CloseIo(OptionsOf(*context), ProcessOf(scope, *request), request->stdin(),
                      FinishEmpty(reactor));
    });
  }

  grpc::ServerUnaryReactor* Pause(grpc::CallbackServerContext* context,
                                  const pb::PauseTaskRequest* request, Empty*) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->Pause(OptionsOf(*context), TaskOf(scope, *request), FinishEmpty(reactor));
    });
  }

  grpc::ServerUnaryReactor* Resume(grpc::CallbackServerContext* context,
                                   const pb::ResumeTaskRequest* request, Empty*) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->Resume(OptionsOf(*context), TaskOf(scope, *request), FinishEmpty(reactor));
    });
  }

  grpc::ServerUnaryReactor* ListPids(grpc::CallbackServerContext* context,
                                     const pb::ListPidsRequest* request,
                                     pb::ListPidsResponse* response) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      using Pids = std::vector<runtime::PidInfo>;
      tasks_->Pids(OptionsOf(*context), TaskOf(scope, *request),
                   FinishWith<Pids>(reactor, [response](const Pids& pids) {
                     for (const runtime::PidInfo& pid : pids) {
                       auto* out = response->add_processes();
                       out->set_pid(pid.pid);
                       if (pid.info) ToProto(*pid.info, out->mutable_info());
                     }
                   }));
    });
  }

  grpc::ServerUnaryReactor* Checkpoint(grpc::CallbackServerContext* context,
                                       const pb::CheckpointTaskRequest*,
                                       pb::CheckpointTaskResponse*) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope&) {
      reactor->Finish(ToGrpc(UnimplementedError("checkpoint of a task")));
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context,
                                   const pb::UpdateTaskRequest* request, Empty*) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      tasks_->Update(OptionsOf(*context), TaskOf(scope, *request),
                     AnyOf(request->has_resources(), request->resources()),
                     {request->annotations().begin(), request->annotations().end()},
                     FinishEmpty(reactor));
    });
  }

  grpc::ServerUnaryReactor* Metrics(grpc::CallbackServerContext* context,
                                    const pb::MetricsRequest* request,
                                    pb::MetricsResponse* response) override {
    return InNamespace(context, [&](grpc::ServerUnaryReactor* reactor, const model::Scope& scope) {
      Result<model::Filter> filter = model::Filter::Parse(FromProto(request->filters()));
      if (!filter.ok()) return reactor->Finish(ToGrpc(filter));
      const auto wanted = [filter = std::move(*filter),
                           ns = scope.ns](const model::ContainerId& id) {
        return filter.Matches(
            [&](const std::vector<std::string>& path) -> std::optional<std::string> {
              if (path.size() != 1) return std::nullopt;
              if (path[0] == "id") return id.str();
              if (path[0] == "namespace") return ns.str();
              return std::nullopt;
            });
      };
      using All = std::vector<runtime::Metric>;
      tasks_->Metrics(scope.ns, wanted, FinishWith<All>(reactor, [response](const All& metrics) {
                        for (const runtime::Metric& metric : metrics) {
                          auto* out = response->add_metrics();
                          ToProto(metric.timestamp, out->mutable_timestamp());
                          out->set_id(metric.id.str());
                          ToProto(metric.data, out->mutable_data());
                        }
                      }));
    });
  }

  grpc::ServerUnaryReactor* Wait(grpc::CallbackServerContext* context,
                                 const pb::WaitRequest* request,
                                 pb::WaitResponse* response) override {
    const Result<model::Scope> scope = RequireScope(*context);
    if (scope.ok())
      return new WaitCall(tasks_, ProcessOf(*scope, *request),
                          response);  // deletes itself when done
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(scope));
    return reactor;
  }

 private:
  // `start` begins the work and hands the reactor to whoever will finish it.
  template <typename Start>
  grpc::ServerUnaryReactor* InNamespace(grpc::CallbackServerContext* context, Start start) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const Result<model::Scope> scope = RequireScope(*context);
    if (!scope.ok()) {
      reactor->Finish(ToGrpc(scope));
    } else {
      FAILPOINT("services.tasks.called");
      start(reactor, *scope);
    }
    return reactor;
  }

  static Done<ExitInfo> FinishDelete(grpc::ServerUnaryReactor* reactor,
                                     pb::DeleteResponse* response, const std::string& id) {
    return FinishWith<ExitInfo>(reactor, [response, id](const ExitInfo& exit) {
      response->set_id(id);
      response->set_pid(exit.pid);
      response->set_exit_status(exit.status);
      ToProto(exit.at, response->mutable_exited_at());
    });
  }

  runtime::Tasks* tasks_;
};

}  // namespace

ServicePtr MakeTasksService(runtime::Tasks* tasks) { return std::make_unique<TasksService>(tasks); }

}  // namespace corten::services
