// Starting programs, and the children they become.
//
// Spawn uses clone with CLONE_VFORK semantics: the caller waits until the child has exec'ed or
// failed, so a missing program is an error of Spawn and not an exit status. Nothing allocates
// between clone and exec. All our descriptors are close-on-exec; only those named in `fds` reach
// the program.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace corten {

struct SpawnOptions {
  std::vector<std::string> args;  // args[0] is the program; without '/' it is sought in PATH
  std::optional<std::vector<std::string>> env;  // nullopt: our own environment
  std::string work_dir;                         // empty: ours
  // (descriptor of ours, number in the child). Numbers 0, 1, 2 that are not named become /dev/null.
  std::vector<std::pair<FdRef, int>> fds;
  bool new_session = false;           // setsid
  bool new_process_group = false;     // setpgid(0, 0)
  bool controlling_terminal = false;  // fd 0 becomes the controlling terminal (with new_session)
  int parent_death_signal = 0;        // 0: none
  std::optional<int> oom_score_adj;   // written before exec; failure is ignored
};

struct ExitStatus {
  int code = 0;    // exit code, or 128 + signal
  int signal = 0;  // 0: exited by itself
  bool ok() const { return code == 0; }
};

// A running child, by pid and pidfd. The destructor kills it (SIGKILL) and reaps it, unless Wait
// has returned its status or Detach was called.
class Child {
 public:
  Child() = default;
  Child(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}
  Child& operator=(Child&& other) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }      // -1: none
  FdRef pidfd() const { return pidfd_; }  // readable when the child has exited
  Status Kill(int signal) const;          // kNotFound when it is gone
  // Blocks until exit. kDeadlineExceeded leaves the child running and owned.
  Result<ExitStatus> Wait();
  Result<ExitStatus> WaitFor(std::chrono::milliseconds timeout);
  // Gives up ownership: somebody else reaps. Returns the pid.
  [[nodiscard]] pid_t Detach();

 private:
  pid_t pid_ = -1;
  Fd pidfd_;
};

// kNotFound: no such program. Threads: any.
Result<Child> Spawn(const SpawnOptions& options);

struct RunOutput {
  ExitStatus status;
  std::string out;  // standard output, at most `limit` bytes kept
  std::string err;  // standard error, likewise
};
// Runs to completion with `input` on standard input and both outputs captured; a program may leave
// input unread. kDeadlineExceeded: killed after `timeout`.
Result<RunOutput> RunProgram(SpawnOptions options, std::string_view input,
                             std::chrono::milliseconds timeout, size_t limit = 1 << 20);

// Reads waitid's answer (si_code, si_status) into our form.
ExitStatus ExitStatusOf(int how, int value);

}  // namespace corten
