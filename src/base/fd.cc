#include "base/fd.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

namespace corten {

void Fd::Reset() {
  if (fd_ >= 0) (void)close(std::exchange(fd_, -1));
}

Result<Fd> Fd::Duplicate() const {
  const int fd = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return ErrnoError(errno, "duplicate descriptor");
  return Fd(fd);
}

Result<Pipe> MakePipe(int flags) {
  int fds[2];
  if (pipe2(fds, flags | O_CLOEXEC) != 0) return ErrnoError(errno, "create pipe");
  Pipe pipe;
  pipe.read = Fd(fds[0]);
  pipe.write = Fd(fds[1]);
  return pipe;
}

Status WriteAll(FdRef fd, std::string_view data, std::string_view what) {
  while (!data.empty()) {
    const ssize_t n = write(fd.get(), data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, "write ", what);
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return Ok();
}

Status PwriteAll(FdRef fd, std::string_view data, uint64_t offset, std::string_view what) {
  while (!data.empty()) {
    const ssize_t n = pwrite(fd.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, "write ", what);
    }
    data.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return Ok();
}

Result<size_t> ReadSome(FdRef fd, char* buffer, size_t size, std::string_view what) {
  while (true) {
    const ssize_t n = read(fd.get(), buffer, size);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return ErrnoError(errno, "read ", what);
  }
}

Result<size_t> PreadSome(FdRef fd, char* buffer, size_t size, uint64_t offset,
                         std::string_view what) {
  while (true) {
    const ssize_t n = pread(fd.get(), buffer, size, static_cast<off_t>(offset));
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return ErrnoError(errno, "read ", what);
  }
}

Result<std::string> ReadAll(FdRef fd, size_t limit, std::string_view what) {
  std::string out;
  char buffer[16384];
  while (true) {
    const size_t n = TRY(ReadSome(fd, buffer, sizeof(buffer), what));
    if (n == 0) return out;
    if (out.size() + n > limit)
      return ResourceExhaustedError("read ", what, ": larger than ", limit, " bytes");
    out.append(buffer, n);
  }
}

Status Fsync(FdRef fd, std::string_view what) {
  if (fsync(fd.get()) != 0) return ErrnoError(errno, "sync ", what);
  return Ok();
}

Status Fdatasync(FdRef fd, std::string_view what) {
  if (fdatasync(fd.get()) != 0) return ErrnoError(errno, "sync ", what);
  return Ok();
}

Status SetNonblocking(FdRef fd, bool on) {
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0) return ErrnoError(errno, "read descriptor flags");
  if (fcntl(fd.get(), F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) != 0) {
    return ErrnoError(errno, "set descriptor flags");
  }
  return Ok();
}

int64_t WriteQuietly(FdRef fd, std::string_view data) {
  sigset_t pipe_signal;
  sigset_t before;
  sigset_t pending;
  (void)sigemptyset(&pipe_signal);
  (void)sigaddset(&pipe_signal, SIGPIPE);
  (void)sigpending(&pending);
  (void)pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  const ssize_t n = write(fd.get(), data.data(), data.size());
  const int err = errno;
  if (n < 0 && err == EPIPE && sigismember(&pending, SIGPIPE) == 0) {
    const timespec now = {};
    (void)sigtimedwait(&pipe_signal, nullptr,
                       &now);  // takes back our own signal, if it is not ignored anyway
  }
  (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = err;
  return n;
}

}  // namespace corten
