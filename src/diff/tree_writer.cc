#include "diff/tree_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>

#include "base/failpoint.h"
#include "base/strcat.h"

namespace corten::diff {

namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kOpaqueName = ".wh..wh..opq";
constexpr int64_t kMaxSeconds =
    INT64_MAX / 1000000000;  // 2262: nanoseconds of a later time do not fit 64 bits
constexpr mode_t kModeBits = 07777;
constexpr mode_t kPlainBits = 0777;  // set-id bits only after the owner
constexpr int kMaxOpaqueDepth = 4096;

timespec Bounded(Time time) {
  if (time.seconds < 0 || time.seconds >= kMaxSeconds) return {0, 0};
  return {time.seconds, time.nanos};
}

// Access and modification time as they are set: the later of both for access.
struct FileTimes {
  timespec at[2];
};
FileTimes TimesOf(Time atime, Time mtime) {
  return {{Bounded(std::max(atime, mtime)), Bounded(mtime)}};
}
FileTimes TimesOf(const TarEntry& entry) {
  return TimesOf(entry.atime.value_or(entry.mtime), entry.mtime);
}

bool ValidId(int64_t id) { return id >= 0 && id < UINT32_MAX; }

bool IsWhiteoutDevice(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

// chmod that does not follow a link that raced into the place.
int ChmodNoFollow(int dir, const char* name, mode_t mode) {
#ifdef SYS_fchmodat2
  constexpr long kFchmodat2 = SYS_fchmodat2;
#else
  constexpr long kFchmodat2 = 452;  // Linux 6.6; one number on all architectures
#endif
  if (syscall(kFchmodat2, dir, name, mode, AT_SYMLINK_NOFOLLOW) == 0) return 0;
  if (errno != ENOSYS && errno != EOPNOTSUPP && errno != EPERM) return -1;
  const Fd fd(openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return -1;
  return chmod(StrCat("/proc/self/fd/", fd.get()).c_str(), mode);
}

Error ChownError(int err, const TarEntry& entry, bool in_user_namespace) {
  Error error =
      ErrnoError(err, "set owner of ", Quoted(entry.name), " to ", entry.uid, ":", entry.gid);
  if (err != EINVAL || !in_user_namespace) return error;
  return Error(
      error.code(),
      StrCat(error.text(), " (hint: more ids may be needed in /etc/subuid and /etc/subgid)"), err);
}

}  // namespace

// Where an entry goes: `base` in an open directory.
struct TreeWriter::Place {
  TreeDirs::Handle parent;
  std::string path;  // clean, whole
  std::string base;
  int dir() const { return parent->dir.fd().get(); }
};

Result<std::unique_ptr<TreeWriter>> TreeWriter::Open(Dir root, TreeOptions options) {
  struct stat st = {};
  if (fstat(root.fd().get(), &st) != 0) return ErrnoError(errno, "stat ", root.path());
  const std::vector<std::string> names = TRY(root.List());
  // lost+found of a fresh filesystem counts as content: remembering names costs little there.
  return std::unique_ptr<TreeWriter>(
      new TreeWriter(std::move(root), st, names.empty(), std::move(options)));
}

TreeWriter::TreeWriter(Dir root, const struct stat& st, bool fresh, TreeOptions options)
    : options_(std::move(options)),
      fresh_(fresh),
      dirs_(
          std::move(root), st.st_dev, st.st_ino,
          options_.whiteouts == Whiteouts::kOverlay ? options_.lowers : std::vector<std::string>(),
          options_.user_xattrs, options_.warn) {}

void TreeWriter::MarkUnpacked(const Place& place) {
  if (fresh_) return;
  unpacked_.insert(std::hash<std::string_view>()(place.base) * 31 + place.parent->ino);
}

bool TreeWriter::IsUnpacked(const TreeDirs::OpenDir& parent, std::string_view base) const {
  return fresh_ || unpacked_.contains(std::hash<std::string_view>()(base) * 31 + parent.ino);
}

Status TreeWriter::Add(const TarEntry& entry, TarReader& data) {
  if (entry.type == kPaxGlobal) return Ok();
  std::string path = CleanPath(entry.name);
  if (path.empty()) return Ok();
  if (!ValidId(entry.uid) || !ValidId(entry.gid)) {
    return InvalidArgumentError("archive: ", Quoted(entry.name), ": invalid owner ", entry.uid, ":",
                                entry.gid);
  }
  const auto [parent, base] = SplitPath(path);
  Result<TreeDirs::Handle> handle = dirs_.FindOrMake(parent);
  if (!handle.ok()) return std::move(handle).TakeError();
  const std::string name(base);
  const Place place = {*std::move(handle), std::move(path), name};
  if (place.base == kOpaqueName) return MakeOpaque(entry, place);
  if (place.base.starts_with(kWhiteoutPrefix)) return AddWhiteout(entry, place);
  TRY(Create(entry, place, data));
  MarkUnpacked(place);
  return Ok();
}

Status TreeWriter::AddWhiteout(const TarEntry& entry, const Place& place) {
  const std::string name = place.base.substr(kWhiteoutPrefix.size());
  if (name.empty() || name == "." || name == "..") {
    return InvalidArgumentError("archive: invalid whiteout name: ", place.base);
  }
  const auto [parent_path, unused] = SplitPath(place.path);
  const Place hidden = {place.parent, StrCat(parent_path, parent_path.empty() ? "" : "/", name),
                        name};
  struct stat st = {};
  const bool exists = fstatat(place.dir(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (!exists && errno != ENOENT) return ErrnoError(errno, "stat ", hidden.path);
  const bool overlay = options_.whiteouts == Whiteouts::kOverlay;
  if (exists && IsUnpacked(*place.parent, name)) {
    // The layer holds this name itself: only what lies below is to be hidden, and a file does that
    // by standing there.
    if (!S_ISDIR(st.st_mode)) return Ok();
    Fd fd(openat(place.dir(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) return ErrnoError(errno, "open ", hidden.path);
    const TreeDirs::Handle dir = TRY(TreeDirs::Adopt(std::move(fd), hidden.path));
    if (overlay) TRY(SetOpaque(dir->dir));
    (void)TRY(KeepUnpacked(*dir));
    return Ok();
  }
  if (exists) TRY(Clear(hidden, nullptr));
  if (!overlay) return Ok();
  if (mknodat(place.dir(), name.c_str(), S_IFCHR, makedev(0, 0)) != 0)
    return ErrnoError(errno, "make whiteout ", hidden.path);
  if (fchownat(place.dir(), name.c_str(), static_cast<uid_t>(entry.uid),
               static_cast<gid_t>(entry.gid), AT_SYMLINK_NOFOLLOW) != 0) {
    return ChownError(errno, entry, options_.in_user_namespace);
  }
  MarkUnpacked(hidden);
  return Ok();
}

Status TreeWriter::SetOpaque(const Dir& dir) const {
  const char* const name = options_.user_xattrs ? "user.overlay.opaque" : "trusted.overlay.opaque";
  if (fsetxattr(dir.fd().get(), name, "y", 1, 0) != 0)
    return ErrnoError(errno, "mark ", dir.path(), " opaque");
  return Ok();
}

Status TreeWriter::MakeOpaque(const TarEntry& /*entry*/, const Place& place) {
  if (options_.whiteouts == Whiteouts::kOverlay) TRY(SetOpaque(place.parent->dir));
  if (fresh_) return Ok();
  (void)TRY(KeepUnpacked(*place.parent));
  return Ok();
}

// Removes what this layer did not put below `dir`. True: something stays.
Result<bool> TreeWriter::KeepUnpacked(const TreeDirs::OpenDir& dir) {
  if (fresh_) return true;
  const std::vector<std::string> names = TRY(dir.dir.List());
  bool kept = false;
  for (const std::string& name : names) {
    const bool mine = IsUnpacked(dir, name);
    struct stat st = {};
    if (fstatat(dir.dir.fd().get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "stat ", dir.dir.Path(name));
    bool keep = mine;
    if (S_ISDIR(st.st_mode)) {
      Fd fd(openat(dir.dir.fd().get(), name.c_str(),
                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!fd.valid()) return ErrnoError(errno, "open ", dir.dir.Path(name));
      std::string path = dir.dir.Path(name);
      if (path.size() > kMaxOpaqueDepth * 2)
        return ErrnoError(ENAMETOOLONG, "remove ", dir.dir.path());
      const TreeDirs::Handle below = TRY(TreeDirs::Adopt(std::move(fd), std::move(path)));
      const bool some = TRY(KeepUnpacked(*below));
      keep = keep || some;
    }
    if (!keep) {
      if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)) dirs_.Forget();
      TRY(dir.dir.RemoveTree(name));
    }
    kept = kept || keep;
  }
  return kept;
}

Status TreeWriter::Clear(const Place& place, bool* was_whiteout) {
  struct stat st = {};
  if (fstatat(place.dir(), place.base.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? Ok() : Status(ErrnoError(errno, "stat ", place.path));
  }
  if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)) dirs_.Forget();
  if (was_whiteout != nullptr)
    *was_whiteout = options_.whiteouts == Whiteouts::kOverlay && IsWhiteoutDevice(st);
  FAILPOINT("diff.replace.before");
  return place.parent->dir.RemoveTree(place.base);
}

template <typename F>
Status TreeWriter::MakeAt(const Place& place, const F& make) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (make() == 0) return Ok();
    if (errno != EEXIST || attempt == 1) break;
    TRY(Clear(place, nullptr));
  }
  return ErrnoError(errno, "create ", place.path);
}

Status TreeWriter::Create(const TarEntry& entry, const Place& place, TarReader& data) {
  switch (entry.type) {
    case kDirectory:
      return CreateDirectory(entry, place);
    case kRegular:
    case kContiguous:
    case kGnuSparse:
      return CreateRegular(entry, place, data);
    case kHardLink:
      return CreateHardLink(entry, place);
    case kSymlink:
      return CreateSymlink(entry, place);
    case kCharDevice:
    case kBlockDevice:
      if (options_.in_user_namespace) {
        if (options_.warn)
          options_.warn(StrCat("device ", Quoted(entry.name), " is ignored: in a user namespace"));
        return Ok();
      }
      return CreateNode(entry, place);
    case kFifo:
      return CreateNode(entry, place);
    default:
      return InvalidArgumentError("archive: ", Quoted(entry.name), ": unhandled tar header type ",
                                  static_cast<int>(static_cast<unsigned char>(entry.type)));
  }
}

Status TreeWriter::CreateDirectory(const TarEntry& entry, const Place& place) {
  bool was_whiteout = false;
  int made = mkdirat(place.dir(), place.base.c_str(), static_cast<mode_t>(entry.mode) & kPlainBits);
  if (made != 0 && errno != EEXIST) return ErrnoError(errno, "create ", place.path);
  Fd fd(openat(place.dir(), place.base.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid() && (errno == ENOTDIR || errno == ELOOP)) {
    TRY(Clear(place, &was_whiteout));
    made = mkdirat(place.dir(), place.base.c_str(), static_cast<mode_t>(entry.mode) & kPlainBits);
    if (made != 0) return ErrnoError(errno, "create ", place.path);
    fd = Fd(
        openat(place.dir(), place.base.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!fd.valid()) return ErrnoError(errno, "open ", place.path);
  struct stat st = {};
  if (fstat(fd.get(), &st) != 0) return ErrnoError(errno, "stat ", place.path);
  TRY(SetFileAttributes(entry, fd, st, /*regular_or_dir=*/true));
  auto open = std::make_shared<TreeDirs::OpenDir>();
  open->dir = Dir::Adopt(std::move(fd), place.path);
  open->dev = st.st_dev;
  open->ino = st.st_ino;
  if (was_whiteout) TRY(SetOpaque(open->dir));
  dirs_.Remember(place.path, std::move(open));
  times_.push_back({place.path, entry.atime.value_or(entry.mtime), entry.mtime});
  return Ok();
}

Status TreeWriter::CreateRegular(const TarEntry& entry, const Place& place, TarReader& data) {
  Fd file;
  TRY(MakeAt(place, [&] {
    file = Fd(openat(place.dir(), place.base.c_str(),
                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     static_cast<mode_t>(entry.mode) & kPlainBits));
    return file.valid() ? 0 : -1;
  }));
  TRY(FillFile(entry, file, data));
  struct stat st = {};
  if (fstat(file.get(), &st) != 0) return ErrnoError(errno, "stat ", place.path);
  TRY(SetFileAttributes(entry, file, st, /*regular_or_dir=*/true));
  const FileTimes times = TimesOf(entry);
  if (futimens(file.get(), times.at) != 0) return ErrnoError(errno, "set times of ", place.path);
  return Ok();
}

Status TreeWriter::FillFile(const TarEntry& entry, const Fd& file, TarReader& data) {
  int64_t end = 0;
  while (true) {
    const TarReader::Piece piece = TRY(data.ReadPiece());
    if (piece.bytes.empty()) break;
    if (piece.offset == end) {
      TRY(WriteAll(file, piece.bytes, entry.name));
    } else {
      TRY(PwriteAll(file, piece.bytes, static_cast<uint64_t>(piece.offset), entry.name));
      if (lseek(file.get(), piece.offset + static_cast<off_t>(piece.bytes.size()), SEEK_SET) < 0) {
        return ErrnoError(errno, "seek in ", entry.name);
      }
    }
    end = piece.offset + static_cast<int64_t>(piece.bytes.size());
  }
  if (end < entry.size && ftruncate(file.get(), entry.size) != 0)
    return ErrnoError(errno, "extend ", entry.name);
  return Ok();
}

// Owner, attributes, mode: in this order, since each may take away what a later one gives. `st` is
// the file as it is: what is right already costs no call.
Status TreeWriter::SetFileAttributes(const TarEntry& entry, const Fd& file, const struct stat& st,
                                     bool regular_or_dir) {
  const auto uid = static_cast<uid_t>(entry.uid);
  const auto gid = static_cast<gid_t>(entry.gid);
  const auto mode = static_cast<mode_t>(entry.mode) & kModeBits;
  const bool owner = st.st_uid != uid || st.st_gid != gid;
  if (owner && fchown(file.get(), uid, gid) != 0)
    return ChownError(errno, entry, options_.in_user_namespace);
  for (const auto& [key, value] : entry.pax) {
    if (!key.starts_with(kPaxXattrPrefix)) continue;
    const std::string name = key.substr(kPaxXattrPrefix.size());
    const auto set = [&] {
      return fsetxattr(file.get(), name.c_str(), value.data(), value.size(), 0);
    };
    TRY(SetLayerXattr(entry.name, name, options_.user_xattrs, regular_or_dir, options_.warn, set));
  }
  // An ACL attribute or a change of owner may have changed the mode.
  const bool sure = !owner && entry.pax.empty();
  if (sure && (st.st_mode & kModeBits) == mode) return Ok();
  if (fchmod(file.get(), mode) != 0) return ErrnoError(errno, "set mode of ", Quoted(entry.name));
  return Ok();
}

Status TreeWriter::CreateHardLink(const TarEntry& entry, const Place& place) {
  const std::string_view link = entry.link_name;
  const size_t slash = link.rfind('/');
  const std::string base(slash == std::string_view::npos ? link : link.substr(slash + 1));
  if (base.empty() || base == "." || base == "..") {
    return InvalidArgumentError("archive: ", Quoted(entry.name), ": invalid hard link target ",
                                Quoted(link));
  }
  const std::string parent_path =
      slash == std::string_view::npos ? std::string() : CleanPath(link.substr(0, slash));
  const TreeDirs::Handle parent =
      TRY(dirs_.Find(parent_path).Context(StrCat("link ", Quoted(entry.name))));
  if (parent->ino == place.parent->ino && parent->dev == place.parent->dev && base == place.base) {
    return InvalidArgumentError("archive: ", Quoted(entry.name), ": hard link to itself");
  }
  TRY(MakeAt(place, [&] {
    return linkat(parent->dir.fd().get(), base.c_str(), place.dir(), place.base.c_str(), 0);
  }));
  return SetNodeAttributes(entry, place);
}

Status TreeWriter::CreateSymlink(const TarEntry& entry, const Place& place) {
  TRY(MakeAt(place,
             [&] { return symlinkat(entry.link_name.c_str(), place.dir(), place.base.c_str()); }));
  return SetNodeAttributes(entry, place);
}

Status TreeWriter::CreateNode(const TarEntry& entry, const Place& place) {
  const mode_t type = entry.type == kFifo ? S_IFIFO : entry.type == kCharDevice ? S_IFCHR : S_IFBLK;
  dev_t device = 0;
  if (entry.type != kFifo) {
    if (!ValidId(entry.dev_major) || !ValidId(entry.dev_minor)) {
      return InvalidArgumentError("archive: ", Quoted(entry.name), ": invalid device number");
    }
    device =
        makedev(static_cast<unsigned>(entry.dev_major), static_cast<unsigned>(entry.dev_minor));
  }
  const mode_t mode = type | (static_cast<mode_t>(entry.mode) & kPlainBits);
  TRY(MakeAt(place, [&] { return mknodat(place.dir(), place.base.c_str(), mode, device); }));
  return SetNodeAttributes(entry, place);
}

// As SetFileAttributes and times, for what cannot be opened. Links are never followed.
Status TreeWriter::SetNodeAttributes(const TarEntry& entry, const Place& place) {
  const char* const base = place.base.c_str();
  struct stat st = {};
  if (fstatat(place.dir(), base, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoError(errno, "stat ", place.path);
  const auto uid = static_cast<uid_t>(entry.uid);
  const auto gid = static_cast<gid_t>(entry.gid);
  const bool owner = st.st_uid != uid || st.st_gid != gid;
  if (owner && fchownat(place.dir(), base, uid, gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return ChownError(errno, entry, options_.in_user_namespace);
  }
  for (const auto& [key, value] : entry.pax) {
    if (!key.starts_with(kPaxXattrPrefix)) continue;
    const std::string name = key.substr(kPaxXattrPrefix.size());
    const std::string path = StrCat("/proc/self/fd/", place.dir(), "/", place.base);
    const auto set = [&] {
      return lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0);
    };
    TRY(SetLayerXattr(entry.name, name, options_.user_xattrs, S_ISREG(st.st_mode), options_.warn,
                      set));
  }
  const auto mode = static_cast<mode_t>(entry.mode) & kModeBits;
  const bool mode_is_right = !owner && entry.pax.empty() && (st.st_mode & kModeBits) == mode;
  if (!S_ISLNK(st.st_mode) && !mode_is_right && ChmodNoFollow(place.dir(), base, mode) != 0) {
    return ErrnoError(errno, "set mode of ", place.path);
  }
  const FileTimes times = TimesOf(entry);
  if (utimensat(place.dir(), base, times.at, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoError(errno, "set times of ", place.path);
  return Ok();
}

Status TreeWriter::Finish() {
  FAILPOINT("diff.finish.before");
  std::vector<TreeDirs::MadeTimes> made = dirs_.TakeMadeTimes();
  const TreeDirs::Handle root = dirs_.root();
  // Parents copied from below first: an entry of the layer for the same directory has the last
  // word.
  for (const auto* list : {&made, &times_}) {
    for (const TreeDirs::MadeTimes& dir : *list) {
      const Result<Fd> fd = root->dir.OpenInRoot(dir.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (!fd.ok()) {
        const int err = fd.error().sys_errno();
        if (err == ENOENT || err == ENOTDIR || err == ELOOP) continue;  // replaced by a later entry
        return fd.error().Clone();
      }
      const FileTimes times = TimesOf(dir.atime, dir.mtime);
      if (futimens(fd->get(), times.at) != 0) return ErrnoError(errno, "set times of ", dir.path);
    }
  }
  return Ok();
}

}  // namespace corten::diff
