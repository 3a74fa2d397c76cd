#include "os/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

namespace corten::os {

namespace {
constexpr int kAttempts = 100;  // other processes take free devices between our two calls
}

Result<LoopDevice> AttachLoopDevice(const std::string& file, LoopOptions options) {
  const int mode = options.read_only ? O_RDONLY : O_RDWR;
  const Fd backing(open(file.c_str(), mode | O_CLOEXEC));
  if (!backing.valid()) return ErrnoError(errno, "open ", file);
  const Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control.valid()) return ErrnoError(errno, "open /dev/loop-control");

  struct loop_config config = {};
  config.fd = static_cast<uint32_t>(backing.get());
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  if (options.read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
  if (options.direct_io) config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
  const size_t kept = std::min(file.size(), sizeof(config.info.lo_file_name) - 1);
  std::copy_n(file.begin(), kept, config.info.lo_file_name);

  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return ErrnoError(errno, "find a free loop device");
    std::string path = StrCat("/dev/loop", number);
    Fd device(open(path.c_str(), mode | O_CLOEXEC));
    if (!device.valid()) {
      if (errno == ENOENT || errno == EBUSY) continue;  // not made yet by devtmpfs, or taken
      return ErrnoError(errno, "open ", path);
    }
    if (ioctl(device.get(), LOOP_CONFIGURE, &config) == 0)
      return LoopDevice{std::move(path), std::move(device)};
    if (errno != EBUSY) return ErrnoError(errno, "attach ", file, " to ", path);
  }
  return ResourceExhaustedError("attach ", file, ": no free loop device");
}

}  // namespace corten::os
