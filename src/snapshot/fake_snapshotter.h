// A snapshotter in memory, for tests of rooms above. It keeps the contract of
// snapshot/snapshotter.h (and is run through its suite, snapshot/contract.h); its mounts name
// directories that do not exist unless a root is given. Threads: as snapshot::Snapshotter.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "snapshot/snapshotter.h"

namespace corten::snapshot {

class FakeSnapshotter final : public Snapshotter {
 public:
  // With `root` each active snapshot gets an (empty) directory root/<id>, so that a test can look
  // at what was written there; its mount is a bind of it. Without: a bind of "/fake/<id>".
  explicit FakeSnapshotter(std::string root = "", WallClock clock = &Now);

  Result<std::vector<model::Mount>> Prepare(const std::string& key, const std::string& parent,
                                            const model::Labels& labels) override;
  Result<std::vector<model::Mount>> View(const std::string& key, const std::string& parent,
                                         const model::Labels& labels) override;
  Result<std::vector<model::Mount>> Mounts(const std::string& key) override;
  Status Commit(const std::string& name, const std::string& key,
                const CommitOptions& options) override;
  Status Remove(const std::string& key) override;
  Result<Info> Stat(const std::string& key) override;
  Result<Info> Update(const Info& info, const FieldPaths& paths) override;
  Status Walk(const Filters& filters, const std::function<Status(const Info&)>& visit) override;
  Result<Usage> GetUsage(const std::string& key) override;
  Status Cleanup() override;

  // What GetUsage answers for every snapshot but views.
  void SetUsage(Usage usage);
  // Calls of Cleanup so far.
  int cleanups() const;

 private:
  struct Snapshot {
    Info info;
    uint64_t id = 0;
    Usage usage;
  };
  Result<std::vector<model::Mount>> Create(Kind kind, const std::string& key,
                                           const std::string& parent, const model::Labels& labels);
  std::vector<model::Mount> MountsOf(const Snapshot& snapshot) const;

  const std::string root_;
  const WallClock clock_;
  mutable std::mutex mutex_;  // guards all that follows
  std::map<std::string, Snapshot> snapshots_;
  uint64_t last_id_ = 0;
  Usage usage_;
  int cleanups_ = 0;
};

}  // namespace corten::snapshot
