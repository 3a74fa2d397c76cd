#include "base/dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

namespace corten {

namespace {

Result<Fd> OpenResolved(FdRef dir, const std::string& dir_path, const std::string& name, int flags,
                        mode_t mode, uint64_t resolve) {
  struct open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  if ((flags & (O_CREAT | O_TMPFILE)) != 0) how.mode = mode;
  how.resolve = resolve | RESOLVE_NO_MAGICLINKS;
  // The kernel answers EAGAIN when a rename raced with ".." handling: a bounded retry is what
  // openat2(2) asks for.
  for (int attempt = 0;; ++attempt) {
    const long fd = syscall(SYS_openat2, dir.get(), name.c_str(), &how, sizeof(how));
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if ((errno == EAGAIN || errno == EINTR) && attempt < 64) continue;
    return ErrnoError(errno, "open ", dir_path, "/", name);
  }
}

struct DirCloser {
  void operator()(DIR* dir) const { (void)closedir(dir); }
};
using DirStream = std::unique_ptr<DIR, DirCloser>;

Result<DirStream> OpenStream(FdRef fd, const std::string& path) {
  const int copy = openat(fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return ErrnoError(errno, "open ", path);
  DIR* stream = fdopendir(copy);
  if (stream == nullptr) {
    const int err = errno;
    (void)close(copy);
    return ErrnoError(err, "list ", path);
  }
  return DirStream(stream);
}

bool IsDot(const char* name) {
  return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

constexpr size_t kOpenLevels =
    64;  // descriptors kept while a tree is removed; levels above are opened again through ".."

struct RemoveLevel {
  Fd fd;
  DirStream stream;
  std::string name;  // in the level above
  ino_t inode = 0;
};

// Opens `levels.back()` again after the level below it, `below`, has been emptied.
Status ReopenLevel(std::vector<RemoveLevel>& levels, FdRef below, dev_t device,
                   const std::string& path) {
  RemoveLevel& level = levels.back();
  if (level.fd.valid()) return Ok();
  Fd fd(openat(below.get(), "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st = {};
  if (!fd.valid() || fstat(fd.get(), &st) != 0) return ErrnoError(errno, "open ", path, "/...");
  if (st.st_ino != level.inode || st.st_dev != device)
    return AbortedError("remove ", path, ": a directory was moved meanwhile");
  level.stream = TRY(OpenStream(fd, path));
  level.fd = std::move(fd);
  return Ok();
}

// Opens directory `name` of the last level and adds it as the next one.
Status EnterLevel(std::vector<RemoveLevel>& levels, const char* name, dev_t device,
                  const std::string& path) {
  RemoveLevel below;
  below.fd =
      Fd(openat(levels.back().fd.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!below.fd.valid()) return ErrnoError(errno, "open ", path, "/.../", name);
  struct stat st = {};
  if (fstat(below.fd.get(), &st) != 0) return ErrnoError(errno, "stat ", path, "/.../", name);
  if (st.st_dev != device)
    return ErrnoError(EXDEV, "remove ", path, "/.../", name, ": a mount stands there");
  below.name = name;
  below.inode = st.st_ino;
  below.stream = TRY(OpenStream(below.fd, path));
  levels.push_back(std::move(below));
  if (levels.size() > kOpenLevels) {
    RemoveLevel& closed = levels[levels.size() - 1 - kOpenLevels];
    closed.fd.Reset();
    closed.stream.reset();
  }
  return Ok();
}

// Empties `root` depth first with an explicit stack and a bounded number of descriptors.
Status RemoveBelow(Fd root, const std::string& path, dev_t device) {
  std::vector<RemoveLevel> levels;
  {
    RemoveLevel top;
    struct stat st = {};
    if (fstat(root.get(), &st) != 0) return ErrnoError(errno, "stat ", path);
    top.inode = st.st_ino;
    top.stream = TRY(OpenStream(root, path));
    top.fd = std::move(root);
    levels.push_back(std::move(top));
  }
  while (true) {
    RemoveLevel& level = levels.back();
    errno = 0;
    const dirent* entry = readdir(level.stream.get());
    if (entry == nullptr) {
      if (errno != 0) return ErrnoError(errno, "list ", path);
      if (levels.size() == 1) return Ok();
      const RemoveLevel emptied = std::move(level);
      levels.pop_back();
      TRY(ReopenLevel(levels, emptied.fd, device, path));
      if (unlinkat(levels.back().fd.get(), emptied.name.c_str(), AT_REMOVEDIR) != 0 &&
          errno != ENOENT) {
        return ErrnoError(errno, "remove ", path, "/.../", emptied.name);
      }
      continue;
    }
    if (IsDot(entry->d_name)) continue;
    if (unlinkat(level.fd.get(), entry->d_name, 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM)
      return ErrnoError(errno, "remove ", path, "/.../", entry->d_name);
    if (unlinkat(level.fd.get(), entry->d_name, AT_REMOVEDIR) == 0) continue;
    if (errno != ENOTEMPTY && errno != EEXIST)
      return ErrnoError(errno, "remove ", path, "/.../", entry->d_name);
    TRY(EnterLevel(levels, entry->d_name, device, path));
  }
}

}  // namespace

Result<Dir> Dir::Open(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "open ", path);
  return Dir(std::move(fd), path);
}

Result<Dir> Dir::Create(const std::string& path, mode_t mode) {
  TRY(MakeDirs(path, mode));
  return Open(path);
}

std::string Dir::Path(std::string_view name) const { return StrCat(path_, "/", name); }

Result<Fd> Dir::OpenFile(const std::string& name, int flags, mode_t mode) const {
  Fd fd(openat(fd_.get(), name.c_str(), flags | O_CLOEXEC, mode));
  if (!fd.valid()) return ErrnoError(errno, "open ", Path(name));
  return fd;
}

Result<Dir> Dir::OpenDir(const std::string& name) const {
  Fd fd = TRY(OpenFile(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return Dir(std::move(fd), Path(name));
}

Result<Dir> Dir::MakeDir(const std::string& name, mode_t mode) const {
  const bool made = mkdirat(fd_.get(), name.c_str(), mode) == 0;
  if (!made && errno != EEXIST) return ErrnoError(errno, "create directory ", Path(name));
  Dir dir = TRY(OpenDir(name));
  if (made && fchmod(dir.fd().get(), mode) != 0)
    return ErrnoError(errno, "set mode of ", Path(name));
  return dir;
}

Result<Fd> Dir::OpenBeneath(const std::string& name, int flags, mode_t mode) const {
  Result<Fd> fd = OpenResolved(fd_, path_, name, flags, mode, RESOLVE_BENEATH);
  if (!fd.ok() && fd.error().sys_errno() == EXDEV)
    return std::move(fd).TakeError().WithCode(Code::kPermissionDenied);
  return fd;
}

Result<Fd> Dir::OpenInRoot(const std::string& name, int flags, mode_t mode) const {
  return OpenResolved(fd_, path_, name, flags, mode, RESOLVE_IN_ROOT);
}

Result<std::string> Dir::ReadFile(const std::string& name, size_t limit) const {
  const Fd fd = TRY(OpenFile(name, O_RDONLY));
  return ReadAll(fd, limit, Path(name));
}

Result<struct stat> Dir::Stat(const std::string& name) const {
  struct stat st = {};
  if (fstatat(fd_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoError(errno, "stat ", Path(name));
  return st;
}

bool Dir::Exists(const std::string& name) const {
  struct stat st = {};
  return fstatat(fd_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

Status Dir::Unlink(const std::string& name) const {
  if (unlinkat(fd_.get(), name.c_str(), 0) != 0) return ErrnoError(errno, "remove ", Path(name));
  return Ok();
}

Status Dir::RemoveEmptyDir(const std::string& name) const {
  if (unlinkat(fd_.get(), name.c_str(), AT_REMOVEDIR) != 0)
    return ErrnoError(errno, "remove ", Path(name));
  return Ok();
}

Status Dir::RemoveTree(const std::string& name) const {
  if (unlinkat(fd_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return Ok();
  if (errno != EISDIR && errno != EPERM) return ErrnoError(errno, "remove ", Path(name));
  if (unlinkat(fd_.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return Ok();
  if (errno != ENOTEMPTY && errno != EEXIST) return ErrnoError(errno, "remove ", Path(name));
  const Dir below = TRY(OpenDir(name));
  struct stat mine = {};
  struct stat theirs = {};
  if (fstat(fd_.get(), &mine) != 0 || fstat(below.fd().get(), &theirs) != 0)
    return ErrnoError(errno, "stat ", Path(name));
  if (mine.st_dev != theirs.st_dev)
    return ErrnoError(EXDEV, "remove ", Path(name), ": a mount stands there");
  TRY(below.RemoveChildren());
  return RemoveEmptyDir(name);
}

Status Dir::RemoveChildren() const {
  struct stat st = {};
  if (fstat(fd_.get(), &st) != 0) return ErrnoError(errno, "stat ", path_);
  Fd copy = TRY(fd_.Duplicate());
  return RemoveBelow(std::move(copy), path_, st.st_dev);
}

Status Dir::Rename(const std::string& from, const std::string& to) const {
  return RenameTo(from, *this, to);
}

Status Dir::RenameTo(const std::string& from, const Dir& target, const std::string& to) const {
  if (renameat(fd_.get(), from.c_str(), target.fd_.get(), to.c_str()) != 0) {
    return ErrnoError(errno, "rename ", Path(from), " to ", target.Path(to));
  }
  return Ok();
}

Status Dir::Sync() const { return Fsync(fd_, path_); }

Result<std::vector<std::string>> Dir::List() const {
  const DirStream stream = TRY(OpenStream(fd_, path_));
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(stream.get());
    if (entry == nullptr) {
      if (errno != 0) return ErrnoError(errno, "list ", path_);
      return names;
    }
    if (!IsDot(entry->d_name)) names.emplace_back(entry->d_name);
  }
}

FileReplacer::FileReplacer(Fd dir, std::string dir_path, std::string name, std::string hidden,
                           Fd fd)
    : dir_(std::move(dir)),
      dir_path_(std::move(dir_path)),
      name_(std::move(name)),
      hidden_(std::move(hidden)),
      fd_(std::move(fd)) {}

Result<FileReplacer> FileReplacer::Create(const Dir& dir, std::string name, mode_t mode) {
  Fd dir_fd(fcntl(dir.fd().get(), F_DUPFD_CLOEXEC, 0));
  if (!dir_fd.valid()) return ErrnoError(errno, "open ", dir.path());
  for (int attempt = 0;; ++attempt) {
    char random[6];
    if (getrandom(random, sizeof(random), 0) != static_cast<ssize_t>(sizeof(random)))
      return ErrnoError(errno, "getrandom");
    std::string hidden = StrCat(".", name, ".", Hex(std::string_view(random, sizeof(random))));
    Fd fd(openat(dir_fd.get(), hidden.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (fd.valid()) {
      if (fchmod(fd.get(), mode) != 0) return ErrnoError(errno, "set mode of ", dir.Path(hidden));
      return FileReplacer(std::move(dir_fd), dir.path(), std::move(name), std::move(hidden),
                          std::move(fd));
    }
    if (errno != EEXIST || attempt > 16) return ErrnoError(errno, "create ", dir.Path(hidden));
  }
}

FileReplacer::~FileReplacer() {
  if (fd_.valid())
    (void)unlinkat(dir_.get(), hidden_.c_str(), 0);  // never published, nothing depends on it
}

Status FileReplacer::Write(std::string_view data) {
  return WriteAll(fd_, data, StrCat(dir_path_, "/", name_));
}

Status FileReplacer::Commit(Durable durable) {
  if (durable == Durable::kYes) TRY(Fsync(fd_, StrCat(dir_path_, "/", name_)));
  if (renameat(dir_.get(), hidden_.c_str(), dir_.get(), name_.c_str()) != 0) {
    return ErrnoError(errno, "replace ", dir_path_, "/", name_);
  }
  fd_.Reset();
  if (durable == Durable::kYes) TRY(Fsync(dir_, dir_path_));
  return Ok();
}

Status ReplaceFile(const Dir& dir, const std::string& name, std::string_view data, mode_t mode,
                   FileReplacer::Durable durable) {
  FileReplacer file = TRY(FileReplacer::Create(dir, name, mode));
  TRY(file.Write(data));
  return file.Commit(durable);
}

Result<std::string> ReadFileAt(const std::string& path, size_t limit) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "open ", path);
  return ReadAll(fd, limit, path);
}

Status MakeDirs(const std::string& path, mode_t mode) {
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end != path.size() && path[end] != '/') continue;
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) == 0 || errno == EEXIST) continue;
    struct stat st = {};
    const int err = errno;
    if (stat(part.c_str(), &st) == 0 && S_ISDIR(st.st_mode))
      continue;  // e.g. EROFS on an existing parent
    return ErrnoError(err, "create directory ", part);
  }
  return Ok();
}

}  // namespace corten
