// What writers made or referred to while a collection is marking.
//
// The collector marks on a snapshot of the file. A row that a later write made, changed or took
// into a lease counts as live for that run, and so does all that can be reached from it when the
// row is about to be deleted. Any path from a root to a live row either lies in the snapshot as a
// whole, or its last new step starts at such a touched row.
//
// A writer holds a Session for the whole of its Update call and notes nodes inside its transaction.
// Begin waits for every call that was under way before it, so the snapshot taken after it misses
// nothing that was not noted. Threads: all methods, any thread. Bounded by kLimit nodes; beyond it
// the run deletes nothing more (Take says so).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace corten::metadata {

enum class NodeKind : uint8_t {
  kContainer,
  kImage,
  kContent,
  kIngest,
  kSnapshot,
  kLease,
  kSandbox,
  kCollected
};

// Names a row (or a collector's resource). `space` is the snapshotter's name, or the collector's
// number.
struct NodeName {
  NodeKind kind = NodeKind::kContent;
  std::string ns;
  std::string space;
  std::string key;
  bool operator==(const NodeName&) const = default;
};

class TouchLog {
 public:
  static constexpr size_t kLimit = 1 << 20;

  class Session {
   public:
    explicit Session(TouchLog* log);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    bool noting() const { return noting_; }
    void Note(NodeName node);  // only if noting()

   private:
    TouchLog* log_;
    uint64_t run_;
    bool noting_;
  };

  void Begin();
  void End();
  // Takes all that was noted. False: too much was noted, nothing may be deleted any more.
  bool Take(std::vector<NodeName>* nodes);

 private:
  std::mutex mutex_;  // guards what follows
  std::condition_variable idle_;
  bool noting_ = false;
  uint64_t run_ = 0;                 // number of the last Begin
  std::map<uint64_t, size_t> open_;  // sessions by the run that was the last one when they began
  bool overflow_ = false;
  std::vector<NodeName> nodes_;
};

}  // namespace corten::metadata
