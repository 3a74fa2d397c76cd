#include "cli/process.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <atomic>
#include <thread>

#include "base/log.h"

namespace corten::cli {

namespace {

// What is ours: not to be caught, faults of this program, and what tells of children and pipes.
constexpr int kNotForwarded[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,
                                 SIGTRAP, SIGSYS,  SIGABRT, SIGCHLD, SIGPIPE, SIGURG};

sigset_t ForwardedSet() {
  sigset_t set;
  sigfillset(&set);
  for (const int signal : kNotForwarded) sigdelset(&set, signal);
  return set;
}

void FitWindow(client::Tasks& tasks, const model::ContainerId& id, const model::ExecId& exec) {
  const Result<os::WindowSize> size = os::GetWindowSize(FdRef(1));
  if (size.ok())
    (void)tasks.Resize(id, exec, size->columns,
                       size->rows);  // the next change comes with the next signal
}

// Takes the blocked signals until told to stop.
class Forwarder {
 public:
  Forwarder(client::Tasks& tasks, const model::ContainerId& id, const model::ExecId& exec,
            bool terminal)
      : thread_([this, &tasks, id, exec, terminal] {
          const sigset_t set = ForwardedSet();
          while (!stop_) {
            const timespec wait = {0, 100000000};
            const int signal = sigtimedwait(&set, nullptr, &wait);
            if (signal == SIGWINCH && terminal) {
              FitWindow(tasks, id, exec);
            } else if (signal > 0) {
              const Status sent =
                  tasks.Kill(id, exec, static_cast<uint32_t>(signal), /*all=*/false);
              if (!sent.ok() && !sent.error().Is(Code::kNotFound))
                log::Error("forward signal", {{"error", sent.error().text()}});
            }
          }
        }) {}
  ~Forwarder() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

void BlockForwardedSignals() {
  const sigset_t set = ForwardedSet();
  (void)pthread_sigmask(SIG_BLOCK, &set, nullptr);  // fails for a bad first argument only
}

Status NotInterrupted() {
  sigset_t waiting;
  if (sigpending(&waiting) != 0) return Ok();  // cannot fail with a good argument
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (sigismember(&waiting, signal) == 1) return CanceledError("interrupted");
  }
  return Ok();
}

Result<int> AttachInForeground(client::Tasks& tasks, const model::ContainerId& id,
                               const model::ExecId& exec, Stdio& stdio) {
  TRY(stdio.Start([&] { (void)tasks.CloseInput(id, exec); }));
  stdio.LetInput();
  const bool terminal = stdio.io().terminal;
  if (terminal) FitWindow(tasks, id, exec);
  Result<client::TaskExit> exit = UnavailableError("wait: not answered");
  {
    const Forwarder forwarder(tasks, id, exec, terminal);
    exit = tasks.Wait(id, exec);
  }
  stdio.Finish();
  if (!exit.ok()) return std::move(exit).TakeError();
  return static_cast<int>(exit->status);
}

Result<int> RunInForeground(client::Tasks& tasks, const model::ContainerId& id,
                            const model::ExecId& exec, Stdio& stdio) {
  // Waiting begins before the start, so that no exit can be missed.
  Result<client::TaskExit> exit = UnavailableError("wait: not answered");
  TRY(stdio.Start([&] { (void)tasks.CloseInput(id, exec); }));
  std::thread waiter([&] { exit = tasks.Wait(id, exec); });
  const Result<uint32_t> started = tasks.Start(id, exec);
  if (!started.ok()) {
    (void)tasks.Delete(id, exec);  // ends the wait
    waiter.join();
    stdio.Finish();
    return started.error().Clone();
  }
  stdio.LetInput();
  {
    const bool terminal = stdio.io().terminal;
    if (terminal) FitWindow(tasks, id, exec);
    const Forwarder forwarder(tasks, id, exec, terminal);
    waiter.join();
  }
  stdio.Finish();
  if (!exit.ok()) return std::move(exit).TakeError();
  return static_cast<int>(exit->status);
}

}  // namespace corten::cli
