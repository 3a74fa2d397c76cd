#include "base/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

extern char** environ;

// ThreadSanitizer takes clone for a fork and stops understanding locks in the process that goes on;
// glibc's other name for the same function passes it by. The child is not instrumented either.
#if defined(__SANITIZE_THREAD__)
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...);
#define CORTEN_CLONE __clone
#define CORTEN_UNSEEN __attribute__((no_sanitize("thread")))
#else
#define CORTEN_CLONE clone
#define CORTEN_UNSEEN
#endif

namespace corten {

namespace {

constexpr size_t kSignalSetBytes = 8;      // of the kernel's signal set
constexpr size_t kChildStack = 64 * 1024;  // exec path only: no library code runs there

// Everything the child needs, prepared by the parent. The child shares our memory until exec, so it
// only reads this and writes `error`.
struct ChildBlock {
  std::vector<std::string> candidates;  // program paths to try in order
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<std::pair<int, int>> moves;  // source -> target
  const char* work_dir = nullptr;
  const SpawnOptions* options = nullptr;
  std::string oom_text;
  sigset_t mask = {};
  int highest_target = 2;
  int error = 0;
};

CORTEN_UNSEEN void Fail(ChildBlock* block, int err) {
  block->error = err;
  (void)syscall(SYS_exit_group, 127);
}

// The child shares our memory until it has exec'ed, so it makes bare system calls only: nothing of
// libc's or of a sanitizer's book-keeping (signal handlers, descriptors) may be touched on behalf
// of a process that is not ours.
CORTEN_UNSEEN int ChildMain(void* argument) {
  auto* block = static_cast<ChildBlock*>(argument);
  const SpawnOptions& options = *block->options;
  const unsigned long default_action[4] = {};  // the kernel's struct sigaction; all zero is SIG_DFL
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP)
      (void)syscall(SYS_rt_sigaction, signal, default_action, nullptr, kSignalSetBytes);
  }
  if (options.parent_death_signal != 0)
    (void)syscall(SYS_prctl, PR_SET_PDEATHSIG, options.parent_death_signal);
  if (options.new_session && syscall(SYS_setsid) < 0) Fail(block, errno);
  if (options.new_process_group && syscall(SYS_setpgid, 0, 0) != 0) Fail(block, errno);
  // Sources may overlap targets: first lift every source above all targets, then place them.
  for (auto& [source, target] : block->moves) {
    const long lifted = syscall(SYS_fcntl, source, F_DUPFD_CLOEXEC, block->highest_target + 1);
    if (lifted < 0) Fail(block, errno);
    source = static_cast<int>(lifted);
  }
  for (const auto& [source, target] : block->moves) {
    if (syscall(SYS_dup3, source, target, 0) < 0) Fail(block, errno);
  }
  if (options.controlling_terminal && syscall(SYS_ioctl, 0, TIOCSCTTY, 0) != 0) Fail(block, errno);
  if (!block->oom_text.empty()) {
    const long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) (void)!syscall(SYS_write, fd, block->oom_text.data(), block->oom_text.size());
  }
  if (block->work_dir != nullptr && syscall(SYS_chdir, block->work_dir) != 0) Fail(block, errno);
  (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &block->mask, nullptr, kSignalSetBytes);
  int err = ENOENT;
  for (const std::string& path : block->candidates) {
    (void)syscall(SYS_execve, path.c_str(), block->argv.data(), block->envp.data());
    if (errno != ENOENT && errno != ENOTDIR) err = errno;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) break;
  }
  Fail(block, err);
  return 127;
}

std::vector<std::string> Candidates(const std::string& program) {
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> out;
  const char* path = getenv("PATH");
  std::string_view rest =
      path != nullptr ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  while (true) {
    const size_t colon = rest.find(':');
    const std::string_view part = rest.substr(0, colon);
    if (!part.empty()) out.push_back(StrCat(part, "/", program));
    if (colon == std::string_view::npos) return out;
    rest.remove_prefix(colon + 1);
  }
}

Result<ExitStatus> WaitOn(pid_t pid, FdRef pidfd, int options) {
  siginfo_t info = {};
  while (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd.get()), &info,
                WEXITED | options) != 0) {
    if (errno != EINTR) return ErrnoError(errno, "wait for process ", pid);
  }
  return ExitStatusOf(info.si_code, info.si_status);
}

}  // namespace

ExitStatus ExitStatusOf(int how, int value) {
  ExitStatus status;
  if (how == CLD_EXITED) {
    status.code = value;
  } else {
    status.signal = value;
    status.code = 128 + value;
  }
  return status;
}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    Child old(std::move(*this));
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

Child::~Child() {
  if (pid_ <= 0) return;
  (void)Kill(SIGKILL);  // gone already is fine
  (void)Wait();         // a killed process ends promptly
}

Status Child::Kill(int signal) const {
  if (pid_ <= 0) return NotFoundError("process: already finished");
  if (syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0) != 0) {
    if (errno == ESRCH) return NotFoundError("process ", pid_, ": already finished");
    return ErrnoError(errno, "signal process ", pid_);
  }
  return Ok();
}

Result<ExitStatus> Child::Wait() {
  if (pid_ <= 0) return FailedPreconditionError("wait: no process");
  const ExitStatus status = TRY(WaitOn(pid_, pidfd_, 0));
  pid_ = -1;
  return status;
}

Result<ExitStatus> Child::WaitFor(std::chrono::milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  while (true) {
    pollfd poll_fd = {pidfd_.get(), POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                          end - std::chrono::steady_clock::now())
                          .count();
    const int n = poll(&poll_fd, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (n > 0) return Wait();
    if (n < 0 && errno != EINTR) return ErrnoError(errno, "wait for process ", pid_);
    if (n == 0)
      return DeadlineExceededError("process ", pid_, ": still running after ", timeout.count(),
                                   " ms");
  }
}

pid_t Child::Detach() { return std::exchange(pid_, -1); }

Result<Child> Spawn(const SpawnOptions& options) {
  if (options.args.empty() || options.args[0].empty())
    return InvalidArgumentError("spawn: no program named");
  ChildBlock block;
  block.options = &options;
  block.candidates = Candidates(options.args[0]);
  for (const std::string& arg : options.args) block.argv.push_back(const_cast<char*>(arg.c_str()));
  block.argv.push_back(nullptr);
  if (options.env.has_value()) {
    for (const std::string& entry : *options.env)
      block.envp.push_back(const_cast<char*>(entry.c_str()));
  } else {
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry)
      block.envp.push_back(*entry);
  }
  block.envp.push_back(nullptr);
  if (!options.work_dir.empty()) block.work_dir = options.work_dir.c_str();
  if (options.oom_score_adj.has_value()) block.oom_text = StrCat(*options.oom_score_adj);
  Fd null;
  for (int number = 0; number <= 2; ++number) {
    const bool named = std::any_of(options.fds.begin(), options.fds.end(),
                                   [&](const auto& m) { return m.second == number; });
    if (named) continue;
    if (!null.valid()) {
      null = Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!null.valid()) return ErrnoError(errno, "open /dev/null");
    }
    block.moves.emplace_back(null.get(), number);
  }
  for (const auto& [source, target] : options.fds) {
    block.moves.emplace_back(source.get(), target);
    block.highest_target = std::max(block.highest_target, target);
  }

  // The child shares memory until exec: with signals blocked no handler of ours can run in it.
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &old);
  sigemptyset(&block.mask);
  std::unique_ptr<char[]> stack(new char[kChildStack]);
  int pidfd = -1;
  const pid_t pid = CORTEN_CLONE(&ChildMain, stack.get() + kChildStack,
                                 CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &block, &pidfd);
  const int clone_errno = errno;
  (void)pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (pid < 0) return ErrnoError(clone_errno, "start ", options.args[0]);
  Child child(pid, Fd(pidfd));
  if (block.error != 0) {
    (void)child.Wait();  // it has exited already
    return ErrnoError(block.error, "start ", options.args[0]);
  }
  return child;
}

Result<RunOutput> RunProgram(SpawnOptions options, std::string_view input,
                             std::chrono::milliseconds timeout, size_t limit) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  Pipe in = TRY(MakePipe());
  Pipe out = TRY(MakePipe());
  Pipe err = TRY(MakePipe());
  options.fds.emplace_back(in.read, 0);
  options.fds.emplace_back(out.write, 1);
  options.fds.emplace_back(err.write, 2);
  Child child = TRY(Spawn(options));
  in.read.Reset();
  out.write.Reset();
  err.write.Reset();
  TRY(SetNonblocking(in.write, true));
  RunOutput output;
  if (input.empty()) in.write.Reset();
  while (out.read.valid() || err.read.valid() || in.write.valid()) {
    pollfd polls[3] = {
        {out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}, {in.write.get(), POLLOUT, 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                          end - std::chrono::steady_clock::now())
                          .count();
    const int n = left <= 0 ? 0 : poll(polls, 3, static_cast<int>(left));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return DeadlineExceededError(options.args[0], ": no result after ", timeout.count(), " ms");
    char buffer[16384];
    for (int i = 0; i < 2; ++i) {
      Fd& source = i == 0 ? out.read : err.read;
      if (polls[i].revents == 0) continue;
      const size_t got = TRY(ReadSome(source, buffer, sizeof(buffer), options.args[0]));
      std::string& target = i == 0 ? output.out : output.err;
      target.append(buffer, std::min(got, limit - std::min(limit, target.size())));
      if (got == 0) source.Reset();
    }
    if (polls[2].revents != 0) {
      const ssize_t put = WriteQuietly(in.write, input);
      if (put > 0) input.remove_prefix(static_cast<size_t>(put));
      if (input.empty() || (put < 0 && errno != EAGAIN && errno != EINTR)) in.write.Reset();
    }
  }
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  output.status = TRY(child.WaitFor(std::max(left, std::chrono::milliseconds(0))));
  return output;
}

}  // namespace corten
