// Contract: a Snapshotter turns layers into mountable trees.
//
// Life cycle: Prepare/View -> (Commit | Remove). An active snapshot never becomes a parent; Commit
// makes a committed one under a new name and the key is gone. All names and keys of a driver share
// one key space.
//
// Implementations: drivers (snapshot/overlay, snapshot/native), the metadata layer (one namespace's
// view), client. Threads: all methods may be called at once; calls for one key are serialised by
// the driver. Crash: after a crash each key is either as before or as after the call. Source:
// containerd snapshots API, services/snapshots/v1, as of 2.3 (storage.md 2).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "model/labels.h"
#include "model/mount.h"

namespace corten::snapshot {

enum class Kind : uint8_t {
  kUnknown = 0,
  kView = 1,
  kActive = 2,
  kCommitted = 3
};  // numbers as stored on disk

// "View", "Active", "Committed", "Unknown".
std::string_view KindName(Kind kind);

struct Info {
  Kind kind = Kind::kUnknown;
  std::string name;    // key or committed name
  std::string parent;  // empty: none
  model::Labels labels;
  Time created_at;
  Time updated_at;
};

struct Usage {
  int64_t inodes = 0;  // hard links counted once
  int64_t size = 0;    // bytes: blocks used times 512
};

// Labels with a meaning for drivers.
inline constexpr std::string_view kTargetLabel =
    "containerd.io/snapshot.ref";  // Prepare for this committed name
inline constexpr std::string_view kInheritedPrefix =
    "containerd.io/snapshot/";  // handed down to the driver
inline constexpr std::string_view kUidMappingLabel =
    "containerd.io/snapshot/uidmapping";  // "ctr:host:len[,...]"
inline constexpr std::string_view kGidMappingLabel = "containerd.io/snapshot/gidmapping";

using FieldPaths =
    std::vector<std::string>;              // "labels", "labels.KEY"; empty: all labels are replaced
using Filters = std::vector<std::string>;  // model/filter.h, OR-ed; empty: everything

class Snapshotter {
 public:
  virtual ~Snapshotter() = default;

  // Creates active snapshot `key` on top of committed `parent` ("": empty tree). Returns mounts
  // that give write access to it; they stay valid until Commit or Remove. kAlreadyExists (key
  // taken, by any kind), kNotFound (parent), kInvalidArgument (parent is not committed). On error
  // nothing is left behind. Cost: no copying for union drivers; O(depth of parent) lookups.
  virtual Result<std::vector<model::Mount>> Prepare(const std::string& key,
                                                    const std::string& parent,
                                                    const model::Labels& labels) = 0;
  // As Prepare, read-only; a view is never committed.
  virtual Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                                 const model::Labels& labels) = 0;
  // The same mounts again. kNotFound; kFailedPrecondition for a committed snapshot.
  virtual Result<std::vector<model::Mount>> Mounts(const std::string& key) = 0;

  struct CommitOptions {
    model::Labels labels;  // replace those of Prepare
    std::string parent;  // not empty: set the parent of a snapshot prepared without one (capability
                         // "rebase")
  };
  // Turns active `key` into committed `name`, measuring its usage. kNotFound; kAlreadyExists
  // (name); kFailedPrecondition (not active); kInvalidArgument (options.parent although it has one,
  // or the parent is not committed); kUnimplemented (options.parent without the capability).
  // Durability of what was written into the tree is the writer's business (sync_fs of the differ)
  // unless the driver says more: a kill of the daemon never loses it, a power loss may.
  virtual Status Commit(const std::string& name, const std::string& key,
                        const CommitOptions& options) = 0;
  // kNotFound; kFailedPrecondition "cannot remove snapshot with child". Storage may be freed later,
  // by Cleanup.
  virtual Status Remove(const std::string& key) = 0;
  // Remove for each of `keys`, one behind the other, so children may stand before their parents in
  // one call. Answers a status for each, in their order. After a crash some of the first are
  // removed, the others as before. For work that nobody waits for: a driver may give way to others,
  // and makes one change of many rows, which costs it few flushes. Here: one Remove after the
  // other.
  virtual std::vector<Status> RemoveMany(const std::vector<std::string>& keys);

  virtual Result<Info> Stat(const std::string& key) = 0;  // kNotFound
  virtual Result<Info> Update(
      const Info& info, const FieldPaths& paths) = 0;  // labels only; kNotFound, kInvalidArgument
  // In byte order of the name; stops at the first error of `visit` and returns it.
  virtual Status Walk(const Filters& filters, const std::function<Status(const Info&)>& visit) = 0;
  // Of the snapshot alone, without parents. Active ones are scanned, committed ones answer the
  // stored figure.
  virtual Result<Usage> GetUsage(const std::string& key) = 0;
  // Frees the storage of removed snapshots and of attempts that a crash cut short. kUnimplemented
  // if there is nothing to do.
  virtual Status Cleanup() = 0;
};

}  // namespace corten::snapshot
