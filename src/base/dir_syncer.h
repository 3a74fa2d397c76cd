// Makes the entries of one directory durable, for many callers with few flushes.
//
// A flush of a directory covers every change made before it began. So callers that arrive while one
// flush runs share the next one: n callers at once cost two flushes and not n. Threads: all methods
// may be called at once. Crash: what Sync has answered Ok for survives a power loss.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace corten {

class DirSyncer {
 public:
  // `dir` is borrowed and outlives the syncer; `path` is for error texts.
  DirSyncer(FdRef dir, const std::string& path)
      : DirSyncer([dir, path] { return Fsync(dir, path); }) {}
  // With another way to flush, e.g. for tests.
  explicit DirSyncer(std::function<Status()> flush) : flush_(std::move(flush)) {}
  DirSyncer(const DirSyncer&) = delete;
  DirSyncer& operator=(const DirSyncer&) = delete;

  // A change of the directory that is about to be made. While one lives, Settle waits for a flush.
  class Change {
   public:
    explicit Change(DirSyncer& syncer);
    ~Change();
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    // Returns when the directory, as it is now, is durable. On error the caller takes its change
    // back: whether it would survive is not known.
    Status Sync() { return syncer_.Flush(); }

   private:
    DirSyncer& syncer_;
  };

  // For a caller that found an entry which another one made: returns when that entry is durable.
  // Costs nothing when no change is under way.
  Status Settle();

  // Flushes made so far.
  uint64_t flushes() const;
  // Callers that are in Sync or Settle and wait for a flush, or make one.
  uint64_t waiting() const;

 private:
  struct Round {
    bool done = false;
    std::optional<Error> error;
  };
  Status Flush();

  const std::function<Status()> flush_;
  mutable std::mutex mutex_;  // never held over a flush; guards all that follows
  std::condition_variable changed_;
  std::shared_ptr<Round> next_ =
      std::make_shared<Round>();  // owners: the syncer and those who wait for the round
  bool running_ = false;
  uint64_t changes_ = 0;
  uint64_t flushes_ = 0;
  uint64_t waiting_ = 0;
};

}  // namespace corten
