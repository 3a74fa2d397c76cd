#include "metadata/db/collection.h"

#include <algorithm>
#include <iterator>

#include "base/background_work.h"
#include "base/failpoint.h"

namespace corten::metadata {

namespace {
using SteadyClock = std::chrono::steady_clock;
constexpr size_t kMinTouchedPerBatch =
    64;  // rows read in one write transaction because writers touched them, whatever it takes
}  // namespace

Result<GcStats> Collection::Run() {
  const SteadyClock::time_point begin = SteadyClock::now();
  core_->touched.Begin();
  const Status swept = MarkAndSweep();
  core_->touched.End();
  TRY(swept.ok() ? Ok() : Status(swept.error().Clone()));
  RemoveResources();
  CleanBackends();
  stats_.next_expiry = graph_.next_expiry();
  stats_.duration = SteadyClock::now() - begin;
  return std::move(stats_);
}

Status Collection::MarkAndSweep() {
  const SteadyClock::time_point begin = SteadyClock::now();
  // The graph's keys are views into this transaction, so it stays open to the end of the sweep.
  const bolt::ReadTx tx = TRY(core_->db->BeginView());
  TRY(Mark(*tx));
  stats_.mark = SteadyClock::now() - begin;
  FAILPOINT("metadata.gc.marked");
  return Sweep();
}

Status Collection::Mark(const bolt::Tx& tx) {
  BackgroundWork work;  // writers go on meanwhile, with threads that wake each other
  GcGraph::Pinned pinned;
  for (const auto& [name, backend] : core_->backends) pinned.emplace(name, backend->names.Pinned());
  std::vector<std::vector<CollectedResource>> resources;
  std::vector<Collector*> collectors;
  for (Collector* collector : core_->collectors) {
    Result<std::vector<CollectedResource>> held = collector->Resources();
    if (!held.ok())
      stats_.trouble.emplace(StrCat("collector ", collector->ReferenceLabel()),
                             held.error().text());
    collectors.push_back(collector);
    resources.push_back(held.ok() ? std::move(*held) : std::vector<CollectedResource>());
  }
  TRY(graph_.Build(tx, pinned, collectors, resources, work));
  for (GcGraph::NodeId id = 0; id < graph_.size(); ++id) {
    stats_.nodes += graph_.node(id).exists ? 1 : 0;
    stats_.live += graph_.node(id).exists && graph_.node(id).live() ? 1 : 0;
  }
  dead_ = graph_.Dead(work);
  return Ok();
}

// Marks from what writers touched, some per transaction. True: all of it is done, rows may be
// deleted.
Result<bool> Collection::MarkTouched(const bolt::Tx& tx, SteadyClock::time_point begin) {
  std::vector<NodeName> taken;
  if (!core_->touched.Take(&taken)) abandoned_ = true;
  touched_.insert(touched_.end(), std::make_move_iterator(taken.begin()),
                  std::make_move_iterator(taken.end()));
  for (size_t i = 0; !touched_.empty() &&
                     (i < kMinTouchedPerBatch || SteadyClock::now() - begin < options_.batch_time);
       ++i) {
    TRY(graph_.MarkTouched(tx, touched_.front()));
    touched_.pop_front();
  }
  return touched_.empty();
}

Status Collection::Sweep() {
  while (next_ < dead_.size() && !abandoned_) {
    std::vector<Change> changes;
    {
      TouchLog::Session session(&core_->touched);
      TRY(core_->db->Update([&](bolt::Tx& tx) -> Status {
        const SteadyClock::time_point begin = SteadyClock::now();
        Mutation mutation(tx, session, &changes);
        const Status done = SweepBatch(mutation, begin);
        const std::chrono::nanoseconds pause = SteadyClock::now() - begin;
        stats_.pause += pause;
        stats_.longest_pause = std::max(stats_.longest_pause, pause);
        return done.ok() ? Ok() : Status(done.error().Clone());
      }));
    }
    FAILPOINT("metadata.gc.batch");
    if (core_->options.observer) {
      for (const Change& change : changes) core_->options.observer(change);
    }
  }
  return Ok();
}

// Whole groups until the bounds are reached: what is deleted never leaves behind somebody who
// refers to it.
Status Collection::SweepBatch(Mutation& mutation, SteadyClock::time_point begin) {
  const bool marked = TRY(MarkTouched(mutation.tx, begin));
  if (!marked) return Ok();
  for (size_t rows = 0; next_ < dead_.size() && !abandoned_ && rows < options_.batch_rows;
       ++next_) {
    for (const GcGraph::NodeId id : dead_[next_]) {
      if (graph_.node(id).live() || graph_.space(id).kind == NodeKind::kCollected) continue;
      TRY(DeleteRow(mutation, id));
      ++rows;
    }
    if (rows > 0 && SteadyClock::now() - begin >= options_.batch_time) {
      ++next_;
      break;
    }
  }
  return Ok();
}

Status Collection::DeleteRow(Mutation& mutation, GcGraph::NodeId id) {
  const GcGraph::Space& space = graph_.space(id);
  const std::string_view key = graph_.node(id).key;
  const model::Namespace ns(space.ns);
  const auto remove = [&](std::initializer_list<std::string_view> path,
                          uint64_t* count) -> Result<bool> {
    MaybeBucket rows = TRY(FindIn(mutation.tx, ns, path));
    MaybeBucket row;
    if (rows) row = TRY(rows->FindBucket(key));
    if (!row) return false;  // its owner was faster
    if (space.kind == NodeKind::kSnapshot) {
      TRY(DeleteSnapshotRow(*rows, key));
    } else {
      TRY(rows->DeleteBucket(key));
    }
    ++*count;
    return true;
  };
  Change change;
  change.ns = ns;
  change.name = key;
  switch (space.kind) {
    case NodeKind::kLease:
      TRY(remove({key::kLeases}, &stats_.removed_leases));
      break;
    case NodeKind::kContent:
      TRY(remove({key::kContent, key::kBlob}, &stats_.removed_content));
      break;
    case NodeKind::kIngest:
      TRY(remove({key::kContent, key::kIngests}, &stats_.removed_ingests));
      break;
    case NodeKind::kImage: {
      const bool removed = TRY(remove({key::kImages}, &stats_.removed_images));
      change.kind = Change::Kind::kImageDelete;
      if (removed) mutation.Emit(std::move(change));
      break;
    }
    case NodeKind::kSnapshot: {
      const bool removed = TRY(remove({key::kSnapshots, space.name}, &stats_.removed_snapshots));
      change.kind = Change::Kind::kSnapshotRemove;
      change.snapshotter = space.name;
      if (removed) mutation.Emit(std::move(change));
      if (const auto backend = core_->backends.find(space.name); backend != core_->backends.end())
        backend->second->dirty = true;
      break;
    }
    case NodeKind::kContainer:
    case NodeKind::kSandbox:
    case NodeKind::kCollected:
      break;
  }
  return Ok();
}

void Collection::RemoveResources() {
  if (abandoned_) return;
  for (const std::vector<GcGraph::NodeId>& group : dead_) {
    for (const GcGraph::NodeId id : group) {
      if (graph_.node(id).live() || graph_.space(id).kind != NodeKind::kCollected) continue;
      uint64_t number = 0;
      CHECK(ParseU64(graph_.space(id).name, &number) && number < core_->collectors.size());
      Collector* collector = core_->collectors[number];
      const Status removed = collector->Remove(model::Namespace(graph_.space(id).ns),
                                               std::string(graph_.node(id).key));
      if (removed.ok()) {
        ++stats_.removed_resources;
      } else if (!removed.error().Is(Code::kNotFound)) {
        stats_.trouble.emplace(StrCat("collector ", collector->ReferenceLabel()),
                               removed.error().text());
      }
    }
  }
}

}  // namespace corten::metadata
