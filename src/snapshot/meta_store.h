// The rows of a snapshot driver: metadata.db in containerd's schema, shared by all drivers that
// keep directories by id.
//
//   v1/snapshots (sequence: last id) / KEY / {id, kind, parent, createdat, updatedat, inodes, size,
//   labels/} v1/parents / uvarint(parent id) 00 uvarint(id) = KEY
//
// Changes run in short transactions (no I/O but the file's own) that share their flushes with
// others at the same time. Ids come from ReserveId before the row, because a driver makes its
// directory first; the stored sequence follows with the row, so that containerd goes on behind the
// last id. An id whose row was never written may come again after a restart; the driver skips it if
// its directory is still there. Threads: all methods at once. Crash: each method has happened or
// not (bolt/db.h). Source: metadata.md 11.5 (containerd 2.3 snapshot storage).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "bolt/db.h"
#include "snapshot/snapshotter.h"

namespace corten::snapshot {

// One row.
struct Record {
  uint64_t id = 0;
  Info info;
  Usage usage;  // committed only
};

// A snapshot and the ids of its ancestors, nearest first.
struct Chain {
  Record record;
  std::vector<uint64_t> parent_ids;
};

class MetaStore {
 public:
  // Opens or creates the file (0600). kUnavailable or kDeadlineExceeded: another process holds it;
  // kDataLoss: damaged.
  static Result<std::unique_ptr<MetaStore>> Open(const std::string& path, WallClock clock = &Now);
  // REQUIRES: no call is running.
  ~MetaStore();

  // An id that no row has or had, and that this process has not handed out before.
  uint64_t ReserveId();

  // The ids of `parent` and its ancestors, nearest first ("": none), if a snapshot `key` could be
  // created on it now. kAlreadyExists (key), kNotFound (parent), kInvalidArgument (parent is not
  // committed, key is empty).
  Result<std::vector<uint64_t>> CheckCreate(const std::string& key, const std::string& parent);
  // Adds the row `info` (kind, name, parent, labels; the times are set here) with `id`. Checks as
  // CheckCreate again; kNotFound also if the parent is another than when its id was `parent_id` (0:
  // no parent). Any other error than those and kResourceExhausted leaves open whether the row is
  // there after a restart.
  Status Create(uint64_t id, const Info& info, uint64_t parent_id);

  // kNotFound; kDataLoss.
  Result<Record> Get(const std::string& key);
  Result<Chain> GetChain(const std::string& key);

  // Turns active `key`, which must have `id`, into committed `name`. Errors as Snapshotter::Commit.
  Status Commit(const std::string& name, const std::string& key, uint64_t id,
                const Snapshotter::CommitOptions& options, Usage usage);
  // Returns what was there. kNotFound; kFailedPrecondition `cannot remove snapshot with child`.
  Result<Record> Remove(const std::string& key);
  // The same for each of `keys`, in their order, kRowsPerChange of them in one transaction. An
  // error that is none of the row itself (disk full) is answered for all of its transaction, which
  // then has removed none of them.
  std::vector<Result<Record>> RemoveMany(const std::vector<std::string>& keys);
  static constexpr size_t kRowsPerChange = 64;  // some hundred microseconds in which others wait
  // Labels only. kNotFound, kInvalidArgument.
  Result<Info> Update(const Info& info, const FieldPaths& paths);
  // In byte order of the key. `visit` runs on one consistent state and may call this store.
  Status Walk(const Filters& filters, const std::function<Status(const Record&)>& visit);
  // Every id that has a row.
  Result<std::set<uint64_t>> Ids();

  bolt::Stats GetStats() const { return db_->GetStats(); }

 private:
  MetaStore(std::unique_ptr<bolt::Db> db, WallClock clock)
      : db_(std::move(db)), clock_(std::move(clock)) {}

  const std::unique_ptr<bolt::Db> db_;
  const WallClock clock_;
  std::atomic<uint64_t> last_id_{0};
};

}  // namespace corten::snapshot
