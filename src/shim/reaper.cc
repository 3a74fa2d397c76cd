#include "shim/reaper.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace corten::shim {

Reaper::~Reaper() {
  for (const auto& [pid, watched] : watched_) loop_.Remove(watched.pidfd);
}

Status Reaper::Watch(pid_t pid, Fd pidfd, ExitHandler handler) {
  TRY(loop_.Add(pidfd, EPOLLIN, [this, pid](uint32_t) { OnReadable(pid); }));
  watched_[pid] = Watched{std::move(pidfd), std::move(handler)};
  return Ok();
}

Status Reaper::WatchPid(pid_t pid, ExitHandler handler) {
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) return ErrnoError(errno == ESRCH ? ENOENT : errno, "watch process ", pid);
  return Watch(pid, std::move(pidfd), std::move(handler));
}

void Reaper::Forget(pid_t pid) {
  const auto found = watched_.find(pid);
  if (found != watched_.end()) found->second.handler = nullptr;
}

Status Reaper::Kill(pid_t pid, int signal) const {
  const auto found = watched_.find(pid);
  if (found == watched_.end()) return NotFoundError("process already finished");
  if (syscall(SYS_pidfd_send_signal, found->second.pidfd.get(), signal, nullptr, 0) == 0)
    return Ok();
  if (errno == ESRCH) return NotFoundError("process already finished");
  return ErrnoError(errno, "signal process");
}

void Reaper::OnReadable(pid_t pid) {
  const auto found = watched_.find(pid);
  if (found == watched_.end()) return;
  siginfo_t info = {};
  if (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(found->second.pidfd.get()), &info,
             WEXITED | WNOHANG) != 0) {
    if (errno == EINTR) return;  // level triggered: called again
    // Not our child (a runtime without reparenting, e.g. in a sandbox): its end is known, its
    // status is not.
    info.si_code = CLD_EXITED;
    info.si_status = 255;
  } else if (info.si_pid == 0) {
    return;
  }
  loop_.Remove(found->second.pidfd);
  const ExitHandler handler = std::move(found->second.handler);
  watched_.erase(found);
  if (handler) handler(ExitStatusOf(info.si_code, info.si_status));
  Sweep();
}

void Reaper::Sweep() {
  while (holds_ == 0) {
    siginfo_t info = {};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    // A watched one reports through its pidfd, and then we are called again.
    if (watched_.contains(info.si_pid)) return;
    (void)waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG);
  }
}

}  // namespace corten::shim
