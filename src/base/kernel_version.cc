#include "base/kernel_version.h"

#include <sys/utsname.h>

#include <cstdio>
#include <utility>

namespace corten {

namespace {
std::pair<int, int> ReadVersion() {
  utsname name = {};
  std::pair<int, int> version;
  if (uname(&name) != 0 ||
      sscanf(name.release, "%d.%d", &version.first, &version.second) != 2)  // NOLINT(cert-err34-c)
    return {0, 0};
  return version;
}
}  // namespace

bool KernelIsAtLeast(int major, int minor) {
  static const std::pair<int, int> running = ReadVersion();
  return running >= std::pair(major, minor);
}

}  // namespace corten
