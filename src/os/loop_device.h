// Loop devices: a file as a block device, freed by the kernel when the last user is gone
// (autoclear).
//
// Source: loop(4), LOOP_CONFIGURE (Linux 5.8). Threads: any; a lost race for a free device is tried
// again.
#pragma once

#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace corten::os {

struct LoopDevice {
  std::string path;  // "/dev/loop7"
  Fd fd;             // keep open until something is mounted from it, then drop
};

struct LoopOptions {
  bool read_only = false;
  bool direct_io = false;
};

// Errors by errno of opening the file or the device; kResourceExhausted when no device could be had
// in 100 tries.
Result<LoopDevice> AttachLoopDevice(const std::string& file, LoopOptions options);

}  // namespace corten::os
