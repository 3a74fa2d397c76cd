#include "diff/compare.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "base/strcat.h"
#include "diff/tar_writer.h"
#include "diff/tree_dirs.h"

namespace corten::diff {

namespace {

constexpr std::string_view kCapability = "security.capability";
constexpr size_t kCopySize = 256 << 10;
constexpr size_t kMaxDepth = 4096;

struct Inode {
  dev_t dev;
  ino_t ino;
  auto operator<=>(const Inode&) const = default;
};

Result<struct stat> StatAt(const Dir& dir, const std::string& name) { return dir.Stat(name); }

Result<std::string> ReadLink(const Dir& dir, const std::string& name) {
  char target[PATH_MAX];
  const ssize_t size = readlinkat(dir.fd().get(), name.c_str(), target, sizeof(target));
  if (size < 0) return ErrnoError(errno, "read link ", dir.Path(name));
  return std::string(target, static_cast<size_t>(size));
}

// The file capabilities of an entry; empty: none. Links are not followed.
Result<std::string> ReadCapability(const Dir& dir, const std::string& name) {
  char value[256];  // a capability has at most 24 bytes
  const std::string path = StrCat("/proc/self/fd/", dir.fd().get(), "/", name);
  const ssize_t size =
      lgetxattr(path.c_str(), std::string(kCapability).c_str(), value, sizeof(value));
  if (size >= 0) return std::string(value, static_cast<size_t>(size));
  if (errno == ENODATA || errno == ENOTSUP) return std::string();
  return ErrnoError(errno, "read xattr ", kCapability, " of ", dir.Path(name));
}

Result<Fd> OpenData(const Dir& dir, const std::string& name) {
  return dir.OpenFile(
      name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);  // a file that became a fifo must not make us wait
}

Result<bool> SameContent(const Dir& a, const Dir& b, const std::string& name) {
  const Fd one = TRY(OpenData(a, name));
  const Fd two = TRY(OpenData(b, name));
  const auto left = std::make_unique_for_overwrite<char[]>(kCopySize);
  const auto right = std::make_unique_for_overwrite<char[]>(kCopySize);
  uint64_t offset = 0;
  while (true) {
    size_t have = 0;
    while (have < kCopySize) {
      const size_t n =
          TRY(PreadSome(one, left.get() + have, kCopySize - have, offset + have, name));
      if (n == 0) break;
      have += n;
    }
    size_t other = 0;
    while (other < kCopySize) {
      const size_t n =
          TRY(PreadSome(two, right.get() + other, kCopySize - other, offset + other, name));
      if (n == 0) break;
      other += n;
    }
    if (have != other || std::memcmp(left.get(), right.get(), have) != 0) return false;
    if (have == 0) return true;
    offset += have;
  }
}

Result<bool> SameEntry(const Dir& lower, const struct stat& a, const Dir& upper,
                       const struct stat& b, const std::string& name) {
  if (a.st_dev == b.st_dev && a.st_ino == b.st_ino) return true;
  if (a.st_mode != b.st_mode || a.st_uid != b.st_uid || a.st_gid != b.st_gid ||
      a.st_rdev != b.st_rdev)
    return false;
  const std::string had = TRY(ReadCapability(lower, name));
  const std::string has = TRY(ReadCapability(upper, name));
  if (had != has) return false;
  if (S_ISDIR(a.st_mode)) return true;
  if (a.st_size != b.st_size || a.st_mtim.tv_sec != b.st_mtim.tv_sec) return false;
  if (a.st_mtim.tv_nsec != 0 || b.st_mtim.tv_nsec != 0)
    return a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
  // Whole seconds on both sides: one of them may have lost its fraction in an archive, so the
  // content decides.
  if (S_ISLNK(a.st_mode)) {
    const std::string was = TRY(ReadLink(lower, name));
    const std::string is = TRY(ReadLink(upper, name));
    return was == is;
  }
  if (!S_ISREG(a.st_mode) || a.st_size == 0) return true;
  return SameContent(lower, upper, name);
}

// Writes the entries and keeps what later ones depend on: parents that are in the layer, and hard
// links.
class LayerWriter {
 public:
  LayerWriter(const Dir& root, ByteSink& sink, const TreeCompareOptions& options)
      : root_(root),
        tar_(sink),
        options_(options),
        buffer_(std::make_unique_for_overwrite<char[]>(kCopySize)) {}

  Status Delete(const std::string& path) {
    const auto [parent, base] = SplitPath(path);
    TarEntry entry;
    entry.name = StrCat(parent, parent.empty() ? "" : "/", ".wh.", base);
    TRY(IncludeParents(entry.name));
    return tar_.WriteHeader(entry);
  }

  // An entry that is new or changed, or (`changed` false) an unchanged member of a set of hard
  // links.
  Status Put(const Dir& dir, const std::string& name, const std::string& path,
             const struct stat& st, bool changed) {
    if (S_ISSOCK(st.st_mode)) return Ok();
    TarEntry entry = HeaderOf(path, st);
    if (S_ISLNK(st.st_mode)) entry.link_name = TRY(ReadLink(dir, name));
    std::vector<std::string> waiting;  // unchanged names of the same file that were met before
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
      const Inode inode = {st.st_dev, st.st_ino};
      const auto known = sources_.find(inode);
      if (known != sources_.end()) {
        entry.type = kHardLink;
        entry.link_name = known->second;
        entry.size = 0;
      } else if (!changed) {
        waiting_[inode].push_back(entry.name);
        return Ok();
      } else {
        sources_.emplace(inode, entry.name);
        if (auto found = waiting_.extract(inode)) waiting = std::move(found.mapped());
      }
    } else if (!changed) {
      return Ok();
    }
    TRY(AddCapability(dir, name, entry));
    TRY(IncludeParents(entry.name));
    TRY(PutWithData(entry, dir, name));
    if (entry.type == kDirectory) added_.insert(path);
    for (std::string& other : waiting) {
      TarEntry link = entry;
      link.link_name = std::exchange(link.name, std::move(other));
      link.type = kHardLink;
      link.size = 0;
      TRY(IncludeParents(link.name));
      TRY(tar_.WriteHeader(link));
    }
    return Ok();
  }

  Status Finish() { return tar_.Finish(); }

 private:
  TarEntry HeaderOf(const std::string& path, const struct stat& st) const {
    TarEntry entry;
    entry.name = path;
    entry.mode = st.st_mode & 07777;
    entry.uid = st.st_uid;
    entry.gid = st.st_gid;
    entry.mtime = {st.st_mtim.tv_sec, 0};
    if (options_.source_date_epoch.has_value() &&
        entry.mtime.seconds > options_.source_date_epoch->seconds) {
      entry.mtime = {options_.source_date_epoch->seconds, 0};
    }
    switch (st.st_mode & S_IFMT) {
      case S_IFDIR:
        entry.type = kDirectory;
        entry.name += '/';
        break;
      case S_IFLNK:
        entry.type = kSymlink;
        break;
      case S_IFIFO:
        entry.type = kFifo;
        break;
      case S_IFCHR:
      case S_IFBLK:
        entry.type = S_ISCHR(st.st_mode) ? kCharDevice : kBlockDevice;
        entry.dev_major = major(st.st_rdev);
        entry.dev_minor = minor(st.st_rdev);
        break;
      default:
        entry.size = st.st_size;
    }
    return entry;
  }

  static Status AddCapability(const Dir& dir, const std::string& name, TarEntry& entry) {
    std::string capability = TRY(ReadCapability(dir, name));
    if (!capability.empty())
      entry.pax.emplace(StrCat(kPaxXattrPrefix, kCapability), std::move(capability));
    return Ok();
  }

  // Every directory above an entry stands in the layer before it, once.
  Status IncludeParents(std::string_view name) {
    while (name.ends_with('/')) name.remove_suffix(1);
    const std::string parent(SplitPath(name).first);
    if (parent.empty() || added_.contains(parent)) return Ok();
    TRY(IncludeParents(parent));
    Fd fd = TRY(root_.OpenBeneath(parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    const Dir dir = Dir::Adopt(std::move(fd), parent);
    const struct stat st = TRY(dir.Stat("."));
    TarEntry entry = HeaderOf(parent, st);
    TRY(AddCapability(dir, ".", entry));
    added_.insert(parent);
    return tar_.WriteHeader(entry);
  }

  Status PutWithData(const TarEntry& entry, const Dir& dir, const std::string& name) {
    if (entry.type != kRegular || entry.size == 0) return tar_.WriteHeader(entry);
    const Fd file = TRY(OpenData(dir, name));
    TRY(tar_.WriteHeader(entry));
    int64_t left = entry.size;
    while (left > 0) {
      if (options_.canceled && options_.canceled()) return CanceledError("diff: canceled");
      const size_t want =
          static_cast<size_t>(std::min<int64_t>(left, static_cast<int64_t>(kCopySize)));
      const size_t n = TRY(ReadSome(file, buffer_.get(), want, entry.name));
      if (n == 0)
        return AbortedError("diff: ", Quoted(entry.name),
                            ": file became shorter while it was read");
      TRY(tar_.WriteData({buffer_.get(), n}));
      left -= static_cast<int64_t>(n);
    }
    return Ok();
  }

  const Dir& root_;
  TarWriter tar_;
  const TreeCompareOptions& options_;
  const std::unique_ptr<char[]> buffer_;
  std::set<std::string, std::less<>> added_;           // directories that are in the layer
  std::map<Inode, std::string> sources_;               // hard-linked files that are in the layer
  std::map<Inode, std::vector<std::string>> waiting_;  // unchanged names of files that are not
};

class Walk {
 public:
  Walk(LayerWriter& writer, const TreeCompareOptions& options)
      : writer_(writer), options_(options) {}

  // `lower` may be null: everything is new.
  Status Level(const Dir* lower, const Dir& upper, const std::string& path, size_t depth) {
    if (depth > kMaxDepth) return ErrnoError(ENAMETOOLONG, "diff ", path);
    std::vector<std::string> had;
    if (lower != nullptr) had = TRY(SortedNames(*lower));
    const std::vector<std::string> has = TRY(SortedNames(upper));
    auto a = had.begin();
    auto b = has.begin();
    while (a != had.end() || b != has.end()) {
      if (options_.canceled && options_.canceled()) return CanceledError("diff: canceled");
      const bool only_lower = b == has.end() || (a != had.end() && *a < *b);
      if (only_lower) {
        TRY(writer_.Delete(Join(path, *a++)));
        continue;
      }
      const bool both = a != had.end() && *a == *b;
      TRY(Entry(both ? lower : nullptr, upper, *b, Join(path, *b), depth));
      if (both) ++a;
      ++b;
    }
    return Ok();
  }

 private:
  static std::string Join(const std::string& path, const std::string& name) {
    return StrCat(path, path.empty() ? "" : "/", name);
  }
  static Result<std::vector<std::string>> SortedNames(const Dir& dir) {
    std::vector<std::string> names = TRY(dir.List());
    std::sort(names.begin(), names.end());
    return names;
  }

  Status Entry(const Dir* lower, const Dir& upper, const std::string& name, const std::string& path,
               size_t depth) {
    const struct stat now = TRY(StatAt(upper, name));
    bool was_directory = false;
    bool changed = true;
    if (lower != nullptr) {
      const struct stat before = TRY(StatAt(*lower, name));
      was_directory = S_ISDIR(before.st_mode);
      const bool same = TRY(SameEntry(*lower, before, upper, now, name));
      changed = !same;
    }
    TRY(writer_.Put(upper, name, path, now, changed));
    if (!S_ISDIR(now.st_mode)) return Ok();
    const Dir upper_child = TRY(upper.OpenDir(name));
    if (!was_directory) return Level(nullptr, upper_child, path, depth + 1);
    const Dir lower_child = TRY(lower->OpenDir(name));
    return Level(&lower_child, upper_child, path, depth + 1);
  }

  LayerWriter& writer_;
  const TreeCompareOptions& options_;
};

}  // namespace

Status CompareTrees(const Dir& lower, const Dir& upper, ByteSink& sink,
                    const TreeCompareOptions& options) {
  LayerWriter writer(upper, sink, options);
  Walk walk(writer, options);
  TRY(walk.Level(&lower, upper, "", 0));
  return writer.Finish();
}

}  // namespace corten::diff
