// A content store in memory, with labels, for tests. It keeps the whole contract of content/store.h
// (and is run through its suite, content/contract.h) but nothing survives it. Threads: as
// content::Store. Readers and writers must not outlive the store.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "content/store.h"

namespace corten::content {

class FakeStore final : public Store {
 public:
  explicit FakeStore(WallClock clock = &Now);
  ~FakeStore() override;

  Result<Info> GetInfo(const model::Digest& digest) override;
  Result<Info> Update(const Info& info, const FieldPaths& paths) override;
  Status Walk(const Filters& filters, const std::function<Status(const Info&)>& visit) override;
  Status Delete(const model::Digest& digest) override;
  Result<std::unique_ptr<Reader>> OpenReader(const model::Digest& digest) override;
  Result<std::unique_ptr<Writer>> OpenWriter(const WriterOptions& options) override;
  Result<IngestStatus> GetStatus(const std::string& ref) override;
  Result<std::vector<IngestStatus>> ListStatuses(const Filters& filters) override;
  Status Abort(const std::string& ref) override;

  // Puts a blob there as if somebody had written it; returns its sha256 digest.
  model::Digest Add(const std::string& data, const model::Labels& labels = {});
  // Every further Write answers kResourceExhausted once the blobs and ingests hold more than
  // `bytes` (negative: never).
  void SetCapacity(int64_t bytes);

 private:
  friend class FakeWriter;
  struct Blob {
    std::shared_ptr<const std::string> data;  // owners: the store and readers
    Info info;
  };
  struct Ingest {
    IngestStatus status;
    std::string data;
    bool locked = false;
    Time locked_since;
    uint64_t number = 0;  // tells a new ingest of the same ref from an aborted one
  };
  int64_t UsedBytes() const;

  const WallClock clock_;
  mutable std::mutex mutex_;  // guards all that follows
  std::map<model::Digest, Blob> blobs_;
  std::map<std::string, Ingest> ingests_;
  std::map<std::string, Time>
      orphan_locks_;  // refs whose ingest was aborted while a writer holds them
  uint64_t next_number_ = 1;
  int64_t capacity_ = -1;
};

}  // namespace corten::content
