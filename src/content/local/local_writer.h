// The writer of a LocalStore: one ingest from its first byte to its blob.
//
// States of its data: none (nothing written) -> hidden (a file without a name) -> named
// (ingest/<hash>/data), or directly named when it is known to be large. Commit publishes a hidden
// or a named file; the destructor names a hidden one, so that the ingest can be resumed. After a
// failed flush nobody knows which bytes are on disk: the writer then answers that error to every
// call and its ingest is dropped, never flushed again. Threads: one at a time; Store::Abort and
// status calls of others go through LiveIngest.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/hash.h"
#include "content/local/blob_dirs.h"
#include "content/local/counters.h"
#include "content/local/ingest_dirs.h"
#include "content/local/live_ingests.h"
#include "content/local/local_store.h"

namespace corten::content {

// What a writer borrows from its store, which outlives it.
struct StoreParts {
  const LocalStore::Options& options;
  LocalStore::Counters& counters;
  BlobDirs& blobs;
  IngestDirs& ingests;
  LiveIngests& live;
};

class LocalWriter final : public Writer {
 public:
  // Begins or resumes; see Store::OpenWriter.
  static Result<std::unique_ptr<Writer>> Open(const StoreParts& parts,
                                              const WriterOptions& options);
  ~LocalWriter() override;

  Status Write(std::string_view data) override;
  Result<IngestStatus> GetStatus() override;
  Result<model::Digest> CurrentDigest() override;
  Status Truncate(int64_t size) override;
  Result<model::Digest> Commit(const CommitOptions& options) override;

 private:
  LocalWriter(const StoreParts& parts, std::shared_ptr<LiveIngest> live, Hasher hasher);
  Status Begin(const WriterOptions& options);
  Status Resume(const StoredIngest& stored);
  Status CheckUsable();
  Status EnsureFile(int64_t size_ahead);
  Status MakeNamed();
  Status FlushData();
  void Progress();
  Result<model::Digest> DigestFor(const model::Digest& expected);
  Status PublishFile(const model::Digest& digest);
  Status EndExisting();
  Error WithFreeBytes(Error error) const;
  std::string What() const;

  const StoreParts parts_;
  const std::shared_ptr<LiveIngest> live_;  // shared with the table, for status calls of others
  const std::string name_;                  // of the ingest directory
  Hasher hasher_;                           // of the first offset_ bytes
  Fd file_;                                 // invalid: nothing written yet
  int64_t offset_ = 0;
  int64_t written_back_ = 0;     // up to here the kernel was told to begin writing
  bool flushed_ = true;          // nothing written since the last flush
  std::optional<Error> broken_;  // the flush that failed
};

}  // namespace corten::content
