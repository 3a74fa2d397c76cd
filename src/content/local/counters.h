// What a local store counts (LocalStore::Stats). Any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "content/local/local_store.h"

namespace corten::content {

struct LocalStore::Counters {
  std::atomic<uint64_t> file_flushes{0};
  std::atomic<uint64_t> commits{0};
  std::atomic<uint64_t> hidden_commits{0};
  std::atomic<uint64_t> bytes_hashed{0};
  std::atomic<uint64_t> bytes_read_back{0};
};

}  // namespace corten::content
