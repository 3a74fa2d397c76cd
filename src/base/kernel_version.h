// Which Linux runs. Threads: thread-safe.
#pragma once

namespace corten {

// Whether the running kernel is `major`.`minor` or later, by its release (uname(2)), which is read
// once. False if that begins with no two numbers.
bool KernelIsAtLeast(int major, int minor);

}  // namespace corten
