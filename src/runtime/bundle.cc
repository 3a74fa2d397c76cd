#include "runtime/bundle.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "base/failpoint.h"
#include "os/mount.h"

namespace corten::runtime {

namespace {

constexpr mode_t kParentMode = 0711;
constexpr size_t kMaxSpec = size_t{16} << 20;  // gRPC's own limit for what brought it
constexpr size_t kMaxPath = 4096;

std::string NewName(const std::string& id) { return ".new." + id; }
std::string GoneName(const std::string& id) { return "." + id; }

// Mode exactly as given, whatever the umask.
Result<Dir> MakePrivateDir(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) < 0) return ErrnoError(errno, "mkdir ", path);
  if (chmod(path.c_str(), mode) < 0) return ErrnoError(errno, "chmod ", path);
  return Dir::Open(path);
}

Status Symlink(const std::string& target, const std::string& path) {
  if (symlink(target.c_str(), path.c_str()) < 0) return ErrnoError(errno, "symlink ", path);
  return Ok();
}

Status WriteNew(const Dir& dir, const std::string& name, std::string_view data, mode_t mode) {
  const Fd file = TRY(dir.OpenFile(name, O_WRONLY | O_CREAT | O_EXCL, mode));
  return WriteAll(file, data, dir.Path(name));
}

Status MakeLog(const std::string& path) {
  if (mkfifo(path.c_str(), 0700) < 0 && errno != EEXIST) return ErrnoError(errno, "mkfifo ", path);
  return Ok();
}

// Hides `id` of `dir` by one rename and removes it. Missing is success.
Status HideAndRemove(const std::string& parent, const std::string& id, const char* failpoint) {
  Result<Dir> dir = Dir::Open(parent);
  if (!dir.ok()) return dir.error().Is(Code::kNotFound) ? Ok() : Status(std::move(dir).TakeError());
  const std::string hidden = GoneName(id);
  Status moved = dir->Rename(id, hidden);
  if (!moved.ok() && moved.error().sys_errno() == ENOENT) return dir->RemoveTree(hidden);
  if (!moved.ok()) {  // an earlier removal was cut short: its remains are in the way
    TRY(dir->RemoveTree(hidden));
    TRY(dir->Rename(id, hidden));
  }
  FAILPOINT(failpoint);
  (void)failpoint;
  return dir->RemoveTree(hidden);
}

bool IsMountRoot(const std::string& path) {
  struct statx info{};
  if (statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &info) < 0)
    return errno != ENOENT;
  return (info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) == 0 ||
         (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

}  // namespace

Status UnmountRootfs(const std::string& rootfs) {
  // The usual case is a bare, empty directory; reading the mount table costs more the more
  // containers there are.
  if (!IsMountRoot(rootfs)) {
    const Result<Dir> dir = Dir::Open(rootfs);
    if (!dir.ok()) return dir.error().Is(Code::kNotFound) ? Ok() : os::UnmountRecursive(rootfs, 0);
    const Result<std::vector<std::string>> entries = dir->List();
    if (entries.ok() && entries->empty()) return Ok();
  }
  return os::UnmountRecursive(rootfs, 0);
}

Status Bundle::WriteShimBinary(std::string_view path) const {
  const Dir dir = TRY(Dir::Open(path_));
  return ReplaceFile(dir, "shim-binary-path", path, 0600, FileReplacer::Durable::kNo);
}

Status Bundle::WriteEndpoint(const Endpoint& endpoint) const {
  const Dir dir = TRY(Dir::Open(path_));
  return ReplaceFile(dir, "bootstrap.json", EncodeEndpoint(endpoint), 0644,
                     FileReplacer::Durable::kNo);
}

Status Bundle::WriteSandbox(const model::SandboxId& sandbox) const {
  const Dir dir = TRY(Dir::Open(path_));
  return ReplaceFile(dir, "sandbox", sandbox.str(), 0600, FileReplacer::Durable::kNo);
}

Status Bundle::LinkSocketDir(const std::string& socket_dir) const {
  if (symlink(socket_dir.c_str(), (path_ + "/s").c_str()) < 0 && errno != EEXIST)
    return ErrnoError(errno, "symlink ", path_, "/s");
  return Ok();
}

Result<std::string> Bundle::ReadShimBinary() const {
  std::string path = TRY(ReadFileAt(path_ + "/shim-binary-path", kMaxPath));
  while (!path.empty() && (path.back() == '\n' || path.back() == ' ')) path.pop_back();
  return path;
}

Result<Endpoint> Bundle::ReadEndpoint() const {
  const Result<std::string> text = ReadFileAt(path_ + "/bootstrap.json", kMaxAnswer);
  if (text.ok()) return ParseEndpoint(*text);
  if (!text.error().Is(Code::kNotFound)) return text.error().Clone();
  const std::string address = TRY(ReadFileAt(path_ + "/address", kMaxPath));
  Endpoint endpoint = TRY(ParseEndpoint(address));
  TRY(WriteEndpoint(endpoint));
  return endpoint;
}

Result<std::string> Bundle::ReadSpec() const {
  return ReadFileAt(path_ + "/config.json", kMaxSpec);
}

Status Bundle::MarkDeleted() const {
  const Dir dir = TRY(Dir::Open(path_));
  return ReplaceFile(dir, "deleted", "", 0600, FileReplacer::Durable::kNo);
}

bool Bundle::Deleted() const { return access((path_ + "/deleted").c_str(), F_OK) == 0; }

bool Bundle::JoinedSandbox() const { return access((path_ + "/sandbox").c_str(), F_OK) == 0; }

Result<Fd> Bundle::OpenLog() const {
  const std::string path = path_ + "/log";
  TRY(MakeLog(path));
  Fd fd(open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return ErrnoError(errno, "open ", path);
  return fd;
}

Result<bool> Bundle::IsEmpty() const {
  const Dir dir = TRY(Dir::Open(path_));
  const std::vector<std::string> entries = TRY(dir.List());
  return entries.empty();
}

Result<BundleStore> BundleStore::Open(std::string root, std::string state) {
  TRY(MakeDirs(root, kParentMode));
  TRY(MakeDirs(state, kParentMode));
  return BundleStore(std::move(root), std::move(state));
}

Bundle BundleStore::At(const TaskKey& key) const {
  return Bundle(key, StrCat(state_, "/", key.ns.str(), "/", key.id.str()));
}

Result<Bundle> BundleStore::Create(const TaskKey& key, std::optional<std::string_view> spec,
                                   const SpecFacts& facts) const {
  const Bundle bundle = At(key);
  const std::string& id = key.id.str();
  const Dir state_root = TRY(Dir::Open(state_));
  const Dir parent = TRY(state_root.MakeDir(key.ns.str(), kParentMode));
  const Dir work_root = TRY(Dir::Open(root_));
  const Dir work_parent = TRY(work_root.MakeDir(key.ns.str(), kParentMode));
  if (parent.Exists(id)) TRY(Remove(key));

  const std::string hidden = parent.Path(NewName(id));
  TRY(parent.RemoveTree(NewName(id)));
  TRY(work_parent.RemoveTree(id));
  const auto undo = [&](Error error) {
    (void)parent.RemoveTree(NewName(id));  // the sweep at the next start tries again
    (void)work_parent.RemoveTree(id);
    return error;
  };
  const auto fill = [&]() -> Status {
    const Dir dir = TRY(MakePrivateDir(hidden, 0700));
    if (facts.mapped_gid) {
      if (chown(hidden.c_str(), static_cast<uid_t>(-1), *facts.mapped_gid) < 0)
        return ErrnoError(errno, "chown ", hidden);
      if (chmod(hidden.c_str(), 0710) < 0) return ErrnoError(errno, "chmod ", hidden);
    }
    if (spec) TRY(WriteNew(dir, "config.json", *spec, 0666));
    (void)TRY(dir.MakeDir("rootfs", 0711));
    (void)TRY(work_parent.MakeDir(id, 0711));
    TRY(Symlink(work_parent.Path(id), dir.Path("work")));
    return MakeLog(dir.Path("log"));
  };
  Status filled = fill();
  if (!filled.ok()) return undo(std::move(filled).TakeError());
  FAILPOINT("runtime.create.bundle_hidden");
  Status shown = parent.Rename(NewName(id), id);
  if (!shown.ok()) return undo(std::move(shown).TakeError());
  FAILPOINT("runtime.create.bundle_made");
  return bundle;
}

Status BundleStore::Remove(const TaskKey& key) const {
  TRY(UnmountRootfs(At(key).rootfs()));
  TRY(HideAndRemove(StrCat(state_, "/", key.ns.str()), key.id.str(),
                    "runtime.delete.bundle_hidden"));
  return HideAndRemove(StrCat(root_, "/", key.ns.str()), key.id.str(),
                       "runtime.delete.work_hidden");
}

Result<std::vector<TaskKey>> BundleStore::List() const {
  std::vector<TaskKey> keys;
  const Dir root = TRY(Dir::Open(state_));
  const std::vector<std::string> namespaces = TRY(root.List());
  for (const std::string& ns : namespaces) {
    if (ns.front() == '.') continue;
    const Result<Dir> dir = root.OpenDir(ns);
    if (!dir.ok()) continue;  // a stray file is nobody's namespace
    const std::vector<std::string> ids = TRY(dir->List());
    for (const std::string& id : ids) {
      if (id.front() == '.') continue;
      const Result<struct stat> info = dir->Stat(id);
      if (info.ok() && S_ISDIR(info->st_mode))
        keys.push_back({model::Namespace(ns), model::ContainerId(id)});
    }
  }
  return keys;
}

size_t BundleStore::SweepHidden() const {
  size_t removed = 0;
  for (const std::string& tree : {state_, root_}) {
    const Result<Dir> top = Dir::Open(tree);
    if (!top.ok()) continue;
    const Result<std::vector<std::string>> namespaces = top->List();
    if (!namespaces.ok()) continue;
    for (const std::string& ns : *namespaces) {
      const Result<Dir> dir = top->OpenDir(ns);
      if (!dir.ok()) continue;
      const Result<std::vector<std::string>> names = dir->List();
      if (!names.ok()) continue;
      for (const std::string& name : *names) {
        const bool orphan = &tree != &state_ && tree == root_ &&
                            access(StrCat(state_, "/", ns, "/", name).c_str(), F_OK) < 0;
        if (name.front() != '.' && !orphan) continue;
        if (!UnmountRootfs(StrCat(dir->path(), "/", name, "/rootfs")).ok()) continue;
        if (dir->RemoveTree(name).ok()) ++removed;
      }
    }
  }
  return removed;
}

}  // namespace corten::runtime
