// Blobs as files in one directory, in containerd's layout.
//
//   blobs/<algorithm>/<hex>                                     a blob, 0444 after umask
//   ingest/<sha256 of the ref>/{data,ref,startedat,updatedat[,total]}   a write in progress
//
// An ingest of up to kHiddenLimit bytes lives in a file without a name until its writer commits or
// goes away, so a small blob costs: create, write, flush, link, flush of the directory (shared by
// all who commit at that moment). A larger one has its directory from the first write on.
//
// Invariants: I3 (a name under blobs/ appears by one link or rename after the file was verified and
// flushed). Commit returns after the directory is flushed too (I2: the caller may write its row).
// kAlreadyExists means durable as well. Crash: killed at any moment: a blob is whole or absent; an
// ingest holds a prefix of what was written (a hidden one: nothing). What cannot be an ingest or a
// blob is removed by Open. Not covered: bytes that change on the disk later. Threads: see
// content::Store; no lock that others share is held over I/O. Limits: one descriptor for each open
// writer and reader; at most kParkedHashes hash states of closed ingests. Not built: fs-verity.
// Source: content store of containerd 2.3 (storage.md 1, metadata.md 11.6).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/dir.h"
#include "content/store.h"

namespace corten::content {

inline constexpr int64_t kHiddenLimit = 1 << 20;  // bytes
inline constexpr size_t kParkedHashes = 256;

class BlobDirs;
class IngestDirs;
class LiveIngests;

class LocalStore final : public Store {
 public:
  struct Options {
    WallClock clock = &Now;
    bool hidden_files = true;  // false: as on a filesystem without O_TMPFILE
  };
  // Creates `root` if it is missing (0755) and removes leftovers of a crash. One process uses a
  // root at a time (the metadata database's lock sees to that). Errors by errno.
  static Result<std::unique_ptr<LocalStore>> Open(const std::string& root);
  static Result<std::unique_ptr<LocalStore>> Open(const std::string& root, Options options);
  // REQUIRES: no writer of this store lives. Readers may.
  ~LocalStore() override;

  Result<Info> GetInfo(const model::Digest& digest) override;
  // Always kFailedPrecondition: no labels here.
  Result<Info> Update(const Info& info, const FieldPaths& paths) override;
  Status Walk(const Filters& filters, const std::function<Status(const Info&)>& visit) override;
  Status Delete(const model::Digest& digest) override;
  Result<std::unique_ptr<Reader>> OpenReader(const model::Digest& digest) override;
  Result<std::unique_ptr<Writer>> OpenWriter(const WriterOptions& options) override;
  Result<IngestStatus> GetStatus(const std::string& ref) override;
  Result<std::vector<IngestStatus>> ListStatuses(const Filters& filters) override;
  Status Abort(const std::string& ref) override;

  // Work done since Open, for tests that hold the cost of an operation.
  struct Stats {
    uint64_t file_flushes = 0;
    uint64_t directory_flushes = 0;
    uint64_t commits = 0;
    uint64_t hidden_commits = 0;  // of these: blobs that never had an ingest directory
    uint64_t bytes_hashed = 0;    // by writers, reading back included
    uint64_t bytes_read_back =
        0;  // hashed again from the file: resumed, or another algorithm at commit
  };
  Stats GetStats() const;

  struct Counters;  // internal

 private:
  LocalStore(Dir root, Options options);

  const Dir root_;
  const Options options_;
  std::unique_ptr<Counters> counters_;
  std::unique_ptr<BlobDirs> blobs_;
  std::unique_ptr<IngestDirs> ingests_;
  std::unique_ptr<LiveIngests> live_;
};

}  // namespace corten::content
