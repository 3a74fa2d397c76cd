#include "os/idmap.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/spawn.h"

namespace corten::os {

namespace {

constexpr size_t kHolderStack = 16 * 1024;

// Lives only to keep its user namespace until the parent has opened it. No memory is touched.
int HoldNamespace(void*) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (true) (void)pause();
}

std::string MapText(const std::vector<IdRange>& ranges) {
  std::string out;
  for (const IdRange& range : ranges)
    out += StrCat(range.container, " ", range.host, " ", range.size, "\n");
  return out;
}

Status WriteMap(pid_t pid, std::string_view file, const std::vector<IdRange>& ranges) {
  const std::string path = StrCat("/proc/", pid, "/", file);
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "open ", file);
  return WriteAll(fd, MapText(ranges), file);
}

}  // namespace

Result<Fd> MakeUserNamespace(const std::vector<IdRange>& uids, const std::vector<IdRange>& gids) {
  // The kernel has no call that makes a namespace without a process, so one process is borrowed for
  // a moment.
  const std::unique_ptr<char[]> stack(new char[kHolderStack]);
  int pidfd = -1;
  const pid_t pid = clone(&HoldNamespace, stack.get() + kHolderStack,
                          CLONE_NEWUSER | CLONE_PIDFD | SIGCHLD, nullptr, &pidfd);
  if (pid < 0) return ErrnoError(errno, "make user namespace");
  const Child holder(pid, Fd(pidfd));  // killed and reaped on return
  TRY(WriteMap(pid, "uid_map", uids).Context("id map"));
  TRY(WriteMap(pid, "gid_map", gids).Context("id map"));
  Fd out(open(StrCat("/proc/", pid, "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  if (!out.valid()) return ErrnoError(errno, "open user namespace");
  return out;
}

Result<Fd> CloneIdMapped(const std::string& source, FdRef user_namespace, Access access) {
  Fd tree(open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree.valid()) return ErrnoError(errno, "clone mount ", source);
  struct mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_IDMAP | (access == Access::kReadOnly ? MOUNT_ATTR_RDONLY : 0U);
  attributes.propagation = MS_PRIVATE;
  attributes.userns_fd = static_cast<uint64_t>(user_namespace.get());
  if (mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                    sizeof(attributes)) != 0) {
    return ErrnoError(errno, "id-map mount ", source);
  }
  return tree;
}

Status AttachMount(FdRef mount, const std::string& target) {
  if (move_mount(mount.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoError(errno, "attach mount at ", target);
  }
  return Ok();
}

}  // namespace corten::os
