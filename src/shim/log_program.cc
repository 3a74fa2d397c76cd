#include "shim/log_program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace corten::shim {

namespace {
constexpr std::chrono::seconds kReadyDeadline(30);
constexpr std::chrono::seconds kStopGrace(12);
}  // namespace

struct LogProgram::State {
  State(Loop& loop_ref, Reaper& reaper_ref) : loop(loop_ref), reaper(reaper_ref) {}
  Loop& loop;
  Reaper& reaper;
  pid_t pid = -1;
  bool ended = false;
  bool stopping = false;
  Fd ready_fd;
  Loop::TimerId timer = 0;
  Ready ready;  // until it has been called
  std::function<void()> on_end;

  static void Settle(const std::shared_ptr<State>& self, Status status) {
    self->loop.Cancel(std::exchange(self->timer, 0));
    if (self->ready_fd.valid()) self->loop.Remove(self->ready_fd);
    self->ready_fd.Reset();
    const Ready call = std::exchange(self->ready, nullptr);
    if (!call) return;
    std::unique_ptr<LogProgram> program(new LogProgram(self));
    if (status.ok()) {
      call(std::move(program));
    } else {
      program->Stop();
      call(std::move(status).TakeError());
    }
  }
};

void LogProgram::Start(Loop& loop, Reaper& reaper, const LogProgramOptions& options, Fd out, Fd err,
                       Ready ready) {
  const auto state = std::make_shared<State>(loop, reaper);
  Status started = [&]() -> Status {
    Pipe signal = TRY(MakePipe(O_NONBLOCK));
    SpawnOptions spawn;
    spawn.args = {options.path};
    for (const auto& [key, value] : options.arguments) {
      spawn.args.push_back(key);
      spawn.args.push_back(value);
    }
    spawn.env = {StrCat("CONTAINER_ID=", options.container),
                 StrCat("CONTAINER_NAMESPACE=", options.ns)};
    spawn.fds = {{out, 3}, {err, 4}, {signal.write, 5}};
    Child child = TRY(Spawn(spawn));
    Fd pidfd(fcntl(child.pidfd().get(), F_DUPFD_CLOEXEC, 0));
    if (!pidfd.valid()) return ErrnoError(errno, "start logging program");
    TRY(reaper.Watch(child.pid(), std::move(pidfd), [state](ExitStatus) {
      state->ended = true;
      if (state->on_end) state->on_end();
    }));
    state->pid = child.Detach();
    state->ready_fd = std::move(signal.read);
    return Ok();
  }();
  if (!started.ok()) return ready(std::move(started).TakeError().Context("start logging program"));
  state->ready = std::move(ready);
  state->timer = loop.After(kReadyDeadline, [state] {
    State::Settle(state, DeadlineExceededError("logging program: not ready after ",
                                               kReadyDeadline.count(), " s"));
  });
  (void)loop.Add(state->ready_fd, EPOLLIN, [state, needs_byte = options.needs_byte](uint32_t) {
    char byte = 0;
    const ssize_t got = read(state->ready_fd.get(), &byte, 1);
    if (got < 0) return;  // EAGAIN, EINTR: called again
    if (got == 0 && needs_byte)
      return State::Settle(state, UnknownError("logging program: ended before it was ready"));
    State::Settle(state, Ok());
  });
}

LogProgram::~LogProgram() { Stop(); }

bool LogProgram::ended() const { return state_->ended; }

void LogProgram::OnEnd(std::function<void()> handler) { state_->on_end = std::move(handler); }

void LogProgram::Stop() {
  state_->on_end = nullptr;
  if (state_->ended || state_->stopping) return;
  state_->stopping = true;
  (void)state_->reaper.Kill(state_->pid, SIGTERM);
  state_->loop.After(kStopGrace, [state = state_] {
    if (!state->ended) (void)state->reaper.Kill(state->pid, SIGKILL);
  });
}

}  // namespace corten::shim
