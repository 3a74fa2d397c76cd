#include "shim/container.h"

#include <signal.h>

#include <utility>

#include "base/failpoint.h"
#include "base/log.h"
#include "shim/phase_texts.h"

namespace corten::shim {

namespace {

constexpr size_t kMaxOperations = 256;           // of one container, in line
constexpr std::chrono::seconds kDrainLimit(10);  // a grandchild may hold the output for ever

}  // namespace

bool ExecSlots::Acquire(std::function<void()> task) {
  if (used_ < kAtOnce) {
    ++used_;
    task();
    return true;
  }
  if (line_.size() >= kInLine) return false;
  line_.push_back(std::move(task));
  return true;
}

void ExecSlots::Release() {
  if (line_.empty()) {
    --used_;
    return;
  }
  const auto next = std::move(line_.front());
  line_.pop_front();
  next();
}

Container::Container(ShimContext& context, ContainerRequest request, SpecFacts facts)
    : context_(context),
      request_(std::move(request)),
      facts_(std::move(facts)),
      runtime_(context.loop, context.reaper, context.ns, request_.id, request_.bundle,
               request_.settings, facts_.oci_version),
      init_(std::make_shared<Process>()) {
  init_->places = request_.places;
}

Container::~Container() {
  context_.loop.Cancel(exit_timer_);
  StopOomWatch();
}

Result<Process*> Container::Find(const std::string& exec_id) {
  if (exec_id.empty()) return init_.get();
  const auto found = execs_.find(exec_id);
  if (found == execs_.end()) return NotFoundError("process does not exist ", exec_id);
  return found->second.get();
}

Phase Container::ReportedPhase(const Process& process) const {
  const bool frozen = init_->phase == Phase::kPaused || init_->phase == Phase::kPausing;
  return frozen && process.phase == Phase::kRunning ? init_->phase : process.phase;
}

void Container::Enqueue(Operation operation, const std::function<void(Error)>& refuse) {
  if (operations_.size() >= kMaxOperations)
    return refuse(ResourceExhaustedError("container ", id(), ": too many operations"));
  operations_.push_back(std::move(operation));
  if (operations_.size() != 1) return;
  const Operation first = operations_.front();  // a copy: it may finish at once and leave the line
  first();
}

void Container::NextOperation() {
  operations_.pop_front();
  if (operations_.empty()) return;
  const Operation next = operations_.front();  // stays in front while it runs
  next();
}

void Container::Start(const std::string& exec_id, DoneWith<pid_t> done) {
  if (!exec_id.empty()) {
    const auto found = execs_.find(exec_id);
    if (found == execs_.end()) return done(NotFoundError("process does not exist ", exec_id));
    return StartExec(found->second, std::move(done));
  }
  const auto self = shared_from_this();
  Enqueue([self, done] { self->StartInit(done); }, done);
}

void Container::StartInit(DoneWith<pid_t> done) {
  const auto self = shared_from_this();
  if (init_->phase != Phase::kCreated) {
    done(WrongInitPhase(Verb::kStart, init_->phase));
    return NextOperation();
  }
  FAILPOINT("shim.start.begun");
  init_->starting = true;
  if (init_->io != nullptr) init_->io->OpenStdin();
  runtime_.Start([self, done](Status status) {
    self->init_->starting = false;
    if (status.ok()) {
      FAILPOINT("shim.start.runtime");
      self->init_->phase = Phase::kRunning;
      self->init_->started = true;
      self->context_.publisher.Publish(StartEvent(self->id(), self->init_->pid));
      FAILPOINT("shim.start.announced");
      self->CheckOom();
      done(self->init_->pid);
      FAILPOINT("shim.start.answered");
    } else {
      done(std::move(status).TakeError());
    }
    self->AnnounceExits();
    self->NextOperation();
  });
}

void Container::Pause(Done done) {
  const auto self = shared_from_this();
  Enqueue(
      [self, done] {
        if (self->init_->phase != Phase::kRunning) {
          done(WrongInitPhase(Verb::kPause, self->init_->phase));
          return self->NextOperation();
        }
        self->init_->phase = Phase::kPausing;
        self->runtime_.Pause([self, done](Status status) {
          const bool running = self->init_->phase == Phase::kPausing;  // or it has ended meanwhile
          if (running) self->init_->phase = status.ok() ? Phase::kPaused : Phase::kRunning;
          if (status.ok()) self->context_.publisher.Publish(PausedEvent(self->id()));
          done(std::move(status));
          self->AnnounceExits();
          self->NextOperation();
        });
      },
      done);
}

void Container::Resume(Done done) {
  const auto self = shared_from_this();
  Enqueue(
      [self, done] {
        if (self->init_->phase != Phase::kPaused) {
          done(WrongInitPhase(Verb::kResume, self->init_->phase));
          return self->NextOperation();
        }
        self->runtime_.Resume([self, done](Status status) {
          if (status.ok()) {
            if (self->init_->phase == Phase::kPaused) self->init_->phase = Phase::kRunning;
            self->context_.publisher.Publish(ResumedEvent(self->id()));
          }
          done(std::move(status));
          self->AnnounceExits();
          self->NextOperation();
        });
      },
      done);
}

void Container::Update(std::string resources_json, Done done) {
  const auto self = shared_from_this();
  Enqueue(
      [self, json = std::move(resources_json), done] {
        if (self->init_->phase == Phase::kStopped) {
          done(WrongInitPhase(Verb::kUpdate, self->init_->phase));
          return self->NextOperation();
        }
        self->runtime_.Update(json, [self, done](Status status) {
          done(std::move(status));
          self->NextOperation();
        });
      },
      done);
}

void Container::Kill(const std::string& exec_id, uint32_t signal, bool all, Done done) {
  const auto found = execs_.find(exec_id);
  if (exec_id.empty()) return KillInit(signal, all, std::move(done));
  if (found == execs_.end()) return done(NotFoundError("process does not exist ", exec_id));
  const Process& process = *found->second;
  if (process.phase == Phase::kStopped || process.ended.has_value())
    return done(NotFoundError("process already finished"));
  if (process.pid == 0) return done(FailedPreconditionError("process not created"));
  done(context_.reaper.Kill(process.pid, static_cast<int>(signal)));
}

void Container::KillInit(uint32_t signal, bool all, Done done) {
  if (init_->phase == Phase::kStopped || init_->ended.has_value())
    return done(NotFoundError("process already finished"));
  // The kernel ends a PID namespace with its init, so SIGKILL to init is SIGKILL to all of them.
  const bool init_suffices = !all || (signal == SIGKILL && facts_.private_pid_namespace);
  // A frozen v1 cgroup keeps the signal until it thaws; the runtime knows what to do about that.
  const bool frozen = init_->phase == Phase::kPaused || init_->phase == Phase::kPausing;
  if (runtime_.runs_host_processes() && init_suffices && !frozen) {
    return done(context_.reaper.Kill(init_->pid, static_cast<int>(signal)));
  }
  const auto target = all ? OciRuntime::Target::kAll : OciRuntime::Target::kInit;
  if (signal != SIGKILL || frozen) return runtime_.Kill(signal, target, std::move(done));
  // A runtime may refuse in a state that it does not expect (gVisor: created, and its program not
  // found at start). Without this nothing could ever remove such a container.
  runtime_.Kill(signal, target, [self = shared_from_this(), done = std::move(done)](Status killed) {
    if (!killed.ok() && self->context_.reaper.Kill(self->init_->pid, SIGKILL).ok())
      return done(Ok());
    done(std::move(killed));
  });
}

void Container::Delete(const std::string& exec_id, DoneWith<Deleted> done) {
  if (!exec_id.empty()) {
    const auto found = execs_.find(exec_id);
    if (found == execs_.end()) return done(NotFoundError("process does not exist ", exec_id));
    return DeleteExec(found->second, std::move(done));
  }
  const auto self = shared_from_this();
  Enqueue([self, done] { self->DeleteInit(done); }, done);
}

void Container::DeleteInit(DoneWith<Deleted> done) {
  const auto refuse = [&](Error error) {
    done(std::move(error));
    NextOperation();
  };
  if (deleted_) return refuse(NotFoundError("container not created"));
  if (init_->phase != Phase::kStopped && init_->phase != Phase::kCreated) {
    return refuse(WrongInitPhase(Verb::kDelete, init_->phase));
  }
  FAILPOINT("shim.delete.begun");
  // Output first: deleting must not cut off what the container has written.
  const auto self = shared_from_this();
  const auto drain = [self, done] {
    if (self->init_->io == nullptr) return self->RemoveInit(done);
    self->init_->io->Drain(kDrainLimit, [self, done] { self->RemoveInit(done); });
  };
  if (init_->phase == Phase::kStopped) return drain();
  if (!runtime_.runs_host_processes()) return RemoveInit(std::move(done));
  // Never started: end it and let its exit be announced first, which spares the runtime's own
  // polling too.
  init_->waiters.emplace(next_waiter_++, [drain](const ExitRecord&) { drain(); });
  (void)context_.reaper.Kill(init_->pid, SIGKILL);  // ended already is fine: the waiter is called
}

void Container::RemoveInit(DoneWith<Deleted> done) {
  // Unmounting goes on beside the runtime's own clean-up, unless a hook of that may look at the
  // rootfs.
  struct Both {
    int left = 2;
    Status runtime;
    Status unmount;
  };
  const auto both = std::make_shared<Both>();
  const auto self = shared_from_this();
  const auto finish = [self, both, done] {
    if (--both->left != 0) return;
    if (!both->runtime.ok()) {
      done(std::move(both->runtime).TakeError());
      return self->NextOperation();
    }
    if (!both->unmount.ok()) {
      log::Warn("failed to unmount rootfs",
                {{"id", self->id()}, {"error", both->unmount.error().text()}});
    }
    FAILPOINT("shim.delete.runtime");
    self->deleted_ = true;
    self->init_->io.reset();
    if (self->init_->exit.at == kZeroTime)
      self->init_->exit = {128 + SIGKILL, Now()};  // never started
    self->context_.publisher.Publish(DeleteEvent(self->id(), self->init_->pid, self->init_->exit));
    FAILPOINT("shim.delete.announced");
    done(Deleted{self->init_->pid, self->init_->exit});
    self->NextOperation();
  };
  const auto unmount = [self, both, finish] {
    self->UnmountRootfs([both, finish](Status status) {
      both->unmount = std::move(status);
      finish();
    });
  };
  // A process that has not ended must be killed first: that is what force means to the runtimes.
  const bool alive = init_->phase == Phase::kCreated;
  const bool beside = !facts_.poststop_hooks && !alive;
  if (beside) unmount();
  runtime_.Delete(alive ? OciRuntime::Force::kYes : OciRuntime::Force::kNo,
                  [self, both, finish, beside, unmount](Status status) {
                    both->runtime = std::move(status);
                    if (!beside) unmount();
                    finish();
                  });
}

Result<uint64_t> Container::Wait(const std::string& exec_id,
                                 std::function<void(const ExitRecord&)> done) {
  Process* process = TRY(Find(exec_id));
  if (process->phase == Phase::kStopped) {
    done(process->exit);
    return uint64_t{0};
  }
  const uint64_t number = next_waiter_++;
  process->waiters.emplace(number, std::move(done));
  return number;
}

void Container::CancelWait(const std::string& exec_id, uint64_t number) {
  const Result<Process*> process = Find(exec_id);
  if (process.ok()) (*process)->waiters.erase(number);
}

Status Container::ResizePty(const std::string& exec_id, os::WindowSize size) {
  Process* process = TRY(Find(exec_id));
  if (process->phase == Phase::kStopped) return UnknownError("cannot resize a stopped container");
  return process->io == nullptr ? Ok() : process->io->Resize(size);
}

Status Container::CloseStdin(const std::string& exec_id) {
  Process* process = TRY(Find(exec_id));
  if (process->io != nullptr) process->io->CloseStdin();
  return Ok();
}

void Container::ListPids(DoneWith<std::vector<pid_t>> done) {
  if (runtime_.runs_host_processes() && !cgroup_.empty()) {
    Result<std::vector<pid_t>> pids = os::CgroupProcesses(cgroup_);
    if (pids.ok()) return done(std::move(pids));
  }
  runtime_.ListPids(std::move(done));
}

std::string Container::ExecOfPid(pid_t pid) const {
  for (const auto& [exec_id, process] : execs_) {
    if (process->pid == pid) return exec_id;
  }
  return "";
}

}  // namespace corten::shim
