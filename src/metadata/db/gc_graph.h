// The graph that a collection marks: rows as nodes, what keeps what as edges.
//
// Built in one pass over a read transaction; keys are views into it, so it must outlive the graph.
// Nodes that are only named (by a label, a lease, a back reference) exist too, without a row: one
// of them may be created while the collection runs, and then what waits for it in a back reference
// lives. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/background_work.h"
#include "base/clock.h"
#include "base/error.h"
#include "bolt/tx.h"
#include "metadata/collector.h"
#include "metadata/db/touch_log.h"

namespace corten::metadata {

class GcGraph {
 public:
  using NodeId = uint32_t;
  enum class EdgeKind : uint8_t {
    kStructure,  // image -> target, snapshot -> parent, ingest -> blob: keeps as the source is kept
    kReference,  // a gc.ref label, a container's snapshot: keeps in full, but not from a flat
                 // source
    kBack,       // object -> holder of a gc.bref label: keeps the holder in full
    kHold,       // lease -> member
    kFlatHold,   // flat lease -> member
  };
  struct Edge {
    NodeId to = 0;
    EdgeKind kind = EdgeKind::kReference;
  };
  struct Node {
    uint32_t space = 0;
    std::string_view key;
    bool exists = false;  // has a row, or is a collector's
    bool flat = false;    // kept, without its label references
    bool full = false;    // kept
    std::vector<Edge> edges;
    bool live() const { return flat || full; }
  };
  struct Space {
    NodeKind kind = NodeKind::kContent;
    std::string ns;
    std::string name;  // snapshotter, or number of the collector
  };

  explicit GcGraph(Time now) : now_(now) {}

  // Backend names whose rows are roots, per snapshotter.
  using Pinned = std::map<std::string, std::set<std::string>, std::less<>>;
  // Reads all rows, and what collectors hold, and marks from the roots; steps aside meanwhile.
  Status Build(const bolt::Tx& tx, const Pinned& pinned, const std::vector<Collector*>& collectors,
               const std::vector<std::vector<CollectedResource>>& resources, BackgroundWork& work);
  // Marks from a row that was touched since, as it is in `tx` now.
  Status MarkTouched(const bolt::Tx& tx, const NodeName& name);

  // Rows that nothing keeps, so grouped and ordered that what refers to something comes before it
  // or with it.
  std::vector<std::vector<NodeId>> Dead(BackgroundWork& work) const;

  const Node& node(NodeId id) const { return nodes_[id]; }
  const Space& space(NodeId id) const { return spaces_[nodes_[id].space]; }
  size_t size() const { return nodes_.size(); }
  // When the first date that keeps something now will be over.
  std::optional<Time> next_expiry() const { return next_expiry_; }

 private:
  struct Condition {
    NodeId holder = 0;
    bool less = false;  // used less than `age` ago
    int64_t age_nanos = 0;
  };

  Status ReadAndMark(const bolt::Tx& tx, const Pinned& pinned,
                     const std::vector<Collector*>& collectors,
                     const std::vector<std::vector<CollectedResource>>& resources);
  Status ReadNamespace(const bolt::Tx& tx, std::string_view ns, const Pinned& pinned);
  Status ReadContainer(std::string_view ns, NodeId id, const bolt::Bucket& row);
  Status ReadImage(std::string_view ns, NodeId id, const bolt::Bucket& row);
  Status ReadContent(std::string_view ns, NodeId id, const bolt::Bucket& row);
  Status ReadIngest(std::string_view ns, NodeId id, const bolt::Bucket& row);
  Status ReadSnapshot(std::string_view ns, std::string_view snapshotter, NodeId id,
                      const bolt::Bucket& row);
  Status ReadLease(std::string_view ns, NodeId id, const bolt::Bucket& row);
  Status ReadLabels(std::string_view ns, NodeId id, const bolt::Bucket& row);
  void AddLabel(std::string_view ns, NodeId id, std::string_view label, std::string_view value);
  std::optional<NodeId> ReferenceTarget(std::string_view ns, std::string_view what,
                                        std::string_view value);
  void AddConditions(std::string_view ns, NodeId holder, std::string_view what,
                     std::string_view value);
  void AddResources(size_t number, const std::vector<CollectedResource>& resources);

  uint32_t SpaceOf(NodeKind kind, std::string_view ns, std::string_view name);
  NodeId Find(NodeKind kind, std::string_view ns, std::string_view name, std::string_view key);
  void AddEdge(NodeId from, NodeId to, EdgeKind kind) { nodes_[from].edges.push_back({to, kind}); }
  void AddRoot(NodeId id) { roots_.push_back(id); }
  // True: the date is over. Otherwise notes it as one to come back for. Not a date: never over.
  bool IsOver(std::string_view rfc3339);
  void NoteExpiry(Time when);

  void Mark(NodeId id, bool full);
  void Drain();

  const Time now_;
  std::vector<Node> nodes_;
  std::vector<Space> spaces_;
  std::map<std::tuple<NodeKind, std::string, std::string>, uint32_t> space_ids_;
  struct KeyHash {
    size_t operator()(const std::pair<uint32_t, std::string_view>& key) const {
      return std::hash<std::string_view>()(key.second) * 31 + key.first;
    }
  };
  std::unordered_map<std::pair<uint32_t, std::string_view>, NodeId, KeyHash> index_;
  std::vector<NodeId> roots_;
  std::vector<std::pair<NodeId, bool>> pending_;                   // to follow: node, in full
  std::unordered_map<NodeId, std::vector<Condition>> conditions_;  // by snapshot
  std::unordered_map<NodeId, Time> used_at_;                       // of snapshots
  std::map<std::string, size_t, std::less<>> collector_labels_;    // reference label -> number
  std::deque<std::string> copies_;  // keys that come from a passing transaction
  bool copy_keys_ = false;
  BackgroundWork* work_ = nullptr;  // while Build runs; borrowed
  bool touching_ = false;           // MarkTouched reads a row: only what it refers to counts
  std::optional<Time> next_expiry_;
};

}  // namespace corten::metadata
