// Directories by id beside their rows: what drivers share that keep <root>/snapshots/<id>.
//
// Order (I1, I2), none of it inside a transaction:
//   create   snapshots/new-* is filled, renamed to snapshots/<id>, snapshots/ is flushed, then the
//   row is written.
//            The flush (shared by all who create at that moment) stands before the row, so no row
//            ever names a directory that a power loss forgets: ext4, xfs and btrfs log the mkdirs
//            and the rename before it in order.
//   remove   the row goes, then the directory: at once, or by Cleanup.
//   So a crash leaves rows with directories, and directories without rows. Those are garbage, which
//   Cleanup deletes.
// A directory under way has a name or id in `pending_`, which Cleanup leaves alone.
//
// Threads: all methods at once. No lock is held over I/O but that of Cleanup, which one thread does
// at a time. Kill points: snapshot.prepare.{filled,renamed,synced,done}, snapshot.commit.done,
// snapshot.remove.{unlisted,done}, snapshot.tree.deleted.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/dir.h"
#include "base/dir_syncer.h"
#include "snapshot/meta_store.h"

namespace corten::snapshot {

class TreeStore {
 public:
  // `root` is absolute; it and root/snapshots are made if missing (0700), metadata.db is opened.
  // kInvalidArgument: root empty or relative; those of MetaStore::Open; otherwise by errno.
  static Result<std::unique_ptr<TreeStore>> Open(const std::string& root);

  // What a new tree is for.
  struct NewTree {
    const Info& info;
    const std::vector<uint64_t>& parent_ids;  // nearest first
  };
  // Puts into the empty directory (0700) what the tree begins with.
  using Fill = std::function<Status(const Dir& dir, const NewTree& what)>;
  // Makes snapshot `info` (kind, name, parent, labels). Without `fill` it gets an id but no
  // directory. Errors: MetaStore::CheckCreate's; fill's; kResourceExhausted. On error nothing is
  // left behind but garbage.
  Result<Chain> Create(const Info& info, const Fill& fill);

  // The row goes; with RemoveNow::kYes the directory too (if that fails, it is garbage).
  enum class RemoveNow { kYes, kNo };
  Status Remove(const std::string& key, RemoveNow now);
  // The same for each of `keys`, for work that nobody waits for: rows first, then the directories
  // by several threads that give way to others.
  std::vector<Status> RemoveMany(const std::vector<std::string>& keys, RemoveNow now);
  // Deletes everything under snapshots/ that has no row, by several threads that give way to
  // others. Goes on after an error and returns the first.
  Status Cleanup();

  MetaStore& rows() { return *rows_; }
  // The tree of `id`.
  std::string Path(uint64_t id) const { return StrCat(trees_.path(), "/", id); }
  Result<Dir> OpenTree(uint64_t id) const { return trees_.OpenDir(StrCat(id)); }
  const Dir& trees() const { return trees_; }
  uint64_t flushes() const { return syncer_.flushes(); }

 private:
  // A name under snapshots/ that is being made; Cleanup leaves it alone.
  class Pending;

  TreeStore(Dir trees, std::unique_ptr<MetaStore> rows);
  Status DeleteTrees(const std::vector<std::string>& names);
  Result<uint64_t> GiveId(const std::string& temp, std::vector<std::unique_ptr<Pending>>& pending);

  const Dir trees_;
  DirSyncer syncer_;
  const std::unique_ptr<MetaStore> rows_;
  std::atomic<uint64_t> temp_names_{0};
  std::mutex cleaning_;  // one Cleanup at a time
  std::mutex mutex_;     // guards pending_
  std::set<std::string> pending_;
};

}  // namespace corten::snapshot
