// Work that several threads share, for as long as the caller waits.
#pragma once

#include <cstddef>
#include <functional>

namespace corten {

// Runs `work` in min(`threads`, `items`) threads at once, the caller's among them (it always runs
// once), and returns when all of them have returned. `work` takes one of the items after the other
// until none is left, from wherever they are counted. Where the system refuses a thread, fewer do
// the work. Any thread.
void InParallel(size_t threads, size_t items, const std::function<void()>& work);

}  // namespace corten
