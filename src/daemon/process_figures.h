// What the kernel says of this process: memory, descriptors, threads, time. Reads /proc/self; any
// thread. What cannot be read is 0. Source: proc(5).
#pragma once

#include <cstdint>

#include "daemon/exposition.h"

namespace corten::daemon {

struct ProcessFigures {
  double cpu_seconds = 0;         // user and system
  double start_time_seconds = 0;  // Unix time
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t open_fds = 0;
  uint64_t max_fds = 0;
  uint64_t threads = 0;
};

ProcessFigures ReadProcessFigures();
// Under the names that Prometheus' client libraries use.
void WriteProcessFigures(Exposition* out);

}  // namespace corten::daemon
