#include "snapshot/native/copy_tree.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <map>
#include <vector>

#include "snapshot/dir_stack.h"

namespace corten::snapshot::native {

namespace {

constexpr size_t kCopyBuffer = 1 << 18;   // bytes
constexpr size_t kMaxXattrList = 65536;   // XATTR_LIST_MAX
constexpr size_t kMaxXattrValue = 65536;  // XATTR_SIZE_MAX

bool MayBeRefused(std::string_view attribute, int err) {
  if (err != ENOTSUP && err != EPERM) return false;
  return attribute.starts_with("security.") || attribute.starts_with("trusted.") || err == ENOTSUP;
}

// Names of open files that the l*xattr calls take without following a link at the end.
std::string ProcPath(const Dir& dir, const std::string& name) {
  return StrCat("/proc/self/fd/", dir.fd().get(), name.empty() ? "" : "/", name);
}

class Copy {
 public:
  explicit Copy(const Dir& to) : top_(to) {}

  Status Run(const Dir& from) {
    DirStack source = TRY(DirStack::Create(from));
    DirStack target = TRY(DirStack::Create(top_));
    std::vector<Level> levels(1);
    TRY(CopyEntries(source.current(), target.current(), levels.back()));
    while (true) {
      Level& level = levels.back();
      if (level.waiting.empty()) {
        TRY(CopyAttributes(source.current(), "", target.current(), "", level.self));
        levels.pop_back();
        if (levels.empty()) return Ok();
        TRY(source.Leave());
        TRY(target.Leave());
        continue;
      }
      const std::string name = std::move(level.waiting.back());
      level.waiting.pop_back();
      if (mkdirat(target.current().fd().get(), name.c_str(), 0700) != 0)
        return ErrnoError(errno, "create directory ", top_.path(), "/.../", name);
      TRY(source.Enter(name));
      TRY(target.Enter(name));
      Level below;
      below.path = StrCat(level.path, name, "/");
      TRY(CopyEntries(source.current(), target.current(), below));
      levels.push_back(std::move(below));
    }
  }

 private:
  struct Level {
    std::string path;  // from the top, "" or ending in '/'
    struct stat self = {};
    std::vector<std::string> waiting;  // directories still to enter
  };

  Status CopyEntries(const Dir& from, const Dir& to, Level& level) {
    if (fstat(from.fd().get(), &level.self) != 0) return ErrnoError(errno, "stat ", from.path());
    const std::vector<std::string> names = TRY(from.List());
    for (const std::string& name : names) {
      struct stat st = {};
      if (fstatat(from.fd().get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return ErrnoError(errno, "stat ", from.path(), "/.../", name);
      if (S_ISDIR(st.st_mode)) {
        level.waiting.push_back(name);
        continue;
      }
      const bool linked = TRY(LinkKnown(st, to, name, level.path));
      if (linked) continue;
      const bool made = TRY(CopyOne(from, to, name, st));
      if (made) TRY(CopyAttributes(from, name, to, name, st));
    }
    return Ok();
  }

  // Another name of a file that was copied already becomes a hard link.
  Result<bool> LinkKnown(const struct stat& st, const Dir& to, const std::string& name,
                         const std::string& path) {
    if (st.st_nlink < 2) return false;
    const auto [known, first] = linked_.try_emplace(st.st_ino, path + name);
    if (first) return false;
    if (linkat(top_.fd().get(), known->second.c_str(), to.fd().get(), name.c_str(), 0) == 0)
      return true;
    if (errno == ENAMETOOLONG || errno == EMLINK) return false;  // a copy then has to do
    return ErrnoError(errno, "link ", to.path(), "/.../", name);
  }

  // False: left out.
  static Result<bool> CopyOne(const Dir& from, const Dir& to, const std::string& name,
                              const struct stat& st) {
    if (S_ISSOCK(st.st_mode)) return false;
    if (S_ISREG(st.st_mode)) {
      TRY(CopyData(from, to, name, st));
      return true;
    }
    if (S_ISLNK(st.st_mode)) {
      char text[PATH_MAX + 1];
      const ssize_t size = readlinkat(from.fd().get(), name.c_str(), text, sizeof(text) - 1);
      if (size < 0) return ErrnoError(errno, "read link ", from.path(), "/.../", name);
      text[size] = '\0';
      if (symlinkat(text, to.fd().get(), name.c_str()) != 0)
        return ErrnoError(errno, "create link ", to.path(), "/.../", name);
      return true;
    }
    if (mknodat(to.fd().get(), name.c_str(), st.st_mode & (S_IFMT | 0600), st.st_rdev) != 0) {
      return ErrnoError(errno, "create node ", to.path(), "/.../", name);
    }
    return true;
  }

  static Status CopyData(const Dir& from, const Dir& to, const std::string& name,
                         const struct stat& st) {
    const Fd source = TRY(from.OpenFile(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    const Fd target = TRY(to.OpenFile(name, O_WRONLY | O_CREAT | O_EXCL, 0600));
    if (ioctl(target.get(), FICLONE, source.get()) == 0) return Ok();
    for (off_t at = 0; at < st.st_size;) {
      const off_t begin = lseek(source.get(), at, SEEK_DATA);
      if (begin < 0 && errno == ENXIO) break;  // a hole up to the end
      off_t end = begin < 0 ? -1 : lseek(source.get(), begin, SEEK_HOLE);
      if (end < 0) end = st.st_size;
      TRY(CopyRange(source, target, begin < 0 ? at : begin, end, name));
      at = end;
    }
    if (ftruncate(target.get(), st.st_size) != 0)
      return ErrnoError(errno, "set size of ", to.path(), "/.../", name);
    return Ok();
  }

  static Status CopyRange(const Fd& source, const Fd& target, off_t begin, off_t end,
                          const std::string& name) {
    off_t out = begin;
    while (begin < end) {
      const ssize_t n = copy_file_range(source.get(), &begin, target.get(), &out,
                                        static_cast<size_t>(end - begin), 0);
      if (n == 0) return Ok();  // shorter than it was
      if (n > 0) continue;
      if (errno == EINTR) continue;
      if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
        return ErrnoError(errno, "copy ", name);
      std::vector<char> buffer(kCopyBuffer);
      while (begin < end) {
        const size_t want = std::min(buffer.size(), static_cast<size_t>(end - begin));
        const size_t got =
            TRY(PreadSome(source, buffer.data(), want, static_cast<uint64_t>(begin), name));
        if (got == 0) return Ok();
        TRY(PwriteAll(target, std::string_view(buffer.data(), got), static_cast<uint64_t>(begin),
                      name));
        begin += static_cast<off_t>(got);
      }
    }
    return Ok();
  }

  // Owner before mode (chown clears set-id bits), attributes after the owner (it clears
  // capabilities), times last. An empty name means the directory itself.
  static Status CopyAttributes(const Dir& from, const std::string& from_name, const Dir& to,
                               const std::string& to_name, const struct stat& st) {
    const int fd = to.fd().get();
    const int flags = to_name.empty() ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
    const std::string what = StrCat(to.path(), "/.../", to_name);
    if (fchownat(fd, to_name.c_str(), st.st_uid, st.st_gid, flags) != 0)
      return ErrnoError(errno, "set owner of ", what);
    if (!S_ISLNK(st.st_mode)) {
      const mode_t mode = st.st_mode & 07777;
      const int set = to_name.empty() ? fchmod(fd, mode) : fchmodat(fd, to_name.c_str(), mode, 0);
      if (set != 0) return ErrnoError(errno, "set mode of ", what);
    }
    TRY(CopyXattrs(ProcPath(from, from_name), ProcPath(to, to_name), from_name.empty()));
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    const int set = to_name.empty() ? futimens(fd, times)
                                    : utimensat(fd, to_name.c_str(), times, AT_SYMLINK_NOFOLLOW);
    if (set != 0) return ErrnoError(errno, "set times of ", what);
    return Ok();
  }

  // A directory is named by its descriptor, a link of /proc that has to be followed.
  static Status CopyXattrs(const std::string& from, const std::string& to, bool follow) {
    char names[kMaxXattrList];
    const ssize_t size = follow ? listxattr(from.c_str(), names, sizeof(names))
                                : llistxattr(from.c_str(), names, sizeof(names));
    if (size < 0 && errno == ENOTSUP) return Ok();
    if (size < 0) return ErrnoError(errno, "list attributes");
    std::vector<char> value(size > 0 ? kMaxXattrValue : 0);
    for (ssize_t at = 0; at < size;) {
      const std::string name(names + at);
      at += static_cast<ssize_t>(name.size()) + 1;
      const ssize_t length =
          follow ? getxattr(from.c_str(), name.c_str(), value.data(), value.size())
                 : lgetxattr(from.c_str(), name.c_str(), value.data(), value.size());
      if (length < 0 && (errno == ENODATA || MayBeRefused(name, errno))) continue;
      if (length < 0) return ErrnoError(errno, "read attribute ", name);
      const int set =
          follow
              ? setxattr(to.c_str(), name.c_str(), value.data(), static_cast<size_t>(length), 0)
              : lsetxattr(to.c_str(), name.c_str(), value.data(), static_cast<size_t>(length), 0);
      if (set != 0 && !MayBeRefused(name, errno)) return ErrnoError(errno, "set attribute ", name);
    }
    return Ok();
  }

  const Dir& top_;                       // of the copy
  std::map<ino_t, std::string> linked_;  // inode of the source -> first path of the copy
};

}  // namespace

Status CopyTree(const Dir& from, const Dir& to) { return Copy(to).Run(from); }

}  // namespace corten::snapshot::native
