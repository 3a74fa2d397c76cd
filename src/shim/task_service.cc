#include "shim/task_service.h"

#include <unistd.h>

#include <utility>

#include "base/log.h"
#include "containerd/runc/v1/options.pb.h"
#include "containerd/task/v3/task.pb.h"
#include "google/protobuf/empty.pb.h"
#include "wire/any_types.h"
#include "wire/cgroup_message.h"
#include "wire/ttrpc_messages.h"

namespace corten::shim {

namespace {

namespace pb = ::containerd::task::v3;
using Empty = ::google::protobuf::Empty;
using wire::CallInfo;
using wire::ReplyTo;

constexpr std::string_view kServices[] = {"containerd.task.v3.Task", "containerd.task.v2.Task"};

containerd::v1::types::Status WireStatus(Phase phase) {
  switch (phase) {
    case Phase::kCreated:
      return containerd::v1::types::CREATED;
    case Phase::kRunning:
      return containerd::v1::types::RUNNING;
    case Phase::kPausing:
      return containerd::v1::types::PAUSING;
    case Phase::kPaused:
      return containerd::v1::types::PAUSED;
    case Phase::kStopped:
      return containerd::v1::types::STOPPED;
  }
  return containerd::v1::types::UNKNOWN;
}

template <typename Message>
void SetExit(Message* message, const ExitRecord& exit) {
  message->set_exit_status(exit.status);
  message->mutable_exited_at()->set_seconds(exit.at.seconds);
  message->mutable_exited_at()->set_nanos(exit.at.nanos);
}

// An answer kept by a callback; std::function wants copies.
template <typename Response>
using Shared = std::shared_ptr<ReplyTo<Response>>;
template <typename Response>
Shared<Response> Share(ReplyTo<Response> reply) {
  return std::make_shared<ReplyTo<Response>>(std::move(reply));
}

// For operations that answer nothing.
Container::Done AnswerEmpty(ReplyTo<Empty> reply) {
  return [shared = Share(std::move(reply))](Status status) {
    if (status.ok()) {
      shared->Send(Empty());
    } else {
      shared->Fail(status.error());
    }
  };
}

Result<RuntimeSettings> SettingsOf(const google::protobuf::Any& any) {
  RuntimeSettings out;
  // Options of other runtimes are theirs; the runc shim has never understood them.
  if (any.type_url().empty() || wire::TypeName(any.type_url()) != wire::kRuncOptionsType)
    return out;
  const auto options = TRY(wire::UnpackAny<containerd::runc::v1::Options>(any));
  if (!options.binary_name().empty()) out.binary = options.binary_name();
  if (!options.root().empty()) out.root = options.root();
  out.systemd_cgroup = options.systemd_cgroup();
  out.no_pivot_root = options.no_pivot_root();
  out.no_new_keyring = options.no_new_keyring();
  out.shim_cgroup = options.shim_cgroup();
  out.io_uid = options.io_uid();
  out.io_gid = options.io_gid();
  return out;
}

StdioPlaces PlacesOf(const auto& request) {
  return {request.stdin(), request.stdout(), request.stderr(), request.terminal()};
}

std::vector<model::Mount> MountsOf(const pb::CreateTaskRequest& request) {
  std::vector<model::Mount> out;
  for (const auto& mount : request.rootfs()) {
    out.push_back({mount.type(),
                   mount.source(),
                   mount.target(),
                   {mount.options().begin(), mount.options().end()}});
  }
  return out;
}

}  // namespace

// One function per rpc, in the order of the service.
struct TaskHandlers {
  TaskService& service;

  // Calls f(container) or fails the reply.
  template <typename Response, typename F>
  void With(const std::string& id, ReplyTo<Response>& reply, F f) {
    Result<std::shared_ptr<Container>> container = service.Find(id);
    if (container.ok()) {
      f(*container);
    } else {
      reply.Fail(container.error());
    }
  }

  void State(const pb::StateRequest& request, ReplyTo<pb::StateResponse> reply) {
    With(request.id(), reply, [&](const std::shared_ptr<Container>& container) {
      const Result<Process*> found = container->Find(request.exec_id());
      if (!found.ok()) return reply.Fail(found.error());
      const Process& process = **found;
      pb::StateResponse out;
      out.set_id(process.exec_id.empty() ? request.id() : process.exec_id);
      out.set_bundle(container->bundle());
      out.set_pid(static_cast<uint32_t>(process.pid));
      out.set_status(WireStatus(container->ReportedPhase(process)));
      out.set_stdin(process.places.in);
      out.set_stdout(process.places.out);
      out.set_stderr(process.places.err);
      out.set_terminal(process.places.terminal);
      SetExit(&out, process.exit);
      out.set_exec_id(process.exec_id);
      reply.Send(out);
    });
  }

  void Create(const pb::CreateTaskRequest& request, ReplyTo<pb::CreateTaskResponse> reply) {
    const std::string id = request.id();
    if (service.containers_.contains(id)) return reply.Fail(AlreadyExistsError("container ", id));
    if (service.ending_) return reply.Fail(UnavailableError("shim is shutting down"));
    if (service.containers_.size() >= TaskService::kMaxContainers ||
        !service.context_.publisher.AcceptsWork()) {
      return reply.Fail(ResourceExhaustedError("shim: no room for container ", id));
    }
    if (!request.checkpoint().empty())
      return reply.Fail(UnimplementedError("restore from a checkpoint"));
    Result<RuntimeSettings> settings = SettingsOf(request.options());
    if (!settings.ok()) return reply.Fail(settings.error());
    ContainerRequest wanted = {id, request.bundle(), MountsOf(request), PlacesOf(request),
                               std::move(*settings)};
    service.containers_[id] = nullptr;
    const auto shared = Share(std::move(reply));
    auto container = Container::Create(service.context_, std::move(wanted),
                                       [this, id, shared](Result<pid_t> pid) {
                                         if (!pid.ok()) {
                                           service.containers_.erase(id);
                                           return shared->Fail(pid.error());
                                         }
                                         pb::CreateTaskResponse out;
                                         out.set_pid(static_cast<uint32_t>(*pid));
                                         shared->Send(out);
                                       });
    // Refused at once: the entry is gone already.
    if (const auto entry = service.containers_.find(id); entry != service.containers_.end())
      entry->second = std::move(container);
  }

  void Start(const pb::StartRequest& request, ReplyTo<pb::StartResponse> reply) {
    With(request.id(), reply, [&](const std::shared_ptr<Container>& container) {
      container->Start(request.exec_id(), [shared = Share(std::move(reply))](Result<pid_t> pid) {
        if (!pid.ok()) return shared->Fail(pid.error());
        pb::StartResponse out;
        out.set_pid(static_cast<uint32_t>(*pid));
        shared->Send(out);
      });
    });
  }

  void Delete(const pb::DeleteRequest& request, ReplyTo<pb::DeleteResponse> reply) {
    With(request.id(), reply, [&](const std::shared_ptr<Container>& container) {
      container->Delete(request.exec_id(), [this, container, shared = Share(std::move(reply))](
                                               Result<Container::Deleted> gone) {
        if (!gone.ok()) return shared->Fail(gone.error());
        pb::DeleteResponse out;
        out.set_pid(static_cast<uint32_t>(gone->pid));
        SetExit(&out, gone->exit);
        if (container->deleted()) service.containers_.erase(container->id());
        shared->Send(out);
      });
    });
  }

  void Pids(const pb::PidsRequest& request, ReplyTo<pb::PidsResponse> reply) {
    With(request.id(), reply, [&](const std::shared_ptr<Container>& container) {
      container->ListPids(
          [container, shared = Share(std::move(reply))](Result<std::vector<pid_t>> pids) {
            if (!pids.ok()) return shared->Fail(pids.error());
            pb::PidsResponse out;
            for (const pid_t pid : *pids) {
              auto* entry = out.add_processes();
              entry->set_pid(static_cast<uint32_t>(pid));
              const std::string exec_id = container->ExecOfPid(pid);
              if (exec_id.empty()) continue;
              containerd::runc::v1::ProcessDetails details;
              details.set_exec_id(exec_id);
              (void)wire::PackAny(details, entry->mutable_info());  // fails above 2 GiB only
            }
            shared->Send(out);
          });
    });
  }

  void Pause(const pb::PauseRequest& request, ReplyTo<Empty> reply) {
    With(request.id(), reply,
         [&](const auto& container) { container->Pause(AnswerEmpty(std::move(reply))); });
  }

  void Resume(const pb::ResumeRequest& request, ReplyTo<Empty> reply) {
    With(request.id(), reply,
         [&](const auto& container) { container->Resume(AnswerEmpty(std::move(reply))); });
  }

  void Checkpoint(const pb::CheckpointTaskRequest& request, ReplyTo<Empty> reply) {
    With(request.id(), reply, [&](const auto&) { reply.Fail(UnimplementedError("checkpoint")); });
  }

  void Kill(const pb::KillRequest& request, ReplyTo<Empty> reply) {
    With(request.id(), reply, [&](const auto& container) {
      container->Kill(request.exec_id(), request.signal(), request.all(),
                      AnswerEmpty(std::move(reply)));
    });
  }

  void Exec(const pb::ExecProcessRequest& request, ReplyTo<Empty> reply) {
    With(request.id(), reply, [&](const auto& container) {
      const Status added =
          container->AddExec(request.exec_id(), PlacesOf(request), request.spec().value());
      if (!added.ok()) return reply.Fail(added.error());
      reply.Send(Empty());
    });
  }

  void ResizePty(const pb::ResizePtyRequest& request, ReplyTo<Empty> reply) {
    With(request.id(), reply, [&](const auto& container) {
      const os::WindowSize size = {static_cast<uint16_t>(request.width()),
                                   static_cast<uint16_t>(request.height())};
      AnswerEmpty(std::move(reply))(container->ResizePty(request.exec_id(), size));
    });
  }

  void CloseIO(const pb::CloseIORequest& request, ReplyTo<Empty> reply) {
    With(request.id(), reply, [&](const auto& container) {
      if (!request.stdin()) return reply.Send(Empty());
      AnswerEmpty(std::move(reply))(container->CloseStdin(request.exec_id()));
    });
  }

  void Update(const pb::UpdateTaskRequest& request, ReplyTo<Empty> reply) {
    With(request.id(), reply, [&](const auto& container) {
      container->Update(request.resources().value(), AnswerEmpty(std::move(reply)));
    });
  }

  void Wait(const pb::WaitRequest& request, ReplyTo<pb::WaitResponse> reply) {
    With(request.id(), reply, [&](const std::shared_ptr<Container>& container) {
      const auto shared = Share(std::move(reply));
      const Result<uint64_t> number =
          container->Wait(request.exec_id(), [shared](const ExitRecord& exit) {
            pb::WaitResponse out;
            SetExit(&out, exit);
            shared->Send(out);
          });
      if (!number.ok()) return shared->Fail(number.error());
      if (*number == 0) return;
      shared->raw().OnCancel([container, exec_id = request.exec_id(), wait = *number](
                                 const Error&) { container->CancelWait(exec_id, wait); });
    });
  }

  void Stats(const pb::StatsRequest& request, ReplyTo<pb::StatsResponse> reply) {
    With(request.id(), reply, [&](const std::shared_ptr<Container>& container) {
      pb::StatsResponse out;
      Result<wire::CgroupMessage> read = wire::ReadCgroupMessage(container->cgroup());
      if (!read.ok()) return reply.Fail(read.error());
      out.mutable_stats()->set_type_url(std::move(read->type_url));
      out.mutable_stats()->set_value(std::move(read->value));
      reply.Send(out);
    });
  }

  void Connect(const pb::ConnectRequest& request, ReplyTo<pb::ConnectResponse> reply) {
    service.context_.publisher.Nudge();  // a daemon that connects is a daemon that listens
    pb::ConnectResponse out;
    out.set_shim_pid(static_cast<uint32_t>(getpid()));
    const Result<std::shared_ptr<Container>> container = service.Find(request.id());
    if (container.ok()) out.set_task_pid(static_cast<uint32_t>((*(*container)->Find(""))->pid));
    reply.Send(out);
  }

  void Shutdown(const pb::ShutdownRequest&, ReplyTo<Empty> reply) {
    if (!service.containers_.empty() || service.ending_) return reply.Send(Empty());
    service.ending_ = true;
    service.shutdown_([shared = Share(std::move(reply))] { shared->Send(Empty()); });
  }
};

TaskService::TaskService(ShimContext& context, std::function<void()> called,
                         std::function<void(std::function<void()> answer)> shutdown)
    : context_(context), called_(std::move(called)), shutdown_(std::move(shutdown)) {}

Result<std::shared_ptr<Container>> TaskService::Find(const std::string& id) const {
  const auto found = containers_.find(id);
  if (found == containers_.end() || found->second == nullptr || !found->second->created()) {
    return NotFoundError("container not created");
  }
  return found->second;
}

void TaskService::Register(wire::TtrpcServer& server) {
  const auto handlers = std::make_shared<TaskHandlers>(TaskHandlers{*this});
  // The messages of v2 and v3 have the same fields and numbers.
  for (const std::string_view name : kServices) {
    const auto add = [&]<typename Request, typename Response>(
                         std::string_view method,
                         void (TaskHandlers::*handler)(const Request&, ReplyTo<Response>)) {
      wire::HandleMessage<Request, Response>(
          server, name, method,
          [handlers, handler](const CallInfo&, const Request& request, ReplyTo<Response> reply) {
            handlers->service.called_();
            ((*handlers).*handler)(request, std::move(reply));
          });
    };
    add("State", &TaskHandlers::State);
    add("Create", &TaskHandlers::Create);
    add("Start", &TaskHandlers::Start);
    add("Delete", &TaskHandlers::Delete);
    add("Pids", &TaskHandlers::Pids);
    add("Pause", &TaskHandlers::Pause);
    add("Resume", &TaskHandlers::Resume);
    add("Checkpoint", &TaskHandlers::Checkpoint);
    add("Kill", &TaskHandlers::Kill);
    add("Exec", &TaskHandlers::Exec);
    add("ResizePty", &TaskHandlers::ResizePty);
    add("CloseIO", &TaskHandlers::CloseIO);
    add("Update", &TaskHandlers::Update);
    add("Wait", &TaskHandlers::Wait);
    add("Stats", &TaskHandlers::Stats);
    add("Connect", &TaskHandlers::Connect);
    add("Shutdown", &TaskHandlers::Shutdown);
  }
}

std::string TaskService::Describe() const {
  std::string out =
      StrCat(containers_.size(), " containers, ", context_.publisher.waiting(), " events waiting");
  for (const auto& [id, container] : containers_) {
    out +=
        StrCat("; ", id, container == nullptr || !container->created() ? " (being created)" : "");
  }
  return out;
}

}  // namespace corten::shim
