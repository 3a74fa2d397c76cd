// The ingests that have an open writer in this process, and the hash states of those that had one.
//
// Threads: all methods at once. No I/O happens here.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "content/store.h"

namespace corten::content {

// One locked ref. Owners: its writer and the table.
struct LiveIngest {
  LiveIngest(const std::string& name, Time now) : ref(name), locked_since(now) {}
  const std::string ref;
  const Time locked_since;

  std::mutex mutex;  // guards what follows, and the making and removing of the ingest's directory
                     // (never a flush)
  IngestStatus status;
  bool ready = false;    // status is filled in
  bool named = false;    // has a directory
  bool aborted = false;  // by Store::Abort: the writer must not bring it back
  bool ended = false;    // committed, or found to be there already
};

struct ParkedHash {
  Hasher hasher;
  int64_t offset;
};

class LiveIngests {
 public:
  explicit LiveIngests(size_t max_parked) : max_parked_(max_parked) {}

  // Locks `ref`. kUnavailable: `ref X locked for 1.5s (since ...)`.
  Result<std::shared_ptr<LiveIngest>> Lock(const std::string& ref, Time now);
  void Unlock(const LiveIngest& ingest);
  // nullptr: not locked.
  std::shared_ptr<LiveIngest> Find(const std::string& ref) const;
  std::vector<std::shared_ptr<LiveIngest>> All() const;

  // Remembers the hash of what `ref` holds; the oldest state goes when there are too many.
  void Park(const std::string& ref, ParkedHash state);
  // Takes it out again; nullopt if it is gone.
  std::optional<ParkedHash> Unpark(const std::string& ref);

 private:
  const size_t max_parked_;
  mutable std::mutex mutex_;  // guards all that follows
  std::map<std::string, std::shared_ptr<LiveIngest>> locked_;
  std::unordered_map<std::string, ParkedHash> parked_;
  std::deque<std::string> parked_order_;  // oldest first
};

}  // namespace corten::content
