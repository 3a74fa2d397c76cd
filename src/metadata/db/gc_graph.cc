#include "metadata/db/gc_graph.h"

#include <algorithm>

#include "metadata/db/codec.h"
#include "metadata/db/schema.h"

namespace corten::metadata {

namespace {

// What follows `word` in `text` if that begins with word, and nothing, '.' or '/' stands behind it.
bool StartsWithWord(std::string_view text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  return text.size() == word.size() || text[word.size()] == '.' || text[word.size()] == '/';
}

// The snapshotter in "snapshot.NAME" or "snapshot.NAME/anything"; empty if there is none.
std::string_view SnapshotterIn(std::string_view what) {
  constexpr std::string_view kSnapshotDot = "snapshot.";
  if (!what.starts_with(kSnapshotDot)) return {};
  what.remove_prefix(kSnapshotDot.size());
  return what.substr(0, what.find('/'));
}

int64_t NanosBetween(Time from, Time to) {
  return (to.seconds - from.seconds) * 1000000000 + to.nanos - from.nanos;
}

}  // namespace

uint32_t GcGraph::SpaceOf(NodeKind kind, std::string_view ns, std::string_view name) {
  // Consecutive questions are nearly always about the same space.
  if (!spaces_.empty()) {
    const Space& last = spaces_.back();
    if (last.kind == kind && last.ns == ns && last.name == name)
      return static_cast<uint32_t>(spaces_.size() - 1);
  }
  const auto [at, is_new] = space_ids_.try_emplace({kind, std::string(ns), std::string(name)},
                                                   static_cast<uint32_t>(spaces_.size()));
  if (is_new) spaces_.push_back({kind, std::string(ns), std::string(name)});
  return at->second;
}

GcGraph::NodeId GcGraph::Find(NodeKind kind, std::string_view ns, std::string_view name,
                              std::string_view key) {
  if (work_ != nullptr) work_->LetOthersRunNowAndThen();
  const uint32_t space = SpaceOf(kind, ns, name);
  const auto found = index_.find({space, key});
  if (found != index_.end()) return found->second;
  if (copy_keys_) key = copies_.emplace_back(key);
  const auto id = static_cast<NodeId>(nodes_.size());
  index_.emplace(std::pair(space, key), id);
  Node& node = nodes_.emplace_back();
  node.space = space;
  node.key = key;
  return id;
}

void GcGraph::NoteExpiry(Time when) {
  if (!next_expiry_ || when < *next_expiry_) next_expiry_ = when;
}

bool GcGraph::IsOver(std::string_view rfc3339) {
  const Result<Time> when = ParseRfc3339(rfc3339);
  if (!when.ok()) return false;
  if (*when < now_) return true;
  NoteExpiry(*when);
  return false;
}

// The object that a reference names: `what` is the label behind its prefix.
std::optional<GcGraph::NodeId> GcGraph::ReferenceTarget(std::string_view ns, std::string_view what,
                                                        std::string_view value) {
  if (const std::string_view snapshotter = SnapshotterIn(what); !snapshotter.empty()) {
    return Find(NodeKind::kSnapshot, ns, snapshotter, value);
  }
  if (StartsWithWord(what, "content")) return Find(NodeKind::kContent, ns, {}, value);
  if (StartsWithWord(what, "image")) return Find(NodeKind::kImage, ns, {}, value);
  return std::nullopt;
}

void GcGraph::AddConditions(std::string_view ns, NodeId holder, std::string_view what,
                            std::string_view value) {
  const std::string_view snapshotter = what.substr(0, what.find('/'));
  constexpr std::string_view kUsed = "usedat";
  while (!value.empty() && !snapshotter.empty()) {
    const size_t comma = value.find(',');
    std::string_view one = value.substr(0, comma);
    value.remove_prefix(comma == std::string_view::npos ? value.size() : comma + 1);
    if (!one.starts_with(kUsed) || one.size() < kUsed.size() + 2) continue;
    const char op = one[kUsed.size()];
    one.remove_prefix(kUsed.size() + 1);
    const size_t bar = one.find('|');
    if ((op != '<' && op != '>') || bar == std::string_view::npos) continue;
    const Result<int64_t> age = ParseDuration(one.substr(0, bar));
    if (!age.ok()) continue;
    const NodeId snapshot = Find(NodeKind::kSnapshot, ns, snapshotter, one.substr(bar + 1));
    conditions_[snapshot].push_back({holder, op == '<', *age});
  }
}

void GcGraph::AddLabel(std::string_view ns, NodeId id, std::string_view label,
                       std::string_view value) {
  const NodeKind kind = spaces_[nodes_[id].space].kind;
  if (label.starts_with(gc_label::kRef)) {
    const std::string_view what = label.substr(gc_label::kRef.size());
    std::optional<NodeId> target = ReferenceTarget(ns, what, value);
    for (const auto& [word, number] : collector_labels_) {
      if (!target && StartsWithWord(what, word))
        target = Find(NodeKind::kCollected, ns, StrCat(number), value);
    }
    if (target) AddEdge(id, *target, EdgeKind::kReference);
    return;
  }
  if (touching_) return;  // the row lives in any case: what follows are reasons for it to live
  if (label.starts_with(gc_label::kBackRef)) {
    const std::string_view what = label.substr(gc_label::kBackRef.size());
    std::optional<NodeId> object = ReferenceTarget(ns, what, value);
    if (!object && StartsWithWord(what, "container"))
      object = Find(NodeKind::kContainer, ns, {}, value);
    if (object) AddEdge(*object, id, EdgeKind::kBack);
  } else if (label.starts_with(gc_label::kRoot)) {
    if (kind == NodeKind::kContent || kind == NodeKind::kSnapshot) AddRoot(id);
  } else if (label.starts_with(gc_label::kCondSnapshot)) {
    if (kind == NodeKind::kContent || kind == NodeKind::kImage)
      AddConditions(ns, id, label.substr(gc_label::kCondSnapshot.size()), value);
  }
}

Status GcGraph::ReadLabels(std::string_view ns, NodeId id, const bolt::Bucket& row) {
  const MaybeBucket labels = TRY(row.FindBucket(key::kLabels));
  if (!labels) return Ok();
  bolt::Cursor cursor = labels->NewCursor();
  std::optional<bolt::Entry> entry = TRY(cursor.Seek(gc_label::kPrefix));
  while (entry && entry->key.starts_with(gc_label::kPrefix)) {
    AddLabel(ns, id, entry->key, entry->value);
    entry = TRY(cursor.Next());
  }
  return Ok();
}

Status GcGraph::ReadContainer(std::string_view ns, NodeId id, const bolt::Bucket& row) {
  const std::string_view snapshotter = TRY(ReadBytes(row, key::kSnapshotter));
  const std::string_view snapshot = TRY(ReadBytes(row, key::kSnapshotKey));
  if (!snapshotter.empty() && !snapshot.empty()) {
    const NodeId target = Find(NodeKind::kSnapshot, ns, snapshotter, snapshot);
    AddEdge(id, target, EdgeKind::kReference);
  }
  return ReadLabels(ns, id, row);
}

Status GcGraph::ReadImage(std::string_view ns, NodeId id, const bolt::Bucket& row) {
  const MaybeBucket target = TRY(row.FindBucket(key::kTarget));
  if (target) {
    const std::string_view digest = TRY(ReadBytes(*target, key::kDigest));
    const NodeId blob = Find(NodeKind::kContent, ns, {}, digest);
    AddEdge(id, blob, EdgeKind::kStructure);
  }
  TRY(ReadLabels(ns, id, row));
  const std::optional<std::string_view> expire = TRY(ReadLabel(row, gc_label::kExpire));
  if (!touching_ && (!expire || !IsOver(*expire))) AddRoot(id);
  return Ok();
}

Status GcGraph::ReadContent(std::string_view ns, NodeId id, const bolt::Bucket& row) {
  return ReadLabels(ns, id, row);
}

Status GcGraph::ReadIngest(std::string_view ns, NodeId id, const bolt::Bucket& row) {
  const std::string_view expected = TRY(ReadBytes(row, key::kExpected));
  if (!expected.empty()) {
    const NodeId blob = Find(NodeKind::kContent, ns, {}, expected);
    AddEdge(id, blob, EdgeKind::kStructure);
  }
  const std::optional<std::string_view> expire = TRY(row.Find(key::kExpireAt));
  if (touching_ || !expire) return Ok();
  const Time when = TRY(DecodeTime(*expire));
  if (when < now_) return Ok();
  NoteExpiry(when);
  AddRoot(id);
  return Ok();
}

Status GcGraph::ReadSnapshot(std::string_view ns, std::string_view snapshotter, NodeId id,
                             const bolt::Bucket& row) {
  const std::string_view parent = TRY(ReadBytes(row, key::kParent));
  if (!parent.empty()) {
    const NodeId target = Find(NodeKind::kSnapshot, ns, snapshotter, parent);
    AddEdge(id, target, EdgeKind::kStructure);
  }
  TRY(ReadLabels(ns, id, row));
  const std::optional<std::string_view> used = TRY(ReadLabel(row, gc_label::kUsedAt));
  const Result<Time> when = used ? ParseRfc3339(*used) : Result<Time>(kZeroTime);
  if (used && when.ok()) {
    used_at_[id] = *when;
  } else {
    used_at_.erase(id);
  }
  return Ok();
}

Status GcGraph::ReadLease(std::string_view ns, NodeId id, const bolt::Bucket& row) {
  const std::optional<std::string_view> expire = TRY(ReadLabel(row, gc_label::kExpire));
  const std::optional<std::string_view> flat = TRY(ReadLabel(row, gc_label::kFlat));
  const EdgeKind hold = flat ? EdgeKind::kFlatHold : EdgeKind::kHold;
  const auto members = [&](const bolt::Bucket& bucket, NodeKind kind, std::string_view name) {
    return bucket.ForEach([&](const bolt::Entry& entry) -> Status {
      if (entry.is_bucket) return Ok();
      const NodeId member = Find(kind, ns, name, entry.key);
      AddEdge(id, member, hold);
      return Ok();
    });
  };
  const std::pair<std::string_view, NodeKind> kinds[] = {{key::kContent, NodeKind::kContent},
                                                         {key::kImages, NodeKind::kImage},
                                                         {key::kIngests, NodeKind::kIngest}};
  for (const auto& [name, kind] : kinds) {
    const MaybeBucket bucket = TRY(row.FindBucket(name));
    if (bucket) TRY(members(*bucket, kind, {}));
  }
  const MaybeBucket snapshots = TRY(row.FindBucket(key::kSnapshots));
  if (snapshots) {
    TRY(ForEachBucket(*snapshots, [&](std::string_view name, const bolt::Bucket& bucket) {
      return members(bucket, NodeKind::kSnapshot, name);
    }));
  }
  if (!expire || !IsOver(*expire)) AddRoot(id);
  return Ok();
}

Status GcGraph::ReadNamespace(const bolt::Tx& tx, std::string_view ns, const Pinned& pinned) {
  const MaybeBucket top = TRY(FindPath(tx.Root(), {key::kV1, ns}));
  const auto each = [&](std::initializer_list<std::string_view> path, NodeKind kind,
                        auto read) -> Status {
    const MaybeBucket rows = TRY(FindPath(*top, path));
    if (!rows) return Ok();
    return ForEachBucket(*rows, [&](std::string_view key, const bolt::Bucket& row) -> Status {
      const NodeId id = Find(kind, ns, {}, key);
      nodes_[id].exists = true;
      return read(id, row);
    });
  };
  TRY(each({key::kLeases}, NodeKind::kLease,
           [&](NodeId id, const bolt::Bucket& row) { return ReadLease(ns, id, row); }));
  TRY(each({key::kImages}, NodeKind::kImage,
           [&](NodeId id, const bolt::Bucket& row) { return ReadImage(ns, id, row); }));
  TRY(each({key::kContainers}, NodeKind::kContainer, [&](NodeId id, const bolt::Bucket& row) {
    AddRoot(id);
    return ReadContainer(ns, id, row);
  }));
  TRY(each({key::kSandboxes}, NodeKind::kSandbox, [&](NodeId id, const bolt::Bucket& row) {
    AddRoot(id);
    return ReadLabels(ns, id, row);
  }));
  TRY(each({key::kContent, key::kBlob}, NodeKind::kContent,
           [&](NodeId id, const bolt::Bucket& row) { return ReadContent(ns, id, row); }));
  TRY(each({key::kContent, key::kIngests}, NodeKind::kIngest,
           [&](NodeId id, const bolt::Bucket& row) { return ReadIngest(ns, id, row); }));
  const MaybeBucket snapshotters = TRY(top->FindBucket(key::kSnapshots));
  if (!snapshotters) return Ok();
  return ForEachBucket(
      *snapshotters, [&](std::string_view snapshotter, const bolt::Bucket& rows) -> Status {
        const auto names = pinned.find(snapshotter);
        return ForEachBucket(rows, [&](std::string_view key, const bolt::Bucket& row) -> Status {
          const NodeId id = Find(NodeKind::kSnapshot, ns, snapshotter, key);
          nodes_[id].exists = true;
          if (names != pinned.end() && !names->second.empty()) {
            const std::string_view name = TRY(ReadBytes(row, key::kName));
            if (names->second.contains(std::string(name))) AddRoot(id);
          }
          return ReadSnapshot(ns, snapshotter, id, row);
        });
      });
}

void GcGraph::AddResources(size_t number, const std::vector<CollectedResource>& resources) {
  for (const CollectedResource& resource : resources) {
    const NodeId id = Find(NodeKind::kCollected, resource.ns.str(), StrCat(number), resource.key);
    nodes_[id].exists = true;
    if (resource.active) AddRoot(id);
    for (const model::LeaseId& lease : resource.leases) {
      const NodeId holder = Find(NodeKind::kLease, resource.ns.str(), {}, lease.str());
      AddEdge(holder, id, EdgeKind::kHold);
    }
    for (const auto& [label, value] : resource.labels) {
      if (std::string_view(label).starts_with(gc_label::kBackRef))
        AddLabel(resource.ns.str(), id, label, value);
    }
  }
}

Status GcGraph::Build(const bolt::Tx& tx, const Pinned& pinned,
                      const std::vector<Collector*>& collectors,
                      const std::vector<std::vector<CollectedResource>>& resources,
                      BackgroundWork& work) {
  work_ = &work;
  Status built = ReadAndMark(tx, pinned, collectors, resources);
  work_ = nullptr;
  return built;
}

Status GcGraph::ReadAndMark(const bolt::Tx& tx, const Pinned& pinned,
                            const std::vector<Collector*>& collectors,
                            const std::vector<std::vector<CollectedResource>>& resources) {
  for (size_t i = 0; i < collectors.size(); ++i) {
    const std::string label = collectors[i]->ReferenceLabel();
    if (!label.empty()) collector_labels_.emplace(label, i);
  }
  const MaybeBucket top = TRY(tx.FindBucket(key::kV1));
  if (top) {
    TRY(top->ForEach([&](const bolt::Entry& entry) -> Status {
      return entry.is_bucket ? ReadNamespace(tx, entry.key, pinned) : Ok();
    }));
  }
  copy_keys_ = true;
  for (size_t i = 0; i < resources.size(); ++i) AddResources(i, resources[i]);
  for (const NodeId root : roots_) Mark(root, /*full=*/true);
  Drain();
  return Ok();
}

void GcGraph::Mark(NodeId id, bool full) {
  Node& node = nodes_[id];
  if (node.full || (node.flat && !full)) return;
  (full ? node.full : node.flat) = true;
  pending_.emplace_back(id, full);
}

// Follows all that is pending.
void GcGraph::Drain() {
  while (!pending_.empty()) {
    if (work_ != nullptr) work_->LetOthersRunNowAndThen();
    const auto [id, full] = pending_.back();
    pending_.pop_back();
    if (!nodes_[id].exists) continue;  // what is only named keeps nothing
    for (const Edge& edge : nodes_[id].edges) {
      switch (edge.kind) {
        case EdgeKind::kStructure:
          Mark(edge.to, full);
          break;
        case EdgeKind::kReference:
          if (full) Mark(edge.to, true);
          break;
        case EdgeKind::kBack:
        case EdgeKind::kHold:
          Mark(edge.to, true);
          break;
        case EdgeKind::kFlatHold:
          Mark(edge.to, false);
          break;
      }
    }
    const auto conditions = conditions_.find(id);
    if (conditions == conditions_.end()) continue;
    const auto used = used_at_.find(id);
    if (used == used_at_.end()) continue;
    const int64_t age = NanosBetween(used->second, now_);
    for (const Condition& condition : conditions->second) {
      if (condition.less ? age >= condition.age_nanos : age <= condition.age_nanos) continue;
      if (condition.less) NoteExpiry(AddNanos(used->second, condition.age_nanos));
      Mark(condition.holder, true);
    }
  }
}

Status GcGraph::MarkTouched(const bolt::Tx& tx, const NodeName& name) {
  const NodeId id = Find(name.kind, name.ns, name.space, name.key);
  const model::Namespace ns(name.ns);
  // What the row refers to now; what refers back to it stands in other rows and is as it was, or
  // touched too.
  std::erase_if(nodes_[id].edges, [](const Edge& edge) { return edge.kind != EdgeKind::kBack; });
  touching_ = true;
  const auto read = [&](std::initializer_list<std::string_view> path, auto reader) -> Status {
    const MaybeBucket row = TRY(FindIn(tx, ns, path));
    if (!row) return Ok();
    nodes_[id].exists = true;
    return reader(*row);
  };
  Status done;
  switch (name.kind) {
    case NodeKind::kContainer:
      done = read({key::kContainers, name.key},
                  [&](const bolt::Bucket& row) { return ReadContainer(name.ns, id, row); });
      break;
    case NodeKind::kSandbox:
      done = read({key::kSandboxes, name.key},
                  [&](const bolt::Bucket& row) { return ReadLabels(name.ns, id, row); });
      break;
    case NodeKind::kImage:
      done = read({key::kImages, name.key},
                  [&](const bolt::Bucket& row) { return ReadImage(name.ns, id, row); });
      break;
    case NodeKind::kContent:
      done = read({key::kContent, key::kBlob, name.key},
                  [&](const bolt::Bucket& row) { return ReadContent(name.ns, id, row); });
      break;
    case NodeKind::kIngest:
      done = read({key::kContent, key::kIngests, name.key},
                  [&](const bolt::Bucket& row) { return ReadIngest(name.ns, id, row); });
      break;
    case NodeKind::kSnapshot:
      done = read({key::kSnapshots, name.space, name.key}, [&](const bolt::Bucket& row) {
        return ReadSnapshot(name.ns, name.space, id, row);
      });
      break;
    case NodeKind::kLease:  // its members are touched one by one
    case NodeKind::kCollected:
      break;
  }
  touching_ = false;
  nodes_[id].full = true;
  pending_.emplace_back(id, true);
  Drain();
  return done;
}

std::vector<std::vector<GcGraph::NodeId>> GcGraph::Dead(BackgroundWork& work) const {
  const auto dead = [&](NodeId id) {
    const NodeKind kind = spaces_[nodes_[id].space].kind;
    return nodes_[id].exists && !nodes_[id].live() && kind != NodeKind::kContainer &&
           kind != NodeKind::kSandbox;
  };
  // Strongly connected components after Tarjan, without recursion: they come out targets first.
  constexpr uint32_t kUnseen = 0xFFFFFFFF;
  std::vector<uint32_t> number(nodes_.size(), kUnseen);
  std::vector<uint32_t> low(nodes_.size(), 0);
  std::vector<bool> on_stack(nodes_.size(), false);
  std::vector<NodeId> stack;
  std::vector<std::pair<NodeId, size_t>> path;  // node, next edge
  std::vector<std::vector<NodeId>> groups;
  uint32_t counter = 0;
  for (NodeId start = 0; start < nodes_.size(); ++start) {
    if (number[start] != kUnseen || !dead(start)) continue;
    path.emplace_back(start, 0);
    while (!path.empty()) {
      work.LetOthersRunNowAndThen();
      const NodeId at = path.back().first;
      if (path.back().second == 0) {
        number[at] = low[at] = counter++;
        stack.push_back(at);
        on_stack[at] = true;
      }
      bool deeper = false;
      while (path.back().second < nodes_[at].edges.size()) {
        const NodeId to = nodes_[at].edges[path.back().second++].to;
        if (!dead(to)) continue;
        if (number[to] == kUnseen) {
          path.emplace_back(to, 0);
          deeper = true;
          break;
        }
        if (on_stack[to]) low[at] = std::min(low[at], number[to]);
      }
      if (deeper) continue;
      path.pop_back();
      if (!path.empty()) low[path.back().first] = std::min(low[path.back().first], low[at]);
      if (low[at] != number[at]) continue;
      std::vector<NodeId>& group = groups.emplace_back();
      NodeId member = 0;
      do {
        member = stack.back();
        stack.pop_back();
        on_stack[member] = false;
        group.push_back(member);
      } while (member != at);
    }
  }
  std::reverse(groups.begin(), groups.end());
  return groups;
}

}  // namespace corten::metadata
