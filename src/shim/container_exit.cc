// Container: how ends of processes become known, in the order that clients rely on.
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "base/log.h"
#include "shim/container.h"

namespace corten::shim {

namespace {
// Execs end with init; one that the kernel cannot end must not hide init's exit for ever.
constexpr std::chrono::seconds kExecsGrace(30);
}  // namespace

Status Container::WatchProcess(const std::shared_ptr<Process>& process,
                               const std::string& pid_file) {
  const pid_t pid = TRY(ReadPidFile(pid_file));
  const auto self = shared_from_this();
  process->pid = pid;
  return context_.reaper.WatchPid(
      pid, [self, process](ExitStatus status) { self->OnEnded(process, status); });
}

void Container::OnEnded(const std::shared_ptr<Process>& process, ExitStatus status) {
  process->ended = ExitRecord{static_cast<uint32_t>(status.code), Now()};
  FAILPOINT("shim.exit.noticed");
  if (process->io != nullptr) process->io->ProcessEnded();
  if (process == init_) runtime_.InitEnded();
  AnnounceExits();
}

bool Container::ExecsUnderWay() const {
  for (const auto& [exec_id, process] : execs_) {
    if (process->starting || process->phase == Phase::kRunning) return true;
  }
  return false;
}

void Container::AnnounceExits() {
  // Execs first. A waiter may change the map, so look again after each.
  for (bool again = true; again;) {
    again = false;
    for (const auto& [exec_id, process] : execs_) {
      if (!process->ended.has_value() || process->starting || process->phase == Phase::kStopped)
        continue;
      const std::shared_ptr<Process> held = process;
      AnnounceExit(held.get());
      again = true;
      break;
    }
  }
  if (!init_->ended.has_value() || init_->phase == Phase::kStopped || init_->starting || !created_)
    return;

  const auto self = shared_from_this();
  if (!rest_killed_) {
    rest_killed_ = true;
    // Frozen processes cannot die on cgroup v1.
    if (init_->phase == Phase::kPaused || init_->phase == Phase::kPausing) {
      runtime_.Resume([](const Status&) {});
    }
    if (!facts_.private_pid_namespace) {
      init_->starting = true;  // holds the announcement until the others are gone
      runtime_.Kill(SIGKILL, OciRuntime::Target::kAll, [self](const Status&) {
        self->init_->starting = false;
        self->AnnounceExits();
      });
      return;
    }
  }
  if (ExecsUnderWay()) {
    if (exit_timer_ == 0) {
      exit_timer_ = context_.loop.After(kExecsGrace, [self] {
        log::Warn("execs outlive the container", {{"id", self->id()}});
        self->AnnounceExit(self->init_.get());
      });
    }
    return;
  }
  AnnounceExit(init_.get());
}

void Container::AnnounceExit(Process* process) {
  if (process->phase == Phase::kStopped) return;
  const bool is_init = process == init_.get();
  if (is_init) {
    context_.loop.Cancel(exit_timer_);
    CheckOom();  // the kernel's notice may still be on its way
    StopOomWatch();
  }
  process->exit = *process->ended;
  process->phase = Phase::kStopped;
  context_.publisher.Publish(
      ExitEvent(id(), is_init ? id() : process->exec_id, process->pid, process->exit));
  FAILPOINT("shim.exit.announced");
  const auto waiters = std::exchange(process->waiters, {});
  for (const auto& [number, waiter] : waiters) waiter(process->exit);
}

void Container::WatchOom() {
  Result<os::OomWatch> watch = os::OomWatch::Create(cgroup_);
  if (!watch.ok()) {
    if (!watch.error().Is(Code::kUnimplemented)) {
      log::Warn("no notice of lack of memory", {{"id", id()}, {"error", watch.error().text()}});
    }
    return;
  }
  oom_ = std::move(*watch);
  // `this` outlives the watch: the destructor stops it.
  (void)context_.loop.Add(oom_->fd(), EPOLLIN, [this](uint32_t) { CheckOom(); });
}

void Container::CheckOom() {
  if (oom_.has_value() && oom_->Check()) oom_untold_ = true;
  if (!oom_untold_ || init_->starting) return;  // its start is told first
  oom_untold_ = false;
  context_.publisher.PublishOom(OomEvent(id()));
}

void Container::StopOomWatch() {
  if (!oom_.has_value()) return;
  context_.loop.Remove(oom_->fd());
  oom_.reset();
}

}  // namespace corten::shim
