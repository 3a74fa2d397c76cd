// One namespace's snapshots: rows of the database over the snapshots of one backend (metadata.md 4
// and 6). Contract: snapshot/snapshotter.h. Internal to metadata/db; made per call.
//
// A key of a caller becomes NAMESPACE/SEQ/KEY in the backend. The order of rows and backend calls
// is told in database.h; the intents of commits are kept here.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "metadata/db/core.h"
#include "snapshot/snapshotter.h"

namespace corten::metadata {

class ScopedSnapshots final : public snapshot::Snapshotter {
 public:
  // REQUIRES: core has a backend `name`.
  ScopedSnapshots(DbCore* core, model::Scope scope, const std::string& name);

  Result<std::vector<model::Mount>> Prepare(const std::string& key, const std::string& parent,
                                            const model::Labels& labels) override;
  Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                         const model::Labels& labels) override;
  Result<std::vector<model::Mount>> Mounts(const std::string& key) override;
  Status Commit(const std::string& name, const std::string& key,
                const CommitOptions& options) override;
  Status Remove(const std::string& key) override;
  Result<snapshot::Info> Stat(const std::string& key) override;
  Result<snapshot::Info> Update(const snapshot::Info& info,
                                const snapshot::FieldPaths& paths) override;
  Status Walk(const snapshot::Filters& filters,
              const std::function<Status(const snapshot::Info&)>& visit) override;
  Result<snapshot::Usage> GetUsage(const std::string& key) override;
  Status Cleanup() override;

  struct Row {
    std::string backend;  // NAMESPACE/SEQ/KEY
    std::string parent;   // metadata key
    model::Labels labels;
    Time created_at;
    Time updated_at;
  };

 private:
  struct NewSnapshot;
  Result<std::vector<model::Mount>> Create(bool read_only, const std::string& key,
                                           const std::string& parent, const model::Labels& labels);
  Status CheckTaken(const NewSnapshot& wanted);
  Result<std::vector<model::Mount>> CreateInBackend(bool read_only, NewSnapshot* wanted);
  Status WriteCreated(const NewSnapshot& wanted, bool emit);
  Status Adopt(const NewSnapshot& wanted);
  Result<std::optional<Row>> FindRow(const bolt::Tx& tx, std::string_view key) const;
  Result<Row> GetRow(const std::string& key) const;
  Result<uint64_t> NextSequence();
  Status FindCommitted(const bolt::Tx& tx, const std::string& name, const std::string& key,
                       const CommitOptions& options, CommitIntent* intent,
                       std::string* parent_backend) const;
  Status HoldRows(const std::string& key, const CommitIntent& intent,
                  const std::string& parent_backend);
  KeyLocks::Hold LockKey(const std::string& key) const;

  DbCore* core_;
  const model::Scope scope_;
  const std::string name_;
  SnapshotBackend* backend_;
};

// Commits that were under way when the process ended. LoadIntents reads them at open; SettleIntents
// asks the backend of `snapshotter` how far each came and writes the row or drops the intent.
Status LoadIntents(DbCore& core);
Status SettleIntents(DbCore& core, const std::string& snapshotter);

// Makes the row of a finished backend commit and drops the active one, in one transaction; tells
// the change. kNotFound: the active row is gone.
Status WriteCommitted(DbCore& core, const CommitIntent& intent);
Status RecordIntent(DbCore& core, const CommitIntent& intent, std::string* id);
// Forgets a settled one (durable with the next RecordIntent: until then its rows tell that it is
// settled).
void DropIntent(SnapshotBackend& backend, const std::string& id);
// Has it settled before the snapshotter is used again.
void KeepIntent(SnapshotBackend& backend, const std::string& id, CommitIntent intent);

}  // namespace corten::metadata
