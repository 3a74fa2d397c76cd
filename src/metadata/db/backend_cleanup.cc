// The last step of a collection: what no row names any more is deleted in the backends.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_set>

#include "base/background_work.h"
#include "base/failpoint.h"
#include "metadata/db/collection.h"
#include "metadata/db/snapshots.h"

namespace corten::metadata {

namespace {

template <typename F>
Status ForEachNamespace(const bolt::Tx& tx, F&& visit) {
  const MaybeBucket top = TRY(tx.FindBucket(key::kV1));
  if (!top) return Ok();
  return ForEachBucket(*top, [&](std::string_view, const bolt::Bucket& ns) { return visit(ns); });
}

// Every blob that a row or a shared ingest names, in all namespaces.
Result<std::unordered_set<std::string>> NamedBlobs(DbCore& core) {
  std::unordered_set<std::string> named;
  TRY(core.View([&](const bolt::Tx& tx) {
    return ForEachNamespace(tx, [&](const bolt::Bucket& ns) -> Status {
      const MaybeBucket blobs = TRY(FindPath(ns, {key::kContent, key::kBlob}));
      if (blobs) {
        TRY(blobs->ForEach([&](const bolt::Entry& entry) -> Status {
          named.emplace(entry.key);
          return Ok();
        }));
      }
      const MaybeBucket ingests = TRY(FindPath(ns, {key::kContent, key::kIngests}));
      if (!ingests) return Ok();
      return ForEachBucket(*ingests, [&](std::string_view, const bolt::Bucket& row) -> Status {
        const std::string_view expected = TRY(ReadBytes(row, key::kExpected));
        if (!expected.empty()) named.emplace(expected);
        return Ok();
      });
    });
  }));
  return named;
}

Result<std::unordered_set<std::string>> NamedIngests(DbCore& core) {
  std::unordered_set<std::string> named;
  TRY(core.View([&](const bolt::Tx& tx) {
    return ForEachNamespace(tx, [&](const bolt::Bucket& ns) -> Status {
      const MaybeBucket ingests = TRY(FindPath(ns, {key::kContent, key::kIngests}));
      if (!ingests) return Ok();
      return ForEachBucket(*ingests, [&](std::string_view, const bolt::Bucket& row) -> Status {
        const std::string_view ref = TRY(ReadBytes(row, key::kRef));
        named.emplace(ref);
        return Ok();
      });
    });
  }));
  return named;
}

Result<std::unordered_set<std::string>> NamedSnapshots(DbCore& core,
                                                       const std::string& snapshotter) {
  std::unordered_set<std::string> named;
  TRY(core.View([&](const bolt::Tx& tx) {
    return ForEachNamespace(tx, [&](const bolt::Bucket& ns) -> Status {
      const MaybeBucket rows = TRY(FindPath(ns, {key::kSnapshots, snapshotter}));
      if (!rows) return Ok();
      return ForEachBucket(*rows, [&](std::string_view, const bolt::Bucket& row) -> Status {
        const std::string_view name = TRY(ReadBytes(row, key::kName));
        named.emplace(name);
        return Ok();
      });
    });
  }));
  return named;
}

Status CleanedUp(snapshot::Snapshotter& driver) {
  Status cleaned = driver.Cleanup();
  if (!cleaned.ok() && cleaned.error().Is(Code::kUnimplemented)) return Ok();
  return cleaned;
}

constexpr size_t kWorkers = 8;  // a backend that commits in groups flushes once for all of them

// Runs `work` in up to kWorkers threads, this one included, for `items` things to do.
void InParallel(size_t items, const std::function<void()>& work) {
  std::vector<std::thread> others;
  for (size_t i = 1; i < std::min(kWorkers, items); ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

// The first of several failures.
class FirstError {
 public:
  void Note(const Status& status) {
    const std::lock_guard lock(mutex_);
    if (first_.ok() && !status.ok()) first_ = status.error().Clone();
  }
  Status Take() { return std::move(first_); }

 private:
  std::mutex mutex_;  // guards first_
  Status first_;
};

// Backend snapshots that no row names, each after all of its children. Any thread.
class SnapshotGarbage {
 public:
  SnapshotGarbage(const std::vector<std::pair<std::string, std::string>>& snapshots,
                  const std::unordered_set<std::string>& named) {
    for (const auto& [name, parent] : snapshots) {
      parents_[name] = parent;
      if (!parent.empty()) ++children_[parent];
      if (named.contains(name)) kept_.insert(name);
    }
    for (const auto& [name, parent] : snapshots) {
      if (children_[name] == 0 && !kept_.contains(name)) leaves_.push_back(name);
    }
  }
  size_t leaves() const { return leaves_.size(); }
  // The next one to remove, to be followed by Done; empty: none is left. Waits for those under way:
  // their parents may follow.
  std::string Next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !leaves_.empty() || under_way_ == 0; });
    if (leaves_.empty()) return {};
    std::string name = std::move(leaves_.back());
    leaves_.pop_back();
    ++under_way_;
    return name;
  }
  void Done(const std::string& name, bool removed) {
    {
      const std::lock_guard lock(mutex_);
      --under_way_;
      const std::string& parent = parents_[name];
      const bool last_child = removed && !parent.empty() && --children_[parent] == 0;
      if (last_child && parents_.contains(parent) && !kept_.contains(parent))
        leaves_.push_back(parent);
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::map<std::string, std::string> parents_;
  std::map<std::string, size_t> children_;
  std::set<std::string> kept_;
  std::vector<std::string> leaves_;
  size_t under_way_ = 0;
};

}  // namespace

void Collection::CleanBackends() {
  if (abandoned_) return;
  std::thread content;
  Status content_done;
  Status ingests_done;
  if (core_->options.content != nullptr &&
      (core_->content_dirty || stats_.removed_content > 0 || stats_.removed_ingests > 0)) {
    core_->content_dirty = false;
    content = std::thread([&] {
      content_done = CleanContent();
      ingests_done = CleanIngests();
    });
  }
  for (const auto& [name, backend] : core_->backends) {
    if (!backend->dirty.exchange(false)) continue;
    const Status done = CleanSnapshots(name, *backend);
    if (done.ok()) continue;
    stats_.trouble.emplace(StrCat("snapshotter ", name), done.error().text());
    backend->dirty = true;
  }
  if (content.joinable()) content.join();
  for (const Status* done : {&content_done, &ingests_done}) {
    if (done->ok()) continue;
    stats_.trouble.emplace("content", done->error().text());
    core_->content_dirty = true;
  }
}

Status Collection::CleanContent() {
  if (FAILPOINT_SKIPS("metadata.gc.content")) return Ok();
  content::Store& store = *core_->options.content;
  PinTable::Sweep sweep(&core_->digests);
  const std::unordered_set<std::string> named = TRY(NamedBlobs(*core_));
  std::vector<content::Info> garbage;
  BackgroundWork walk;
  TRY(store.Walk({}, [&](const content::Info& info) -> Status {
    walk.LetOthersRunNowAndThen();
    if (!named.contains(info.digest.str())) garbage.push_back(info);
    return Ok();
  }));
  FirstError first;
  std::atomic<size_t> next = 0;
  std::atomic<uint64_t> blobs = 0;
  std::atomic<uint64_t> bytes = 0;
  InParallel(garbage.size(), [&] {
    BackgroundWork work;
    for (size_t at = next++; at < garbage.size(); at = next++) {
      work.LetOthersRun();
      const content::Info& info = garbage[at];
      if (!sweep.TryClaim(info.digest.str())) {
        core_->content_dirty = true;  // its writer may fail yet
        continue;
      }
      FAILPOINT("metadata.gc.blob");
      const Status deleted = store.Delete(info.digest);
      sweep.Release(info.digest.str());
      if (deleted.ok()) {
        ++blobs;
        bytes += static_cast<uint64_t>(info.size);
      } else if (!deleted.error().Is(Code::kNotFound)) {
        first.Note(deleted);
      }
    }
  });
  stats_.freed_blobs += blobs;
  stats_.freed_bytes += bytes;
  return first.Take();
}

Status Collection::CleanIngests() {
  if (FAILPOINT_SKIPS("metadata.gc.ingests")) return Ok();
  content::Store& store = *core_->options.content;
  PinTable::Sweep sweep(&core_->ingests);
  const std::unordered_set<std::string> named = TRY(NamedIngests(*core_));
  const std::vector<content::IngestStatus> statuses = TRY(store.ListStatuses({}));
  Status first;
  for (const content::IngestStatus& status : statuses) {
    if (named.contains(status.ref)) continue;
    if (!sweep.TryClaim(status.ref)) {
      core_->content_dirty = true;
      continue;
    }
    Status aborted = store.Abort(status.ref);
    sweep.Release(status.ref);
    if (aborted.ok()) {
      ++stats_.freed_ingests;
    } else if (first.ok() && !aborted.error().Is(Code::kNotFound)) {
      first = std::move(aborted);
    }
  }
  return first;
}

Status Collection::CleanSnapshots(const std::string& name, SnapshotBackend& backend) {
  if (FAILPOINT_SKIPS("metadata.gc.snapshots")) return Ok();
  TRY(SettleIntents(*core_, name));
  PinTable::Sweep sweep(&backend.names);
  const std::unordered_set<std::string> named = TRY(NamedSnapshots(*core_, name));
  std::vector<std::pair<std::string, std::string>> snapshots;
  TRY(backend.driver->Walk({}, [&](const snapshot::Info& info) -> Status {
    snapshots.emplace_back(info.name, info.parent);
    return Ok();
  }));
  SnapshotGarbage garbage(snapshots, named);
  FirstError first;
  std::atomic<uint64_t> freed = 0;
  InParallel(garbage.leaves(), [&] {
    BackgroundWork work;
    for (std::string next = garbage.Next(); !next.empty(); next = garbage.Next()) {
      work.LetOthersRun();
      if (!sweep.TryClaim(next)) {
        backend.dirty = true;
        garbage.Done(next, /*removed=*/false);
        continue;
      }
      FAILPOINT("metadata.gc.snapshot");
      const Status removed = backend.driver->Remove(next);
      sweep.Release(next);
      freed += removed.ok() ? 1 : 0;
      if (!removed.ok() && removed.error().Is(Code::kFailedPrecondition)) {
        backend.dirty = true;  // somebody built on it just now
      } else if (!removed.ok() && !removed.error().Is(Code::kNotFound)) {
        first.Note(removed);
      }
      garbage.Done(next, removed.ok() || removed.error().Is(Code::kNotFound));
    }
  });
  stats_.freed_snapshots += freed;
  first.Note(CleanedUp(*backend.driver));
  return first.Take();
}

}  // namespace corten::metadata
