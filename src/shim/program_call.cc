#include "shim/program_call.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace corten::shim {

namespace {

constexpr size_t kMaxOutput = size_t{1} << 20;  // `ps` of a large container; more is cut
constexpr size_t kReadSize = 4096;
constexpr std::chrono::seconds kKillGrace(
    2);                          // a process in uninterruptible sleep does not even die
constexpr int kReadRounds = 64;  // per wake-up; a full pipe holds 16 of them

// Shared by the handlers on the loop; gone with the last of them.
class Running : public std::enable_shared_from_this<Running> {
 public:
  Running(Loop& loop, Reaper& reaper, ProgramCall call, ProgramDone done)
      : loop_(loop), reaper_(reaper), call_(std::move(call)), done_(std::move(done)) {}

  Status Start() {
    Pipe in;
    Pipe out;
    Pipe err;
    if (!call_.input.empty()) {
      in = TRY(MakePipe());
      call_.spawn.fds.emplace_back(in.read, 0);
    }
    if (call_.capture_out) {
      out = TRY(MakePipe());
      call_.spawn.fds.emplace_back(out.write, 1);
    }
    if (call_.capture_err) {
      err = TRY(MakePipe());
      call_.spawn.fds.emplace_back(err.write, 2);
    }
    call_.spawn.parent_death_signal = SIGKILL;
    Child child = TRY(Spawn(call_.spawn));
    pid_ = child.pid();
    Fd pidfd(fcntl(child.pidfd().get(), F_DUPFD_CLOEXEC, 0));
    if (!pidfd.valid())
      return ErrnoError(errno, "start ", call_.spawn.args[0]);  // the child is killed
    const auto self = shared_from_this();
    TRY(reaper_.Watch(pid_, std::move(pidfd), [self](ExitStatus status) { self->OnExit(status); }));
    (void)child.Detach();  // the reaper has it now

    in_ = std::move(in.write);
    out_ = std::move(out.read);
    err_ = std::move(err.read);
    WatchOutput(&out_, &output_.out);
    WatchOutput(&err_, &output_.err);
    if (in_.valid()) {
      (void)SetNonblocking(in_, true);
      (void)loop_.Add(in_, EPOLLOUT, [self](uint32_t) { self->Feed(); });
    }
    timer_ = loop_.After(call_.deadline, [self] { self->OnDeadline(); });
    return Ok();
  }

 private:
  void WatchOutput(Fd* fd, std::string* text) {
    if (!fd->valid()) return;
    (void)SetNonblocking(*fd, true);
    const auto self = shared_from_this();
    (void)loop_.Add(*fd, EPOLLIN, [self, fd, text](uint32_t) { self->Drain(fd, text); });
  }

  void Drain(Fd* fd, std::string* text) {
    char buffer[kReadSize];
    for (int round = 0; round < kReadRounds && fd->valid(); ++round) {
      const ssize_t got = read(fd->get(), buffer, sizeof(buffer));
      if (got > 0) {
        const auto size = static_cast<size_t>(got);
        text->append(buffer, std::min(size, kMaxOutput - std::min(kMaxOutput, text->size())));
        continue;
      }
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      loop_.Remove(*fd);
      fd->Reset();
    }
  }

  void Feed() {
    while (fed_ < call_.input.size()) {
      const ssize_t put = write(in_.get(), call_.input.data() + fed_, call_.input.size() - fed_);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) return;
      if (put < 0) break;  // it does not want the rest
      fed_ += static_cast<size_t>(put);
    }
    loop_.Remove(in_);
    in_.Reset();
  }

  void OnDeadline() {
    expired_ = true;
    (void)reaper_.Kill(pid_, SIGKILL);  // OnExit follows, unless it is stuck in the kernel
    const auto self = shared_from_this();
    timer_ = loop_.After(kKillGrace, [self] {
      self->reaper_.Forget(self->pid_);
      self->Finish();
    });
  }

  void OnExit(ExitStatus status) {
    loop_.Cancel(timer_);
    output_.status = status;
    Finish();
  }

  void Finish() {
    Drain(&out_, &output_.out);
    Drain(&err_, &output_.err);
    for (Fd* fd : {&out_, &err_, &in_}) {
      if (fd->valid()) loop_.Remove(*fd);
      fd->Reset();
    }
    const ProgramDone done = std::move(done_);
    if (expired_) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(call_.deadline).count();
      done(DeadlineExceededError(call_.spawn.args[0], ": no result after ", seconds, " s"));
    } else {
      done(std::move(output_));
    }
  }

  Loop& loop_;
  Reaper& reaper_;
  ProgramCall call_;
  ProgramDone done_;
  ProgramOutput output_;
  Fd in_;
  Fd out_;
  Fd err_;
  size_t fed_ = 0;
  pid_t pid_ = -1;
  Loop::TimerId timer_ = 0;
  bool expired_ = false;
};

}  // namespace

Status RunProgramCall(Loop& loop, Reaper& reaper, ProgramCall call, ProgramDone done) {
  return std::make_shared<Running>(loop, reaper, std::move(call), std::move(done))->Start();
}

}  // namespace corten::shim
