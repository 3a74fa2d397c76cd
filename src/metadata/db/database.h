// The daemon's database: every object of every namespace in one bolt file, exactly as
// containerd 2.3 keeps them (schema v1, version 4), over one content backend and named snapshot
// backends.
//
// Life cycle: Open (migrates older schemas, finishes snapshot commits that a crash cut in two) ->
// any calls from any threads -> destruction, when no call is running and no view that was handed
// out is left.
//
// Order (I1, I2, I5): no backend is called inside a transaction.
//   content   the backend makes the blob durable, then a short transaction writes the row. In
//   between an in-process pin
//             on the digest keeps the collector off; a crash there leaves a blob without a row:
//             garbage.
//   Prepare   a read finds the parent, the backend creates `ns/SEQ/key` under a pin, one
//   transaction writes row, lease
//             member and sequence. A crash in between leaves a backend snapshot without a row:
//             garbage. Its sequence number may be drawn again; a backend that says "already exists"
//             for a name without row gets the next number.
//   Commit    the intent (all that the new row needs) becomes durable in `intents_path`, the
//   backend commits, one
//             transaction replaces the row, the intent is dropped. A crash before the backend's
//             commit leaves the key as before; after it, Open (or the next use of that snapshotter,
//             if its backend is away at Open) finds the committed backend snapshot through the
//             intent and writes the row: as after. Never a row without backend.
//   Remove    the row goes in one transaction, the backend snapshot at the next collection. Delete
//   of content: the same.
// Each mutation is durable when it returns (no_sync: it is not). Changes are told to the observer
// after the commit, in the order of the commits per caller; none is told for a call that failed.
// Rows that a call does not concern stay byte for byte what they were.
//
// Threads: all methods, any thread. Blocking: reads never wait for writers; writers wait for the
// group commit; calls on one snapshot key and on one ingest wait for each other; a call that names
// a digest or a backend snapshot which the collector is deleting in the backend just now waits for
// that one deletion. Source: metadata.md 1 to 7, 11.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "content/store.h"
#include "metadata/changes.h"
#include "metadata/collector.h"
#include "metadata/db/gc.h"
#include "metadata/scoped_stores.h"
#include "metadata/stores.h"
#include "model/scope.h"
#include "snapshot/snapshotter.h"

namespace corten::metadata {

enum class ContentSharing {
  kShared,    // a blob that the backend has is adopted by any namespace that names its digest
  kIsolated,  // only if a namespace labelled containerd.io/namespace.shareable=true has it
};

struct DatabaseOptions {
  std::string path;          // meta.db
  std::string intents_path;  // ours alone; empty: `path` with ".intents" behind it
  content::Store* content =
      nullptr;  // borrowed for the life of the database; null: content calls are kUnavailable
  std::map<std::string, snapshot::Snapshotter*> snapshotters;  // borrowed
  ContentSharing sharing = ContentSharing::kShared;
  ChangeObserver observer;  // may be empty
  WallClock clock = &Now;
  bool no_sync = false;
  std::chrono::milliseconds lock_timeout{
      0};  // for the file's lock; 0: try once, negative: wait for ever
  // Runs commits for which no caller waits (bolt::Options::runner); empty: callers always wait.
  std::function<bool(std::function<void()>)> runner;
};

class DbCore;  // internal

class Database final : public ScopedStores {
 public:
  // Errors: those of bolt::Db::Open (kUnavailable: another process holds the file; kDataLoss:
  // damaged), kDataLoss if a migration finds what it cannot read. A snapshot backend that fails
  // does not fail Open.
  static Result<std::unique_ptr<Database>> Open(DatabaseOptions options);
  ~Database() override;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  NamespaceStore& namespaces();
  ContainerStore& containers();
  ImageStore& images();
  LeaseStore& leases();
  SandboxStore& sandboxes();

  // One namespace's content on behalf of one call: cheap, made per request. What it creates or
  // finds joins `scope.lease`. Must not outlive the database; nor may its writers and readers.
  // Errors of its methods beyond content/store.h: kNotFound "lease does not exist" for an unknown
  // lease.
  std::unique_ptr<content::Store> Content(const model::Scope& scope) override;
  // The same for snapshots of backend `name`. kInvalidArgument: `snapshotter argument missing`,
  // `snapshotter not loaded: x`.
  Result<std::unique_ptr<snapshot::Snapshotter>> Snapshots(const model::Scope& scope,
                                                           const std::string& name) override;
  std::vector<std::string> SnapshotterNames() const;

  // Adds a party to every later collection. Before the first run; borrowed.
  void AddCollector(Collector* collector);

  // One run of the garbage collector in this thread; runs wait for each other. Writers go on: each
  // waits at most for one batch. Errors: the database's own. What the backends refused is in
  // GcStats::trouble.
  Result<GcStats> CollectGarbage(const GcOptions& options = {});

  // Tells `on_mutation(deletion)` after each committed write (a scheduler's trigger; must not
  // block) and `on_expiry` when a row was written that lives until a date, and asks `collect` where
  // a call wants to wait for a collection (deletes with `synchronous`); without it such calls run
  // CollectGarbage themselves. Set them once, before calls come in; empty functions detach them.
  struct Hooks {
    std::function<void(bool deletion)> on_mutation;
    std::function<void(Time when)> on_expiry;
    std::function<Status()> collect;
  };
  void SetHooks(Hooks hooks);

  // Writes the state of one moment to `path` (a new file), a valid database. For backups and
  // support. kAlreadyExists; errors of write(2).
  Status Backup(const std::string& path);

 private:
  struct Stores;
  explicit Database(std::unique_ptr<DbCore> core);
  std::unique_ptr<DbCore> core_;
  std::unique_ptr<Stores> stores_;
};

}  // namespace corten::metadata
