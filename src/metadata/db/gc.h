// Garbage collection: what one run does and what it reports. Rules: metadata.md 9; design:
// docs/formats/metadata.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/clock.h"

namespace corten::metadata {

struct GcOptions {
  size_t batch_rows = 64;  // rows deleted in one write transaction, at most (a cycle of
                           // references goes together however long it is)
  std::chrono::microseconds batch_time{2000};  // a transaction ends after the row that passes this
};

struct GcStats {
  std::chrono::nanoseconds duration{0};  // all of the run
  std::chrono::nanoseconds mark{0};      // of it: marking, writers go on
  std::chrono::nanoseconds pause{0};     // of it: inside write transactions, the sum
  std::chrono::nanoseconds longest_pause{
      0};              // the longest of those: what a writer waits at most because of the run
  uint64_t nodes = 0;  // looked at
  uint64_t live = 0;
  uint64_t removed_images = 0;
  uint64_t removed_leases = 0;
  uint64_t removed_content = 0;                // rows
  uint64_t removed_ingests = 0;                // rows
  uint64_t removed_snapshots = 0;              // rows
  uint64_t removed_resources = 0;              // of collectors
  uint64_t freed_blobs = 0;                    // in the backend
  uint64_t freed_bytes = 0;                    // of those blobs
  uint64_t freed_ingests = 0;                  // in the backend
  uint64_t freed_snapshots = 0;                // in the backends
  std::map<std::string, std::string> trouble;  // "content", snapshotter or collector name -> error
                                               // that left garbage for the next run
  // When the first of the things that were kept only by a date will expire; the scheduler runs
  // again then.
  std::optional<Time> next_expiry;
};

}  // namespace corten::metadata
