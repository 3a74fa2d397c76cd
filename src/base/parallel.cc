#include "base/parallel.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

namespace corten {

void InParallel(size_t threads, size_t items, const std::function<void()>& work) {
  std::vector<std::thread> others;
  for (size_t i = 1; i < std::min(threads, items); ++i) {
    try {
      others.emplace_back(work);
    } catch (const std::system_error&) {
      break;
    }
  }
  work();
  for (std::thread& other : others) other.join();
}

}  // namespace corten
