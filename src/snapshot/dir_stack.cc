#include "snapshot/dir_stack.h"

#include <fcntl.h>

#include <cerrno>

namespace corten::snapshot {

namespace {
constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
}

Result<DirStack> DirStack::Create(const Dir& top) {
  DirStack stack;
  Fd fd = TRY(top.OpenFile(".", kFlags));
  TRY(stack.Push(Dir::Adopt(std::move(fd), top.path())));
  return stack;
}

Status DirStack::Push(Dir dir) {
  struct stat st = {};
  if (fstat(dir.fd().get(), &st) != 0) return ErrnoError(errno, "stat ", dir.path());
  levels_.push_back({std::move(dir), st.st_dev, st.st_ino});
  if (levels_.size() > kOpenLevels) {
    Level& closed = levels_[levels_.size() - 1 - kOpenLevels];
    closed.dir = Dir::Adopt(Fd(), closed.dir.path());
  }
  return Ok();
}

Status DirStack::Enter(const std::string& name) {
  Fd fd(openat(current().fd().get(), name.c_str(), kFlags));
  if (!fd.valid()) return ErrnoError(errno, "open ", current().path(), "/.../", name);
  return Push(Dir::Adopt(
      std::move(fd), current().path()));  // the path names the top: a full one may have any length
}

Status DirStack::Leave() {
  CHECK(levels_.size() > 1);
  Level& above = levels_[levels_.size() - 2];
  if (!above.dir.valid()) {
    Fd fd(openat(current().fd().get(), "..", kFlags));
    struct stat st = {};
    if (!fd.valid() || fstat(fd.get(), &st) != 0)
      return ErrnoError(errno, "open ", current().path(), "/...");
    if (st.st_dev != above.device || st.st_ino != above.inode) {
      return AbortedError(current().path(), ": a directory was moved while the tree was read");
    }
    above.dir = Dir::Adopt(std::move(fd), current().path());
  }
  levels_.pop_back();
  return Ok();
}

}  // namespace corten::snapshot
