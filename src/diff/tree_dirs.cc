#include "diff/tree_dirs.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "base/strcat.h"

namespace corten::diff {

namespace {

constexpr mode_t kParentMode = 0755;
constexpr int kMaxLinks = 40;                // as the kernel's own limit on nested links
constexpr size_t kMaxXattrList = 64 << 10;   // XATTR_LIST_MAX
constexpr size_t kMaxXattrValue = 64 << 10;  // XATTR_SIZE_MAX

Result<TreeDirs::Handle> Describe(Dir dir) {
  struct stat st = {};
  if (fstat(dir.fd().get(), &st) != 0) return ErrnoError(errno, "stat ", dir.path());
  auto open = std::make_shared<TreeDirs::OpenDir>();
  open->dir = std::move(dir);
  open->dev = st.st_dev;
  open->ino = st.st_ino;
  return TreeDirs::Handle(std::move(open));
}

}  // namespace

std::string CleanPath(std::string_view path) {
  std::string out;
  out.reserve(path.size());
  size_t at = 0;
  while (at < path.size()) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      const size_t last = out.rfind('/');
      out.resize(last == std::string::npos ? 0 : last);
      continue;
    }
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

std::pair<std::string_view, std::string_view> SplitPath(std::string_view clean) {
  const size_t slash = clean.rfind('/');
  if (slash == std::string_view::npos) return {std::string_view(), clean};
  return {clean.substr(0, slash), clean.substr(slash + 1)};
}

Status SetLayerXattr(std::string_view path, const std::string& name, bool overlay_user,
                     bool regular_or_dir, const WarnFunction& warn,
                     const std::function<int()>& set) {
  const auto tell = [&](std::string_view why) {
    if (warn) warn(StrCat("xattr ", name, " of ", Quoted(path), " is ignored: ", why));
    return Ok();
  };
  if (name.starts_with("trusted.")) return tell("not accepted from archives");
  if (overlay_user && name.starts_with("user.overlay.")) return tell("reserved by the overlay");
  if (set() == 0) return Ok();
  const int err = errno;
  if (err == ENOTSUP) return tell("not supported by the filesystem");
  if (err == EPERM && !regular_or_dir && name.starts_with("user."))
    return tell("not possible on a special file");
  return ErrnoError(err, "set xattr ", name, " of ", Quoted(path));
}

TreeDirs::TreeDirs(Dir root, dev_t dev, ino_t ino, std::vector<std::string> lowers,
                   bool overlay_user, WarnFunction warn)
    : lower_paths_(std::move(lowers)), overlay_user_(overlay_user), warn_(std::move(warn)) {
  auto open = std::make_shared<OpenDir>();
  open->dir = std::move(root);
  open->dev = dev;
  open->ino = ino;
  root_ = std::move(open);
}

Result<TreeDirs::Handle> TreeDirs::Adopt(Fd fd, std::string path) {
  return Describe(Dir::Adopt(std::move(fd), std::move(path)));
}

void TreeDirs::Remember(std::string_view clean, const Handle& handle) {
  if (cache_.size() >= kCached) cache_.clear();
  cache_.insert_or_assign(std::string(clean), handle);
}

void TreeDirs::Forget() {
  cache_.clear();
  last_.reset();
}

Result<TreeDirs::Handle> TreeDirs::Find(std::string_view clean) {
  if (clean.empty()) return root_;
  if (last_ != nullptr && last_path_ == clean) return last_;
  Handle handle;
  if (const auto found = cache_.find(clean); found != cache_.end()) {
    handle = found->second;
  } else {
    Fd fd = TRY(root_->dir.OpenInRoot(std::string(clean), O_RDONLY | O_DIRECTORY | O_NONBLOCK));
    handle = TRY(Adopt(std::move(fd), std::string(clean)));
    Remember(clean, handle);
  }
  last_path_ = clean;
  last_ = handle;
  return handle;
}

Result<TreeDirs::Handle> TreeDirs::FindOrMake(std::string_view clean) { return Make(clean, 0); }

Result<TreeDirs::Handle> TreeDirs::Make(std::string_view clean, int depth) {
  Result<Handle> found = Find(clean);
  if (found.ok() || found.error().sys_errno() != ENOENT)
    return std::move(found).Context("make parent");
  const auto [parent_path, base_view] = SplitPath(clean);
  const std::string base(base_view);
  const Handle parent = TRY(Make(parent_path, depth));
  if (mkdirat(parent->dir.fd().get(), base.c_str(), kParentMode) == 0) {
    Fd fd(openat(parent->dir.fd().get(), base.c_str(),
                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) return ErrnoError(errno, "open ", clean);
    Handle made = TRY(Adopt(std::move(fd), std::string(clean)));
    if (fchmod(made->dir.fd().get(), kParentMode) != 0)
      return ErrnoError(errno, "set mode of ", clean);
    if (!lower_paths_.empty()) TRY(CopyFromLower(clean, *made));
    Remember(clean, made);
    return made;
  }
  if (errno != EEXIST) return ErrnoError(errno, "make parent ", clean);
  // A link to something that is missing: what it names is made.
  char target[PATH_MAX];
  const ssize_t size = readlinkat(parent->dir.fd().get(), base.c_str(), target, sizeof(target));
  if (size < 0) return ErrnoError(errno == EINVAL ? ENOTDIR : errno, "make parent ", clean);
  if (depth >= kMaxLinks) return ErrnoError(ELOOP, "make parent ", clean);
  const std::string_view text(target, static_cast<size_t>(size));
  const std::string next =
      text.starts_with('/') ? CleanPath(text) : CleanPath(StrCat(parent_path, '/', text));
  return Make(next, depth + 1);
}

Status TreeDirs::OpenLowers() {
  if (lowers_open_) return Ok();
  for (const std::string& path : lower_paths_) {
    Dir dir = TRY(Dir::Open(path));
    lowers_.push_back(std::move(dir));
  }
  lowers_open_ = true;
  return Ok();
}

Status TreeDirs::CopyFromLower(std::string_view clean, const OpenDir& made) {
  TRY(OpenLowers());
  for (const Dir& lower : lowers_) {
    const Result<Fd> found =
        lower.OpenInRoot(std::string(clean), O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    if (found.ok()) return CopyAttributes(*found, made, clean);
    // Something else stands there: it hides what lies deeper.
    if (found.error().sys_errno() == ENOTDIR || found.error().sys_errno() == ELOOP) return Ok();
    if (found.error().sys_errno() != ENOENT) return found.error().Clone();
  }
  return Ok();
}

Status TreeDirs::CopyAttributes(const Fd& from, const OpenDir& made, std::string_view clean) {
  const int to = made.dir.fd().get();
  struct stat st = {};
  if (fstat(from.get(), &st) != 0) return ErrnoError(errno, "stat ", clean);
  if (fchown(to, st.st_uid, st.st_gid) != 0) return ErrnoError(errno, "set owner of ", clean);
  std::string names(kMaxXattrList, '\0');
  const ssize_t size = flistxattr(from.get(), names.data(), names.size());
  if (size < 0 && errno != ENOTSUP) return ErrnoError(errno, "list xattrs of ", clean);
  std::string value;
  for (const char* name = names.data(); size > 0 && name < names.data() + size;
       name += std::char_traits<char>::length(name) + 1) {
    if (std::string_view(name).starts_with("trusted.")) continue;
    value.resize(kMaxXattrValue);
    const ssize_t length = fgetxattr(from.get(), name, value.data(), value.size());
    if (length < 0 && errno == ENODATA) continue;
    if (length < 0) return ErrnoError(errno, "read xattr ", name, " of ", clean);
    const auto set = [&] {
      return fsetxattr(to, name, value.data(), static_cast<size_t>(length), 0);
    };
    TRY(SetLayerXattr(clean, name, overlay_user_, true, warn_, set));
  }
  if (fchmod(to, st.st_mode & 07777) != 0) return ErrnoError(errno, "set mode of ", clean);
  made_.push_back({std::string(clean),
                   {st.st_atim.tv_sec, static_cast<int32_t>(st.st_atim.tv_nsec)},
                   {st.st_mtim.tv_sec, static_cast<int32_t>(st.st_mtim.tv_nsec)}});
  return Ok();
}

}  // namespace corten::diff
