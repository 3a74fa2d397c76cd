// A directory by descriptor, and what is done below it by relative path.
//
// Two kinds of opening: trusted (our own paths: Open, OpenDir...) and untrusted (names that came
// from an image, a client or a bundle: OpenBeneath / OpenInRoot), which go through openat2 and
// cannot leave the directory, whatever symbolic links stand inside. Errors carry `what path:
// cause`, code by errno (error.h). Threads: const methods may be called at once.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace corten {

class Dir {
 public:
  Dir() = default;
  // Opens `path` (absolute, or relative to the working directory) which must be a directory.
  static Result<Dir> Open(const std::string& path);
  // Creates `path` and missing parents with `mode` (umask applies), then opens it.
  static Result<Dir> Create(const std::string& path, mode_t mode);
  // Wraps an open directory descriptor; `path` is for error texts and Path() only.
  static Dir Adopt(Fd fd, std::string path) { return Dir(std::move(fd), std::move(path)); }

  bool valid() const { return fd_.valid(); }
  FdRef fd() const { return fd_; }
  const std::string& path() const {
    return path_;
  }  // as opened; the directory may have been renamed since
  std::string Path(std::string_view name) const;  // path() "/" name

  // Trusted names: plain openat with O_CLOEXEC added to `flags`.
  Result<Fd> OpenFile(const std::string& name, int flags, mode_t mode = 0) const;
  Result<Dir> OpenDir(const std::string& name) const;  // does not follow a final symbolic link
  // Creates if missing (existing is fine), then opens. Mode is set exactly (no umask) when newly
  // made.
  Result<Dir> MakeDir(const std::string& name, mode_t mode) const;

  // Untrusted names. OpenBeneath: any step outside, absolute links included, is kPermissionDenied
  // (EXDEV). OpenInRoot: absolute links and ".." are resolved as if this directory were the root.
  // Both refuse magic links. flags as for openat (O_PATH useful), O_CLOEXEC added.
  Result<Fd> OpenBeneath(const std::string& name, int flags, mode_t mode = 0) const;
  Result<Fd> OpenInRoot(const std::string& name, int flags, mode_t mode = 0) const;

  Result<std::string> ReadFile(const std::string& name, size_t limit) const;
  Result<struct stat> Stat(const std::string& name) const;  // does not follow a final symbolic link
  bool Exists(const std::string& name) const;
  Status Unlink(const std::string& name) const;  // a file; kNotFound if missing
  Status RemoveEmptyDir(const std::string& name) const;
  // Removes `name` and everything below it without following links or crossing into other mounts
  // (EXDEV error). Missing is fine. Depth is bounded neither by the stack nor by the number of
  // descriptors.
  Status RemoveTree(const std::string& name) const;
  // Removes everything below this directory, not the directory itself.
  Status RemoveChildren() const;
  Status Rename(const std::string& from, const std::string& to) const;  // within this directory
  Status RenameTo(const std::string& from, const Dir& target, const std::string& to) const;
  Status Sync() const;  // fsync of the directory itself
  // Names of the entries except "." and "..", unsorted.
  Result<std::vector<std::string>> List() const;

 private:
  Dir(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::string path_;
};

// Replaces a file whole: hidden name, write, fsync, rename, fsync of the directory. Without Commit
// nothing changes.
class FileReplacer {
 public:
  static Result<FileReplacer> Create(const Dir& dir, std::string name, mode_t mode);
  FileReplacer(FileReplacer&&) noexcept = default;
  FileReplacer& operator=(FileReplacer&&) noexcept = default;
  ~FileReplacer();  // removes the hidden file if not committed
  FdRef fd() const { return fd_; }
  Status Write(std::string_view data);
  // Durable::kNo leaves out both fsyncs: for state that a reboot clears anyway.
  enum class Durable { kYes, kNo };
  Status Commit(Durable durable = Durable::kYes);

 private:
  FileReplacer(Fd dir, std::string dir_path, std::string name, std::string hidden, Fd fd);
  Fd dir_;
  std::string dir_path_;
  std::string name_;
  std::string hidden_;
  Fd fd_;
};

// Replaces `name` in `dir` with `data`, all or nothing.
Status ReplaceFile(const Dir& dir, const std::string& name, std::string_view data, mode_t mode,
                   FileReplacer::Durable durable = FileReplacer::Durable::kYes);

// Whole small file by path, e.g. from /proc. kResourceExhausted above `limit` bytes.
Result<std::string> ReadFileAt(const std::string& path, size_t limit);
// mkdir -p with the given mode for each part that is made.
Status MakeDirs(const std::string& path, mode_t mode);

}  // namespace corten
