#include "runtime/tasks.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/failpoint.h"
#include "containerd/task/v3/task.pb.h"
#include "google/protobuf/any.pb.h"
#include "runtime/events_forward.h"
#include "runtime/tasks_core.h"

namespace corten::runtime {

namespace {

namespace pb = ::containerd::task::v3;

constexpr std::chrono::milliseconds kRetryWhenFull{50};
constexpr std::chrono::seconds kStopDeadline{
    70};  // a little over the longest deadline of what runs on `control`

std::string PathVariable() {
  const char* path = getenv("PATH");
  return path != nullptr ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

std::vector<std::string> DaemonDirectory(const std::string& daemon_binary) {
  const size_t slash = daemon_binary.rfind('/');
  if (slash == std::string::npos || slash == 0) return {};
  return {daemon_binary.substr(0, slash)};
}

template <typename Message>
Result<Message> Parse(const std::string& bytes) {
  Message message;
  if (!message.ParseFromString(bytes))
    return InternalError("shim: unreadable ", message.GetTypeName());
  return message;
}

template <typename Request>
Request ProcessRequest(const ProcessKey& process) {
  Request request;
  request.set_id(process.task.id.str());
  request.set_exec_id(process.exec.str());
  return request;
}

void SetAny(const std::optional<model::Any>& any, google::protobuf::Any* out) {
  out->set_type_url(any->type_url);
  out->set_value(any->value);
}

}  // namespace

Tasks::Core::Core(Settings settings_in, Links links_in, LoopThread& loop_in, BundleStore bundles_in)
    : settings(std::move(settings_in)),
      links(links_in),
      loop(loop_in),
      bundles(std::move(bundles_in)),
      resolver(settings.shim_dirs, PathVariable(), DaemonDirectory(settings.shim.daemon_binary)),
      starter(settings.shim),
      pool(loop_in, [this](const std::shared_ptr<ShimClient>& shim) { OnShimClosed(shim); }),
      logs(loop_in, FdRef(settings.log_fd)) {}

void Tasks::Core::Complete(std::function<void()> work) {
  Result<Gate::Hold> hold = gate.Enter();
  if (!hold.ok()) return work();
  auto held = std::make_shared<Gate::Hold>(std::move(*hold));
  auto shared = std::make_shared<std::function<void()>>(std::move(work));
  if (!links.control->Submit([held, shared] { (*shared)(); }).ok()) (*shared)();
}

void Tasks::Core::Background(std::function<void()> work) {
  Result<Gate::Hold> hold = gate.Enter();
  if (!hold.ok()) return;
  auto held = std::make_shared<Gate::Hold>(std::move(*hold));
  auto shared = std::make_shared<std::function<void()>>(std::move(work));
  if (links.control->Submit([held, shared] { (*shared)(); }).ok()) return;
  loop.Post([self = shared_from_this(), shared] {
    self->loop.loop().After(kRetryWhenFull, [self, shared] { self->Background(*shared); });
  });
}

std::chrono::nanoseconds Tasks::Core::Timeout(const CallOptions& call) {
  if (!call.deadline) return kCallLimit;
  const std::chrono::nanoseconds left = *call.deadline - std::chrono::steady_clock::now();
  return std::clamp<std::chrono::nanoseconds>(left, std::chrono::nanoseconds(1), kCallLimit);
}

Error Tasks::Core::ExplainMissing(const TaskKey& task, Error error) const {
  const Result<metadata::Container> container = links.containers->Get(task.ns, task.id);
  return container.ok() ? std::move(error) : container.error().Clone();
}

void Tasks::Core::CallShim(const CallOptions& call, const TaskKey& task, std::string_view method,
                           std::string request, Reply reply) {
  Result<TaskLink> link = table.Find(task);
  if (!link.ok()) {
    auto error = std::make_shared<Error>(std::move(link).TakeError());
    Complete([self = shared_from_this(), task, error, reply = std::move(reply)] {
      reply(self->ExplainMissing(task, std::move(*error)));
    });
    return;
  }
  link->shim->Call(task.ns, method, std::move(request), Timeout(call),
                   [self = shared_from_this(), task, shim = link->shim,
                    reply = std::move(reply)](Result<std::string> response) {
                     if (!response.ok() && response.error().Is(Code::kDeadlineExceeded))
                       self->table.Doubt(task);
                     reply(std::move(response));
                   });
}

void Tasks::Core::CallForNothing(const CallOptions& call, const TaskKey& task,
                                 std::string_view method, std::string request, Done<void> done) {
  CallShim(call, task, method, std::move(request),
           [self = shared_from_this(), done = std::move(done)](Result<std::string> reply) {
             self->Finish<void>(done, reply.ok() ? Status() : Status(std::move(reply).TakeError()));
           });
}

void Tasks::Core::Watch(const ProcessKey& process) {
  const uint64_t generation = table.BeginWatch(process);
  if (generation == 0) return;
  const Result<TaskLink> link = table.Find(process.task);
  if (!link.ok()) return;
  link->shim->Call(
      process.task.ns, "Wait", ProcessRequest<pb::WaitRequest>(process).SerializeAsString(), {},
      [self = shared_from_this(), process, generation](Result<std::string> reply) {
        if (!reply.ok())
          return;  // deleted meanwhile, or the shim is gone: both are noticed elsewhere
        const Result<pb::WaitResponse> answer = Parse<pb::WaitResponse>(*reply);
        if (!answer.ok()) return;
        FAILPOINT("runtime.wait.answered");
        const Time at = FromStamp(answer->has_exited_at(), answer->exited_at());
        if (at > kZeroTime) {
          self->table.Exited(process, generation, {0, answer->exit_status(), at});
        } else {
          self->table.NeverRan(process, generation, {0, answer->exit_status(), at});
        }
      });
}

void Tasks::Core::AskState(const ProcessKey& process, std::chrono::nanoseconds timeout,
                           Done<ProcessState> done) {
  const auto reply = [self = shared_from_this(), process,
                      done = std::move(done)](Result<std::string> response) {
    if (!response.ok()) return done(std::move(response).TakeError());
    const Result<pb::StateResponse> answer = Parse<pb::StateResponse>(*response);
    if (!answer.ok()) return done(answer.error().Clone());
    ProcessState state;
    state.container = process.task.id;
    state.exec = process.exec;
    state.pid = answer->pid();
    state.status = static_cast<ProcessStatus>(std::clamp<int>(answer->status(), 0, 5));
    state.io = {answer->stdin(), answer->stdout(), answer->stderr(), answer->terminal()};
    state.exit_status = answer->exit_status();
    state.exited_at = FromStamp(answer->has_exited_at(), answer->exited_at());
    self->table.Merge(process, state);
    if (state.status != ProcessStatus::kStopped) self->Watch(process);
    // What the table says now: an exit may have come before this answer.
    const std::optional<ProcessState> merged = self->table.State(process);
    done(merged ? *merged : state);
  };
  CallOptions call;
  call.deadline = std::chrono::steady_clock::now() + timeout;
  CallShim(call, process.task, "State",
           ProcessRequest<pb::StateRequest>(process).SerializeAsString(), reply);
}

Status Tasks::Core::TakeEvent(events::Envelope envelope) {
  FAILPOINT("runtime.event.received");
  const std::optional<TaskEvent> event = DecodeTaskEvent(envelope);
  if (event && !table.Admit(*event)) return Ok();  // told before, by whoever was quicker
  FAILPOINT("runtime.event.admitted");
  return links.exchange->Forward(std::move(envelope));
}

void Tasks::Core::Publish(const TaskTable::Untold& untold) {
  for (const auto& [process, exit] : untold.exits) {
    (void)links.exchange->Publish(untold.key.ns, std::string(kTopicExit),
                                  EncodeTaskExit(process, exit));  // ours is well formed
  }
  if (untold.deleted) {
    (void)links.exchange->Publish(untold.key.ns, std::string(kTopicDelete),
                                  EncodeTaskDelete(untold.key, *untold.deleted));
  }
}

void Tasks::Core::Stop() {
  stopping = true;
  table.FailWaiters(UnavailableError("the daemon is stopping"));
  pool.CloseAll();
  loop.RunSync([this] { logs.Clear(); });
  CHECK(gate.Close(kStopDeadline));  // everything that holds it has a shorter deadline
}

// --- Tasks ---

Result<std::unique_ptr<Tasks>> Tasks::Open(Settings settings, Links links) {
  CHECK(links.containers != nullptr && links.exchange != nullptr && links.control != nullptr);
  BundleStore bundles = TRY(BundleStore::Open(settings.root, settings.state));
  std::unique_ptr<Tasks> self(new Tasks());
  self->loop_ = TRY(LoopThread::Start("shims"));
  self->core_ =
      std::make_shared<Core>(std::move(settings), links, *self->loop_, std::move(bundles));
  return self;
}

Tasks::~Tasks() {
  events_.reset();
  if (core_ != nullptr) core_->Stop();
  loop_.reset();
}

Status Tasks::ListenEvents(Fd listener) {
  events_ = TRY(EventsForward::Listen(*loop_, std::move(listener),
                                      [core = core_.get()](events::Envelope envelope) {
                                        return core->TakeEvent(std::move(envelope));
                                      }));
  return Ok();
}

Result<RecoveryReport> Tasks::Recover() { return core_->Recover(); }

void Tasks::Create(const CallOptions& call, CreateRequest request, Done<uint32_t> pid) {
  core_->Create(call, std::move(request), std::move(pid));
}

void Tasks::Start(const CallOptions& call, const ProcessKey& process, Done<uint32_t> pid) {
  FAILPOINT("runtime.start.asked");
  core_->table.Starting(process);
  core_->CallShim(
      call, process.task, "Start", ProcessRequest<pb::StartRequest>(process).SerializeAsString(),
      [core = core_, process, pid = std::move(pid)](Result<std::string> reply) {
        if (!reply.ok()) {
          core->table.StartFailed(process);
          core->Watch(process);  // a parked Wait is answered by what the shim makes of it
          return core->Finish<uint32_t>(pid, std::move(reply).TakeError());
        }
        FAILPOINT("runtime.start.answered");
        const Result<pb::StartResponse> answer = Parse<pb::StartResponse>(*reply);
        if (!answer.ok()) return core->Finish<uint32_t>(pid, answer.error().Clone());
        core->table.Started(process, answer->pid());
        FAILPOINT("runtime.start.entered");
        core->Watch(process);
        FAILPOINT("runtime.start.watched");
        core->Finish<uint32_t>(pid, answer->pid());
      });
}

void Tasks::Delete(const CallOptions& call, const TaskKey& task, Done<ExitInfo> done) {
  core_->Delete(call, task, std::move(done));
}

void Tasks::DeleteProcess(const CallOptions& call, const ProcessKey& process, Done<ExitInfo> done) {
  if (process.exec.empty()) return core_->Delete(call, process.task, std::move(done));
  core_->CallShim(call, process.task, "Delete",
                  ProcessRequest<pb::DeleteRequest>(process).SerializeAsString(),
                  [core = core_, process, done = std::move(done)](Result<std::string> reply) {
                    if (!reply.ok())
                      return core->Finish<ExitInfo>(done, std::move(reply).TakeError());
                    const Result<pb::DeleteResponse> answer = Parse<pb::DeleteResponse>(*reply);
                    if (!answer.ok()) return core->Finish<ExitInfo>(done, answer.error().Clone());
                    const ExitInfo exit{answer->pid(), answer->exit_status(),
                                        FromStamp(answer->has_exited_at(), answer->exited_at())};
                    FAILPOINT("runtime.exec_delete.answered");
                    if (exit.pid != 0) core->table.Exited(process, 0, exit);
                    core->table.ExecDeleted(process);
                    FAILPOINT("runtime.exec_delete.entered");
                    core->Finish<ExitInfo>(done, exit);
                  });
}

void Tasks::Exec(const CallOptions& call, ExecRequest request, Done<void> done) {
  if (request.process.exec.empty())
    return core_->Finish<void>(std::move(done), InvalidArgumentError("exec id cannot be empty"));
  Status valid = model::ValidateIdentifier(request.process.exec.str(), "exec id");
  if (!valid.ok()) {
    return core_->Finish<void>(std::move(done),
                               std::move(valid).TakeError().Context(
                                   StrCat("invalid exec id ", request.process.exec.str())));
  }
  FAILPOINT("runtime.exec.asked");
  auto message = ProcessRequest<pb::ExecProcessRequest>(request.process);
  message.set_terminal(request.io.terminal);
  message.set_stdin(request.io.in);
  message.set_stdout(request.io.out);
  message.set_stderr(request.io.err);
  if (request.spec) SetAny(request.spec, message.mutable_spec());
  core_->CallShim(call, request.process.task, "Exec", message.SerializeAsString(),
                  [core = core_, process = request.process, io = request.io,
                   done = std::move(done)](Result<std::string> reply) {
                    FAILPOINT("runtime.exec.answered");
                    if (!reply.ok()) return core->Finish<void>(done, std::move(reply).TakeError());
                    Status added = core->table.ExecAdded(process, io);
                    FAILPOINT("runtime.exec.entered");
                    core->Finish<void>(done, std::move(added));
                  });
}

void Tasks::Kill(const CallOptions& call, const ProcessKey& process, uint32_t signal, bool all,
                 Done<void> done) {
  auto request = ProcessRequest<pb::KillRequest>(process);
  request.set_signal(signal);
  request.set_all(all);
  core_->CallForNothing(call, process.task, "Kill", request.SerializeAsString(), std::move(done));
}

void Tasks::Pause(const CallOptions& call, const TaskKey& task, Done<void> done) {
  pb::PauseRequest request;
  request.set_id(task.id.str());
  const std::optional<ProcessState> before = core_->table.State({task, {}});
  if (before && before->status == ProcessStatus::kRunning)
    core_->table.SetPause(task, ProcessStatus::kPausing);
  core_->CallShim(call, task, "Pause", request.SerializeAsString(),
                  [core = core_, task, before, done = std::move(done)](Result<std::string> reply) {
                    const bool ours = before && before->status == ProcessStatus::kRunning;
                    if (reply.ok()) {
                      core->table.SetPause(task, ProcessStatus::kPaused);
                    } else if (ours) {
                      core->table.SetPause(task, ProcessStatus::kRunning);
                    }
                    core->Finish<void>(
                        done, reply.ok() ? Status() : Status(std::move(reply).TakeError()));
                  });
}

void Tasks::Resume(const CallOptions& call, const TaskKey& task, Done<void> done) {
  pb::ResumeRequest request;
  request.set_id(task.id.str());
  core_->CallShim(call, task, "Resume", request.SerializeAsString(),
                  [core = core_, task, done = std::move(done)](Result<std::string> reply) {
                    if (reply.ok()) core->table.SetPause(task, ProcessStatus::kRunning);
                    core->Finish<void>(
                        done, reply.ok() ? Status() : Status(std::move(reply).TakeError()));
                  });
}

void Tasks::ResizePty(const CallOptions& call, const ProcessKey& process, uint32_t width,
                      uint32_t height, Done<void> done) {
  auto request = ProcessRequest<pb::ResizePtyRequest>(process);
  request.set_width(width);
  request.set_height(height);
  core_->CallForNothing(call, process.task, "ResizePty", request.SerializeAsString(),
                        std::move(done));
}

void Tasks::CloseIo(const CallOptions& call, const ProcessKey& process, bool input,
                    Done<void> done) {
  auto request = ProcessRequest<pb::CloseIORequest>(process);
  request.set_stdin(input);
  core_->CallForNothing(call, process.task, "CloseIO", request.SerializeAsString(),
                        std::move(done));
}

void Tasks::Update(const CallOptions& call, const TaskKey& task,
                   std::optional<model::Any> resources,
                   std::map<std::string, std::string> annotations, Done<void> done) {
  pb::UpdateTaskRequest request;
  request.set_id(task.id.str());
  if (resources) SetAny(resources, request.mutable_resources());
  for (auto& [name, value] : annotations) (*request.mutable_annotations())[name] = std::move(value);
  core_->CallForNothing(call, task, "Update", request.SerializeAsString(), std::move(done));
}

void Tasks::Pids(const CallOptions& call, const TaskKey& task, Done<std::vector<PidInfo>> done) {
  pb::PidsRequest request;
  request.set_id(task.id.str());
  core_->CallShim(call, task, "Pids", request.SerializeAsString(),
                  [core = core_, done = std::move(done)](Result<std::string> reply) {
                    if (!reply.ok())
                      return core->Finish<std::vector<PidInfo>>(done, std::move(reply).TakeError());
                    const Result<pb::PidsResponse> answer = Parse<pb::PidsResponse>(*reply);
                    if (!answer.ok())
                      return core->Finish<std::vector<PidInfo>>(done, answer.error().Clone());
                    std::vector<PidInfo> pids;
                    for (const auto& process : answer->processes()) {
                      PidInfo info{process.pid(), std::nullopt};
                      if (process.has_info())
                        info.info = model::Any{process.info().type_url(), process.info().value()};
                      pids.push_back(std::move(info));
                    }
                    core->Finish<std::vector<PidInfo>>(done, std::move(pids));
                  });
}

uint64_t Tasks::Wait(const ProcessKey& process, Done<ExitInfo> done) {
  const auto park = [this](const ProcessKey& key, const Done<ExitInfo>& parked) {
    return core_->table.Wait(key, [core = core_, parked](Result<ExitInfo> exit) {
      core->Finish<ExitInfo>(parked, std::move(exit));
    });
  };
  Result<uint64_t> ticket = park(process, done);
  if (ticket.ok()) {
    if (*ticket != 0) core_->Watch(process);
    return *ticket;
  }
  const bool unknown_exec = !process.exec.empty() && core_->table.Find(process.task).ok() &&
                            ticket.error().Is(Code::kNotFound);
  if (!unknown_exec) {
    auto error = std::make_shared<Error>(std::move(ticket).TakeError());
    core_->Complete([core = core_, process, error, done = std::move(done)] {
      const bool missing = error->Is(Code::kNotFound);
      done(missing ? core->ExplainMissing(process.task, std::move(*error)) : std::move(*error));
    });
    return 0;
  }
  // An exec of an earlier daemon: the shim knows it. Not cancellable until it is known here, which
  // is one round trip.
  core_->AskState(process, core_->settings.state_deadline,
                  [core = core_, process, done = std::move(done)](Result<ProcessState> state) {
                    if (!state.ok())
                      return core->Finish<ExitInfo>(done, std::move(state).TakeError());
                    const auto waiter = [core, done](Result<ExitInfo> exit) {
                      core->Finish<ExitInfo>(done, std::move(exit));
                    };
                    Result<uint64_t> late = core->table.Wait(process, waiter);
                    if (!late.ok()) core->Finish<ExitInfo>(done, std::move(late).TakeError());
                  });
  return 0;
}

bool Tasks::CancelWait(uint64_t ticket) { return core_->table.CancelWait(ticket); }

void Tasks::State(const CallOptions& call, const ProcessKey& process, Done<ProcessState> done) {
  if (const std::optional<ProcessState> state = core_->table.State(process)) return done(*state);
  const auto limit =
      std::min<std::chrono::nanoseconds>(Core::Timeout(call), core_->settings.state_deadline);
  core_->AskState(process, limit,
                  [core = core_, done = std::move(done)](Result<ProcessState> state) {
                    core->Finish<ProcessState>(done, std::move(state));
                  });
}

std::vector<ProcessState> Tasks::List(const model::Namespace& ns) const {
  return core_->table.List(ns);
}

Result<std::string> Tasks::RuntimeInfo(const std::string& runtime,
                                       const std::optional<model::Any>& options) {
  return core_->RuntimeInfo(runtime, options);
}

}  // namespace corten::runtime
