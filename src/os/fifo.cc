#include "os/fifo.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace corten::os {

namespace {

Result<EndKind> KindOf(FdRef fd, const std::string& path) {
  struct stat info = {};
  if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, "stat ", path);
  if (S_ISFIFO(info.st_mode)) return EndKind::kFifo;
  if (S_ISREG(info.st_mode)) return EndKind::kRegular;
  return EndKind::kOther;
}

// Opens the very file that `place` (O_PATH) stands for, whatever its name means by now.
Result<Fd> Reopen(FdRef place, int flags, const std::string& path) {
  Fd fd(open(StrCat("/proc/self/fd/", place.get()).c_str(),
             flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid()) return ErrnoError(errno, "open ", path);
  return fd;
}

Result<Fd> OpenPlace(const std::string& path) {
  Fd place(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!place.valid()) return ErrnoError(errno, "open ", path);
  return place;
}

}  // namespace

Status MakeFifo(const std::string& path, mode_t mode) {
  if (mkfifo(path.c_str(), mode) == 0) {
    if (chmod(path.c_str(), mode) != 0)
      return ErrnoError(errno, "make fifo ", path);  // the umask took bits away
    return Ok();
  }
  if (errno != EEXIST) return ErrnoError(errno, "make fifo ", path);
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) return ErrnoError(errno, "make fifo ", path);
  if (!S_ISFIFO(info.st_mode))
    return AlreadyExistsError("make fifo ", path, ": something else is there");
  return Ok();
}

Result<OutputEnd> OpenOutput(const std::string& path) {
  const Fd place = TRY(OpenPlace(path));
  OutputEnd end;
  end.kind = TRY(KindOf(place, path));
  if (end.kind == EndKind::kFifo) {
    end.keep = TRY(Reopen(place, O_RDONLY,
                          path));  // first: a write-only open without a reader fails with ENXIO
    end.write = TRY(Reopen(place, O_WRONLY, path));
  } else {
    end.write =
        TRY(Reopen(place, end.kind == EndKind::kRegular ? O_WRONLY | O_APPEND : O_WRONLY, path));
  }
  return end;
}

Result<InputEnd> OpenInput(const std::string& path) {
  const Fd place = TRY(OpenPlace(path));
  InputEnd end;
  end.kind = TRY(KindOf(place, path));
  end.read = TRY(Reopen(place, O_RDONLY, path));
  if (end.kind == EndKind::kFifo) end.keep = TRY(Reopen(place, O_WRONLY, path));
  return end;
}

}  // namespace corten::os
