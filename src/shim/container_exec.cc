// Container: further processes.
#include <signal.h>
#include <unistd.h>

#include <utility>

#include "base/dir.h"
#include "base/failpoint.h"
#include "model/ids.h"
#include "shim/container.h"
#include "shim/phase_texts.h"

namespace corten::shim {

namespace {
constexpr size_t kMaxExecs = 8192;  // registered at once in one container
constexpr std::chrono::seconds kDrainLimit(10);
constexpr uint32_t kNotStartedStatus = 255;
}  // namespace

Status Container::AddExec(const std::string& exec_id, const StdioPlaces& places, std::string spec) {
  if (exec_id.empty()) return InvalidArgumentError("exec id is empty");
  TRY(model::ValidateIdentifier(exec_id, "exec id"));  // it names files in the bundle
  if (execs_.contains(exec_id)) return AlreadyExistsError("id ", exec_id);
  if (init_->ended.has_value()) return WrongInitPhase(Verb::kExec, Phase::kStopped);
  if (init_->phase != Phase::kRunning && init_->phase != Phase::kCreated)
    return WrongInitPhase(Verb::kExec, init_->phase);
  if (execs_.size() >= kMaxExecs || !context_.publisher.AcceptsWork()) {
    return ResourceExhaustedError("container ", id(), ": too many execs");
  }
  auto process = std::make_shared<Process>();
  process->exec_id = exec_id;
  process->places = places;
  process->spec = std::move(spec);
  execs_.emplace(exec_id, std::move(process));
  context_.publisher.Publish(ExecAddedEvent(id(), exec_id));
  return Ok();
}

void Container::StartExec(const std::shared_ptr<Process>& process, DoneWith<pid_t> done) {
  if (process->phase != Phase::kCreated || process->starting) {
    return done(WrongExecPhase(Verb::kStart, process->starting ? Phase::kRunning : process->phase));
  }
  const auto self = shared_from_this();
  process->starting = true;
  const bool in_line =
      context_.exec_slots.Acquire([self, process, done] { self->SpawnExec(process, done); });
  if (in_line) return;
  process->starting = false;
  done(ResourceExhaustedError("container ", id(), ": too many execs are starting"));
}

void Container::SpawnExec(const std::shared_ptr<Process>& process, DoneWith<pid_t> done) {
  if (init_->phase == Phase::kStopped || init_->ended.has_value()) {
    context_.exec_slots.Release();
    return FailExec(process, FailedPreconditionError("init process is not running"), done);
  }
  const auto self = shared_from_this();
  const ProcessIo::Owner owner = {request_.settings.io_uid, request_.settings.io_gid, context_.ns,
                                  request_.id, request_.bundle};
  ProcessIo::Open(
      context_.loop, context_.reaper, process->places, owner,
      [self, process, done](Result<std::unique_ptr<ProcessIo>> io) {
        const auto fail = [&](Error error) {
          self->context_.exec_slots.Release();
          self->FailExec(process, std::move(error), done);
        };
        if (!io.ok()) return fail(std::move(io).TakeError().Context("failed to start exec I/O"));
        // In the bundle, which goes with the container, so a killed shim leaves nothing elsewhere.
        const std::string spec_name = StrCat(".exec-", process->exec_id, ".json");
        Result<Dir> bundle = Dir::Open(self->bundle());
        if (!bundle.ok()) return fail(std::move(bundle).TakeError());
        Status written =
            ReplaceFile(*bundle, spec_name, process->spec, 0600, FileReplacer::Durable::kNo);
        if (!written.ok()) return fail(std::move(written).TakeError());
        FAILPOINT("shim.exec.prepared");
        process->io = std::move(*io);
        const auto hold = std::make_shared<Reaper::Hold>(&self->context_.reaper);
        const std::string spec_path = bundle->Path(spec_name);
        self->runtime_.Exec(spec_path, process->io->console_path(), self->PidFile(process->exec_id),
                            process->io->ChildDescriptors(),
                            [self, process, done, hold, spec_path](Status status) {
                              (void)unlink(spec_path.c_str());
                              self->context_.exec_slots.Release();
                              self->OnExecSpawned(process, std::move(status), done);
                            });
        process->io->CloseChildEnds();
      });
}

void Container::OnExecSpawned(const std::shared_ptr<Process>& process, Status status,
                              DoneWith<pid_t> done) {
  if (!status.ok()) return FailExec(process, std::move(status).TakeError(), done);
  FAILPOINT("shim.exec.runtime");
  Status watched = WatchProcess(process, PidFile(process->exec_id));
  if (!watched.ok()) {
    return FailExec(
        process, std::move(watched).TakeError().Context("failed to retrieve OCI runtime exec pid"),
        done);
  }
  FAILPOINT("shim.exec.watched");
  std::string().swap(process->spec);
  const auto self = shared_from_this();
  process->io->Begin([self, process, done](Status begun) {
    if (!begun.ok()) {
      (void)self->context_.reaper.Kill(process->pid,
                                       SIGKILL);  // it cannot be used without its terminal
      return self->FailExec(
          process, std::move(begun).TakeError().Context("failed to retrieve console master"), done);
    }
    process->io->OpenStdin();
    process->starting = false;
    process->started = true;
    process->phase = Phase::kRunning;
    self->context_.publisher.Publish(ExecStartedEvent(self->id(), process->exec_id, process->pid));
    FAILPOINT("shim.exec.announced");
    done(process->pid);
    FAILPOINT("shim.exec.answered");
    self->AnnounceExits();
  });
}

void Container::FailExec(const std::shared_ptr<Process>& process, Error error,
                         const DoneWith<pid_t>& done) {
  process->starting = false;
  process->io.reset();
  process->phase = Phase::kStopped;
  process->exit = {kNotStartedStatus, Now()};
  if (process->pid > 0) context_.reaper.Forget(process->pid);
  done(std::move(error));
  // Whoever waits for a process that never ran is told that it is over; there is no event, as there
  // was no start.
  const auto waiters = std::exchange(process->waiters, {});
  for (const auto& [number, waiter] : waiters) waiter(process->exit);
  AnnounceExits();
}

void Container::DeleteExec(const std::shared_ptr<Process>& process, DoneWith<Deleted> done) {
  if (process->phase == Phase::kRunning || process->starting)
    return done(WrongExecPhase(Verb::kDelete, Phase::kRunning));
  const auto self = shared_from_this();
  const auto finish = [self, process, done] {
    process->io.reset();
    (void)unlink(self->PidFile(process->exec_id).c_str());
    self->execs_.erase(process->exec_id);
    done(Deleted{process->pid, process->exit});
  };
  if (process->io == nullptr) return finish();
  process->io->Drain(kDrainLimit, finish);
}

}  // namespace corten::shim
