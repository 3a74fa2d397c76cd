// Writes in progress on disk: ingest/<sha256 of the ref>/{data,ref,startedat,updatedat[,total]}.
//
// A directory appears by one rename when it is complete and goes by one rename before it is
// deleted; in between it is called .tmp-*, which Open sweeps away. Threads: all methods at once;
// the caller sees to it that one thread at a time deals with one name. Source: metadata.md 11.6.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/dir.h"

namespace corten::content {

struct StoredIngest {
  std::string ref;
  int64_t size = 0;   // of data
  int64_t total = 0;  // 0: unknown
  Time started_at;
  Time updated_at;  // the stored one or data's last write, whichever is later
};

// Links an open file without a name as `dir`/`name`. kAlreadyExists.
Status GiveName(FdRef file, const Dir& dir, const std::string& name);

class IngestDirs {
 public:
  // Opens `root`/ingest, removes .tmp-* and directories that are no ingest (no ref or data, or
  // under a wrong name).
  static Result<std::unique_ptr<IngestDirs>> Open(const Dir& root);

  static std::string NameOf(std::string_view ref);

  // A file without a name, 0444 after umask, open for reading and writing. kUnimplemented where the
  // filesystem has none.
  Result<Fd> CreateHidden() const;
  // Makes the directory `name` with what `ingest` says. `hidden` becomes its data (0644 after
  // umask); without one an empty data file is made. Whatever stood under that name goes. Returns
  // data, open for reading and writing.
  Result<Fd> Create(const std::string& name, const StoredIngest& ingest,
                    std::optional<FdRef> hidden);
  // Moves data of `name` to `target`/`file`. kAlreadyExists: that name is taken; kNotFound: the
  // ingest is gone.
  Status MoveData(const std::string& name, const Dir& target, const std::string& file) const;
  // nullopt: nothing there, or not complete and readable.
  Result<std::optional<StoredIngest>> Load(const std::string& name) const;
  Result<Fd> OpenData(const std::string& name) const;
  Status StoreUpdated(const std::string& name, Time time) const;
  Status StoreTotal(const std::string& name, int64_t total) const;
  // Missing is fine.
  Status Remove(const std::string& name);
  // Names of ingests, sorted.
  Result<std::vector<std::string>> List() const;
  const Dir& dir() const { return dir_; }
  std::string DataPath(const std::string& name) const {
    return StrCat(dir_.path(), "/", name, "/data");
  }

 private:
  explicit IngestDirs(Dir dir) : dir_(std::move(dir)) {}
  std::string TempName();
  Status Sweep();

  const Dir dir_;
  std::atomic<uint64_t> temp_names_{0};
};

}  // namespace corten::content
