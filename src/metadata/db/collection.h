// One run of the garbage collector. Internal to metadata/db; the story is in gc.h and
// docs/formats/metadata.md.
//
//   note     from now on writers note what they touch (touch_log.h)
//   mark     on a read transaction: writers go on
//   sweep    short write transactions: what was touched meanwhile is marked from, then a few dead
//   rows go backends what no row names any more is deleted there, unless somebody is about to name
//   it (pins.h)
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "metadata/db/core.h"
#include "metadata/db/gc.h"
#include "metadata/db/gc_graph.h"

namespace corten::metadata {

class Collection {
 public:
  Collection(DbCore* core, GcOptions options)
      : core_(core), options_(options), graph_(core->Clock()) {}
  // REQUIRES: no other run of this database is under way. Once.
  Result<GcStats> Run();

 private:
  Status MarkAndSweep();
  Status Mark(const bolt::Tx& tx);
  Status Sweep();
  Status SweepBatch(Mutation& mutation, std::chrono::steady_clock::time_point begin);
  Status DeleteRow(Mutation& mutation, GcGraph::NodeId id);
  Result<bool> MarkTouched(const bolt::Tx& tx, std::chrono::steady_clock::time_point begin);
  void RemoveResources();
  void CleanBackends();
  Status CleanContent();
  Status CleanIngests();
  Status CleanSnapshots(const std::string& name, SnapshotBackend& backend);

  DbCore* core_;
  const GcOptions options_;
  GcGraph graph_;
  GcStats stats_;
  std::vector<std::vector<GcGraph::NodeId>> dead_;
  size_t next_ = 0;               // group of dead_
  std::deque<NodeName> touched_;  // noted, not yet marked from
  bool abandoned_ = false;        // too much was touched: delete nothing more
};

}  // namespace corten::metadata
