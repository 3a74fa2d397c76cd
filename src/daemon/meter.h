// The daemon's own counters, from the first plugin to the last scrape. Updated from any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "daemon/exposition.h"
#include "daemon/rpc_meter.h"

namespace corten::daemon {

struct Meter {
  std::atomic<uint64_t> collections_ok{0};  // garbage collections
  std::atomic<uint64_t> collections_failed{0};
  Histogram collection_time;
  RpcMeter rpc;
  std::atomic<uint64_t> scrapes{0};  // answered
  std::atomic<uint64_t> scrapes_now{0};
};

}  // namespace corten::daemon
