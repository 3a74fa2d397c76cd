// What all stores of one database share: the file, the backends, the locks, and the way a mutation
// is made. Internal to metadata/db.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "bolt/db.h"
#include "metadata/changes.h"
#include "metadata/db/database.h"
#include "metadata/db/pins.h"
#include "metadata/db/schema.h"
#include "metadata/db/touch_log.h"
#include "model/filter.h"
#include "model/scope.h"

namespace corten::metadata {

// The work of one call inside a write transaction.
class Mutation {
 public:
  Mutation(bolt::Tx& transaction, TouchLog::Session& session, std::vector<Change>* changes)
      : tx(transaction), session_(session), changes_(changes) {}

  bolt::Tx& tx;
  bool is_deletion = false;    // counts as one for the scheduler
  std::optional<Time> expiry;  // of what was written, if it has one

  // Says that a row was made or changed, or is held by a lease from now on.
  void Touch(NodeKind kind, const model::Namespace& ns, std::string_view key,
             std::string_view space = {}) {
    if (session_.noting()) session_.Note({kind, ns.str(), std::string(space), std::string(key)});
  }
  // If the labels have a date, the row lives until then.
  void NoteExpiry(const model::Labels& labels);
  void Emit(Change change) { changes_->push_back(std::move(change)); }

 private:
  TouchLog::Session& session_;
  std::vector<Change>* changes_;
};

// A snapshot commit whose row may be missing. Kept in the intents file as long as it is not
// settled.
struct CommitIntent {
  model::Namespace ns;
  std::string snapshotter;
  std::string key;  // of the active row
  std::string key_backend;
  std::string name;  // of the committed row
  std::string name_backend;
  std::string parent;     // metadata key; empty: none
  uint64_t sequence = 0;  // in name_backend
  model::Labels labels;
  Time time;
  model::LeaseId lease;
};

struct SnapshotBackend {
  snapshot::Snapshotter* driver = nullptr;
  PinTable names;  // backend names about to get a row
  KeyLocks keys;   // "NAMESPACE/KEY": calls on one metadata key
  std::atomic<bool> dirty{
      true};         // may hold what no row names; true at start: nobody knows what a crash left
  std::mutex mutex;  // guards what follows; held while a recovery asks the driver
  std::map<std::string, uint64_t> sequences;  // namespace -> last number given out by this process
  std::map<std::string, CommitIntent> intents;  // unsettled ones, by their key in the intents file
  std::vector<std::string>
      settled;  // keys in that file that the next one to write there may delete
  std::atomic<bool> unsettled{false};  // intents is not empty; settle them before anything else
};

class DbCore {
 public:
  explicit DbCore(DatabaseOptions opts);

  const DatabaseOptions options;
  std::unique_ptr<bolt::Db> db;
  std::map<std::string, std::unique_ptr<SnapshotBackend>> backends;  // set at open
  TouchLog touched;
  PinTable digests;
  PinTable ingests;      // backend refs
  KeyLocks ingest_refs;  // "NAMESPACE/REF"
  std::atomic<bool> content_dirty{true};
  std::vector<Collector*> collectors;
  std::mutex collection;  // one run at a time
  Database::Hooks hooks;
  std::function<Status()> collect_now;  // what synchronous calls do when no hook is set

  Time Clock() const { return options.clock(); }

  // Runs `fn` on the last committed state.
  template <typename F>
  Status View(F&& fn) {
    return db->View(std::forward<F>(fn));
  }
  // Runs `fn` in a write transaction; after the commit tells the observer and the scheduler.
  Status Update(const std::function<Status(Mutation&)>& fn);
  // The same without a thread that waits; `done` runs once, after everybody was told, in any
  // thread.
  void UpdateLater(std::function<Status(Mutation&)> fn, std::function<void(Status)> done);

  // What a call with `synchronous` waits for.
  Status WaitForCollection();

  // The intents file, opened at the first use.
  Result<bolt::Db*> Intents();
  bool HasIntentsFile() const;

 private:
  // What one mutation has told about itself.
  struct Told {
    std::vector<Change> changes;
    bool deletion = false;
    std::optional<Time> expiry;
  };
  static Status Mutate(bolt::Tx& tx, TouchLog::Session& session,
                       const std::function<Status(Mutation&)>& fn, Told* told);
  void Tell(const Told& told);

  std::mutex intents_mutex_;  // guards intents_ while it is opened
  std::unique_ptr<bolt::Db> intents_;
};

// kNotFound `lease does not exist`, if the scope names one that is not there.
Status CheckLease(const bolt::Tx& tx, const model::Scope& scope);
// Adds a member to the scope's lease. True: it has one. kNotFound `lease does not exist`.
// `space` is the snapshotter for snapshots.
Result<bool> AddLeaseMember(Mutation& mutation, const model::Scope& scope, NodeKind kind,
                            std::string_view key, std::string_view space = {});
// Takes it out again; no error if it is not in there.
Status RemoveLeaseMember(Mutation& mutation, const model::Scope& scope, NodeKind kind,
                         std::string_view key, std::string_view space = {});

// Removes the row of a snapshot and its name from its parent's children. REQUIRES: the row exists
// in `snapshots` (v1/NS/snapshots/SNAPSHOTTER).
Status DeleteSnapshotRow(bolt::Bucket snapshots, std::string_view key);

}  // namespace corten::metadata
