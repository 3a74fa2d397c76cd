#include "bolt/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/strcat.h"
#include "bolt/lock_holder.h"

namespace corten::bolt {

namespace {

constexpr std::chrono::milliseconds kLockRetry{50};  // as the original does
constexpr size_t kMaxVectors = 512;                  // of one pwritev; the kernel takes 1024

class DiskMapping final : public Mapping {
 public:
  DiskMapping(void* data, size_t size) : data_(data), size_(size) {}
  DiskMapping(const DiskMapping&) = delete;
  DiskMapping& operator=(const DiskMapping&) = delete;
  ~DiskMapping() override { (void)munmap(data_, size_); }
  const char* data() const override { return static_cast<const char*>(data_); }
  size_t size() const override { return size_; }

 private:
  void* data_;
  size_t size_;
};

class DiskFile final : public File {
 public:
  DiskFile(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  const std::string& name() const override { return name_; }

  Result<uint64_t> Size() override {
    struct stat info{};
    if (fstat(fd_.get(), &info) != 0) return ErrnoError(errno, name_);
    return static_cast<uint64_t>(info.st_size);
  }

  Result<size_t> Read(uint64_t offset, std::span<char> out) override {
    size_t done = 0;
    while (done < out.size()) {
      const size_t read =
          TRY(PreadSome(fd_, out.data() + done, out.size() - done, offset + done, name_));
      if (read == 0) break;
      done += read;
    }
    return done;
  }

  Status Write(uint64_t offset, std::span<const std::string_view> parts) override {
    std::vector<iovec> vectors;
    for (const std::string_view part : parts) {
      if (!part.empty()) vectors.push_back({const_cast<char*>(part.data()), part.size()});
    }
    size_t at = 0;
    while (at < vectors.size()) {
      const auto count = static_cast<int>(std::min(vectors.size() - at, kMaxVectors));
      const ssize_t written = pwritev(fd_.get(), &vectors[at], count, static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return ErrnoError(errno, name_, ": write");
      offset += static_cast<uint64_t>(written);
      auto left = static_cast<size_t>(written);
      while (at < vectors.size() && left >= vectors[at].iov_len) left -= vectors[at++].iov_len;
      if (left > 0) {
        vectors[at].iov_base = static_cast<char*>(vectors[at].iov_base) + left;
        vectors[at].iov_len -= left;
      }
    }
    return Ok();
  }

  Status DataSync() override { return Fdatasync(fd_, name_); }
  Status Sync() override { return Fsync(fd_, name_); }

  Status Resize(uint64_t size) override {
    if (ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
      return ErrnoError(errno, name_, ": grow");
    return Ok();
  }

  Result<std::shared_ptr<const Mapping>> Map(size_t size) override {
    void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd_.get(), 0);
    if (data == MAP_FAILED) return ErrnoError(errno, name_, ": map");
    return std::shared_ptr<const Mapping>(std::make_shared<DiskMapping>(data, size));
  }

 private:
  Fd fd_;  // holds the lock too
  std::string name_;
};

Status TakeLock(const Fd& fd, const std::string& name, bool shared,
                std::chrono::milliseconds timeout) {
  const auto begin = std::chrono::steady_clock::now();
  while (flock(fd.get(), (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
    const int err = errno;
    if (err == EINTR) continue;
    if (err != EWOULDBLOCK) return ErrnoError(err, name, ": lock");
    if (timeout.count() >= 0 && std::chrono::steady_clock::now() - begin >= timeout) {
      return UnavailableError(name, ": locked by ", DescribeLockHolder(fd.get()));
    }
    std::this_thread::sleep_for(kLockRetry);
  }
  return Ok();
}

// The directory entry of a new file.
Status SyncParent(int dir_fd, const std::string& name) {
  const size_t slash = name.rfind('/');
  const std::string parent = slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : name.substr(0, slash);
  const Fd dir(openat(dir_fd, parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.valid()) return ErrnoError(errno, parent);
  return Fsync(dir, parent);
}

}  // namespace

Result<std::unique_ptr<File>> OpenFile(int dir_fd, const std::string& name, Mode mode,
                                       uint32_t permissions,
                                       std::chrono::milliseconds lock_timeout) {
  const bool read_only = mode == Mode::kReadOnly;
  const int flags = O_CLOEXEC | O_NONBLOCK | (read_only ? O_RDONLY : O_RDWR) |
                    (mode == Mode::kReadWrite ? O_CREAT : 0);
  Fd fd(openat(dir_fd, name.c_str(), flags, permissions));  // O_NONBLOCK: a fifo must not hang us
  if (!fd.valid()) return ErrnoError(errno, name);
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, name);
  if (!S_ISREG(info.st_mode)) return InvalidArgumentError(name, ": not a regular file");
  TRY(TakeLock(fd, name, read_only, lock_timeout));
  if (!read_only && info.st_size == 0) TRY(SyncParent(dir_fd, name));
  return std::unique_ptr<File>(std::make_unique<DiskFile>(std::move(fd), name));
}

}  // namespace corten::bolt
