#include "os/overlay_mount.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace corten::os {

namespace {

// fsconfig(2) copies string values into at most 256 bytes, the end included.
constexpr size_t kMaxFsconfigString = 255;

// What the filesystem itself says about the refusal, e.g. "overlay: missing 'lowerdir'". Empty if
// nothing.
std::string FilesystemMessages(FdRef context) {
  std::string out;
  char line[512];
  while (true) {
    const ssize_t got = read(context.get(), line, sizeof(line));
    if (got <= 2) return out;
    if (line[0] != 'e') continue;  // warnings and notes do not explain a failure
    std::string_view text(line + 2, static_cast<size_t>(got) - 2);
    while (text.ends_with('\n')) text.remove_suffix(1);
    if (!out.empty()) out += "; ";
    out += text;
  }
}

unsigned int MountAttributes(unsigned long flags) {
  unsigned int out = 0;
  if ((flags & MS_RDONLY) != 0) out |= MOUNT_ATTR_RDONLY;
  if ((flags & MS_NOSUID) != 0) out |= MOUNT_ATTR_NOSUID;
  if ((flags & MS_NODEV) != 0) out |= MOUNT_ATTR_NODEV;
  if ((flags & MS_NOEXEC) != 0) out |= MOUNT_ATTR_NOEXEC;
  if ((flags & MS_NODIRATIME) != 0) out |= MOUNT_ATTR_NODIRATIME;
  if ((flags & MS_NOATIME) != 0) out |= MOUNT_ATTR_NOATIME;
  if ((flags & MS_STRICTATIME) != 0) out |= MOUNT_ATTR_STRICTATIME;
  return out;
}

class Context {
 public:
  explicit Context(Fd fd) : fd_(std::move(fd)) {}
  FdRef fd() const { return fd_; }

  Status Flag(const char* key) {
    if (fsconfig(fd_.get(), FSCONFIG_SET_FLAG, key, nullptr, 0) != 0) return Failed(errno, key);
    return Ok();
  }

  // A directory: as text when it fits, else as a descriptor (Linux 6.13).
  Status Directory(const char* key, const std::string& path) {
    if (path.size() <= kMaxFsconfigString) {
      if (fsconfig(fd_.get(), FSCONFIG_SET_STRING, key, path.c_str(), 0) != 0)
        return Failed(errno, key);
      return Ok();
    }
    const Fd dir(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!dir.valid()) return ErrnoError(errno, "open ", path);
    if (fsconfig(fd_.get(), FSCONFIG_SET_FD, key, nullptr, dir.get()) != 0)
      return Failed(errno, key);
    return Ok();
  }

  Status Word(const std::string& word) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) return Flag(word.c_str());
    const std::string key = word.substr(0, equals);
    const std::string value = word.substr(equals + 1);
    if (fsconfig(fd_.get(), FSCONFIG_SET_STRING, key.c_str(), value.c_str(), 0) != 0)
      return Failed(errno, key);
    return Ok();
  }

  Error Failed(int err, std::string_view what) const {
    const std::string said = FilesystemMessages(fd_);
    return ErrnoError(err, "mount overlay: ", what, said.empty() ? "" : " (", said,
                      said.empty() ? "" : ")");
  }

 private:
  Fd fd_;
};

Status Configure(Context* context, const OverlayWords& words, unsigned long flags) {
  for (const std::string& lower : words.lower) {
    // A refusal of the key itself means an older kernel; a bad directory is found at creation.
    const Status added = context->Directory("lowerdir+", lower);
    if (added.ok()) continue;
    if (added.error().sys_errno() == EINVAL || added.error().sys_errno() == EOPNOTSUPP) {
      return UnimplementedError("overlay: lower directories one by one");
    }
    return added.error().Clone();
  }
  if (!words.upper.empty()) TRY(context->Directory("upperdir", words.upper));
  if (!words.work.empty()) TRY(context->Directory("workdir", words.work));
  for (const std::string& word : words.others) TRY(context->Word(word));
  if ((flags & MS_RDONLY) != 0) TRY(context->Flag("ro"));
  if ((flags & MS_SYNCHRONOUS) != 0) TRY(context->Flag("sync"));
  if ((flags & MS_DIRSYNC) != 0) TRY(context->Flag("dirsync"));
  return Ok();
}

struct RelativeMount {
  const std::string* source;
  const std::string* target;
  const std::string* directory;
  const std::string* data;
  unsigned long flags;
  int error;
};

void* MountFromDirectory(void* argument) {
  auto* job = static_cast<RelativeMount*>(argument);
  // A working directory of this thread alone.
  if (unshare(CLONE_FS) != 0 || chdir(job->directory->c_str()) != 0 ||
      mount(job->source->c_str(), job->target->c_str(), "overlay", job->flags,
            job->data->c_str()) != 0) {
    job->error = errno;
  }
  return nullptr;
}

}  // namespace

Status MountOverlayByParts(const std::string& source, const OverlayWords& words,
                           unsigned long flags, const std::string& target) {
  Fd fd(fsopen("overlay", FSOPEN_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOSYS || errno == EPERM) return UnimplementedError("overlay: fsopen");
    return ErrnoError(errno, "mount overlay");
  }
  Context context(std::move(fd));
  if (fsconfig(context.fd().get(), FSCONFIG_SET_STRING, "source", source.c_str(), 0) != 0) {
    return context.Failed(errno, "source");
  }
  TRY(Configure(&context, words, flags));
  if (fsconfig(context.fd().get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return context.Failed(errno, target);
  const Fd made(fsmount(context.fd().get(), FSMOUNT_CLOEXEC, MountAttributes(flags)));
  if (!made.valid()) return context.Failed(errno, target);
  if (move_mount(made.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoError(errno, "mount overlay on ", target);
  }
  return Ok();
}

Status MountOverlayFromCommonDirectory(const std::string& source, const OverlayWords& words,
                                       unsigned long flags, const std::string& target) {
  const std::string common = CommonDirectory(words.lower);
  if (common.empty()) return InvalidArgumentError("mount options is too long");
  OverlayWords relative = words;
  for (std::string& lower : relative.lower) lower = lower.substr(common.size() + 1);
  std::string data;
  for (const std::string& word : FormatOverlay(relative))
    data += StrCat(data.empty() ? "" : ",", word);
  if (data.size() >= static_cast<size_t>(getpagesize()))
    return InvalidArgumentError("mount options is too long");

  RelativeMount job = {&source, &target, &common, &data, flags, 0};
  pthread_t thread;
  if (const int err = pthread_create(&thread, nullptr, &MountFromDirectory, &job); err != 0) {
    return ErrnoError(err, "start mount thread");
  }
  (void)pthread_join(thread, nullptr);
  if (job.error != 0) return ErrnoError(job.error, "mount overlay on ", target);
  return Ok();
}

}  // namespace corten::os
