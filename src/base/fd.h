// Owners of file descriptors, and the reading and writing that must not stop half way.
// Every descriptor is close-on-exec from birth. Threads: an Fd is owned by one place at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace corten {

// A borrowed descriptor: valid as long as its owner lives. Never closed through this type.
class FdRef {
 public:
  explicit constexpr FdRef(int fd) : fd_(fd) {}
  constexpr int get() const { return fd_; }
  constexpr bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

// Owns one descriptor; closed by the destructor. Move-only.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { Reset(); }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }
  FdRef ref() const { return FdRef(fd_); }
  operator FdRef() const {
    return FdRef(fd_);
  }  // NOLINT(google-explicit-constructor): lending is always safe
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void
  Reset();  // closes now; errors of close are ignored (data is made durable by Fsync, not by close)
  // A second descriptor for the same open file, close-on-exec.
  Result<Fd> Duplicate() const;

 private:
  int fd_ = -1;
};

// write(2) to a pipe whose reader may be gone, without SIGPIPE: a library cannot know what the
// process does with it. -1 and errno (EPIPE when nobody reads) as write(2) has them.
int64_t WriteQuietly(FdRef fd, std::string_view data);

struct Pipe {
  Fd read;
  Fd write;
};
// flags: O_NONBLOCK or 0; O_CLOEXEC is always set.
Result<Pipe> MakePipe(int flags = 0);

// Writes all of `data`, retrying on EINTR and short writes. `what` names the target in the error.
Status WriteAll(FdRef fd, std::string_view data, std::string_view what);
Status PwriteAll(FdRef fd, std::string_view data, uint64_t offset, std::string_view what);
// Reads until end of file. kResourceExhausted if there are more than `limit` bytes.
Result<std::string> ReadAll(FdRef fd, size_t limit, std::string_view what);
// One read(2) with EINTR retried: bytes read, 0 at end of file.
Result<size_t> ReadSome(FdRef fd, char* buffer, size_t size, std::string_view what);
Result<size_t> PreadSome(FdRef fd, char* buffer, size_t size, uint64_t offset,
                         std::string_view what);
Status Fsync(FdRef fd, std::string_view what);
Status Fdatasync(FdRef fd, std::string_view what);
Status SetNonblocking(FdRef fd, bool on);

}  // namespace corten
