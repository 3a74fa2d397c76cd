// The last step of a collection: what no row names any more is deleted in the backends.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "base/background_work.h"
#include "base/failpoint.h"
#include "base/parallel.h"
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

// Two keep a disk busy that is told of each freed block, and leave a processor free now and then.
constexpr size_t kBlobThreads = 2;
// Snapshots that are claimed at a time, while who wants to name one of them waits.
constexpr size_t kSnapshotsAtOnce = 64;

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

// Backend snapshots that no row names and no kept one stands on, each behind all of its children.
std::vector<std::string> SnapshotGarbage(
    const std::vector<std::pair<std::string, std::string>>& snapshots,
    const std::unordered_set<std::string>& named) {
  std::unordered_map<std::string, std::string> parents;
  std::unordered_map<std::string, size_t> children;
  for (const auto& [name, parent] : snapshots) {
    parents.emplace(name, parent);
    if (!parent.empty()) ++children[parent];
  }
  std::vector<std::string> garbage;
  const auto take = [&](const std::string& name) {
    if (children[name] == 0 && !named.contains(name)) garbage.push_back(name);
  };
  for (const auto& [name, parent] : snapshots) take(name);
  for (size_t at = 0; at < garbage.size(); ++at) {
    const std::string parent = parents[garbage[at]];
    if (parent.empty() || --children[parent] > 0 || !parents.contains(parent)) continue;
    take(parent);
  }
  return garbage;
}

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
  InParallel(kBlobThreads, garbage.size(), [&] {
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
  BackgroundWork work;
  std::vector<std::pair<std::string, std::string>> snapshots;
  TRY(backend.driver->Walk({}, [&](const snapshot::Info& info) -> Status {
    work.LetOthersRunNowAndThen();
    snapshots.emplace_back(info.name, info.parent);
    return Ok();
  }));
  const std::vector<std::string> garbage = SnapshotGarbage(snapshots, named);
  FirstError first;
  for (size_t begin = 0; begin < garbage.size(); begin += kSnapshotsAtOnce) {
    work.LetOthersRun();
    std::vector<std::string> claimed;
    for (size_t at = begin; at < std::min(begin + kSnapshotsAtOnce, garbage.size()); ++at) {
      if (sweep.TryClaim(garbage[at])) {
        claimed.push_back(garbage[at]);
      } else {
        backend.dirty = true;
      }
    }
    FAILPOINT("metadata.gc.snapshot");
    const std::vector<Status> removed = backend.driver->RemoveMany(claimed);
    for (const std::string& key : claimed) sweep.Release(key);
    for (const Status& status : removed) {
      if (status.ok()) {
        ++stats_.freed_snapshots;
      } else if (status.error().Is(Code::kFailedPrecondition)) {
        backend.dirty = true;  // somebody built on it just now
      } else if (!status.error().Is(Code::kNotFound)) {
        first.Note(status);
      }
    }
  }
  first.Note(CleanedUp(*backend.driver));
  return first.Take();
}

}  // namespace corten::metadata
