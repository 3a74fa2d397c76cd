// One namespace's content: rows of the database over blobs of the backend (metadata.md 5).
// Contract: content/store.h. Internal to metadata/db; made per call.
#pragma once

#include <memory>
#include <string>

#include "content/store.h"
#include "metadata/db/core.h"

namespace corten::metadata {

// The row of an ingest.
struct IngestRow {
  std::string backend_ref;  // NAMESPACE/1/REF
  model::Digest shared;     // not empty: no bytes are needed, the backend has this blob already
};
Result<std::optional<IngestRow>> ReadIngest(const bolt::Tx& tx, const model::Namespace& ns,
                                            std::string_view ref);

// What Status answers for an ingest that takes the backend's blob as it is.
Result<content::IngestStatus> SharedStatus(content::Store& backend, const std::string& ref,
                                           const model::Digest& shared, Time started);

// A writer of one namespace. `backend` is null as long as the ingest is shared.
struct ScopedWriterState {
  DbCore* core = nullptr;
  model::Scope scope;
  std::string ref;
  std::string backend_ref;
  model::Digest expected;
  model::Digest shared;
  int64_t shared_size = 0;
  Time started;
  std::unique_ptr<content::Writer> backend;
  PinTable::Pin ref_pin;     // the collector leaves the backend's ingest alone
  PinTable::Pin digest_pin;  // and the expected blob
};
std::unique_ptr<content::Writer> MakeScopedWriter(ScopedWriterState state);

class ScopedContent final : public content::Store {
 public:
  ScopedContent(DbCore* core, model::Scope scope) : core_(core), scope_(std::move(scope)) {}

  Result<content::Info> GetInfo(const model::Digest& digest) override;
  Result<content::Info> Update(const content::Info& info,
                               const content::FieldPaths& paths) override;
  Status Walk(const content::Filters& filters,
              const std::function<Status(const content::Info&)>& visit) override;
  Status Delete(const model::Digest& digest) override;
  Result<std::unique_ptr<content::Reader>> OpenReader(const model::Digest& digest) override;
  Result<std::unique_ptr<content::Writer>> OpenWriter(
      const content::WriterOptions& options) override;
  Result<content::IngestStatus> GetStatus(const std::string& ref) override;
  Result<std::vector<content::IngestStatus>> ListStatuses(const content::Filters& filters) override;
  Status Abort(const std::string& ref) override;

 private:
  // What OpenWriter finds.
  struct Before {
    bool present = false;    // the expected blob is in this namespace
    bool may_share = false;  // it may be taken from the backend, if that has it
    std::optional<IngestRow> ingest;
  };
  Result<content::Store*> Backend() const;
  Result<Before> LookBefore(const content::WriterOptions& options) const;
  Result<bool> LeaseBlob(const model::Digest& digest);
  Status TryShare(content::Store& backend, const content::WriterOptions& options,
                  const Before& before, ScopedWriterState* state);
  Status WriteIngest(const std::string& ref, const std::string& backend_ref,
                     const model::Digest& shared);
  DbCore* core_;
  const model::Scope scope_;
};

}  // namespace corten::metadata
