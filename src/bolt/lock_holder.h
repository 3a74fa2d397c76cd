// Who holds a flock. Internal to the room.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace corten::bolt {

// The process that /proc/locks (its text is `locks`) names as holder of a flock on file (`device`,
// `inode`); 0: none. File systems that show programs another device number than the kernel's own
// are found by inode alone, if only one lock has it.
pid_t FindLockHolder(std::string_view locks, dev_t device, ino_t inode);

// `process 123 (containerd)` for the holder of the lock on `fd`, or `another process` where /proc
// does not tell.
std::string DescribeLockHolder(int fd);

}  // namespace corten::bolt
