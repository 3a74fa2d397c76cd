// Contract: a content store keeps blobs by digest and writes in progress (ingests) by reference.
//
// Life cycle: OpenWriter(ref) -> Write* -> Commit. A writer that goes away without Commit leaves
// its ingest, which a later OpenWriter of the same ref resumes. A blob is whole, verified and
// immutable from the moment it can be seen.
//
// Implementations: content/local (blobs on disk, no labels), the metadata layer (one namespace's
// view, with labels and leases), client (a remote daemon). A caller cannot tell them apart but by
// what is said here. Threads: a Store may be called from any thread at once; a Writer or Reader by
// one at a time. Crash: after a crash a blob is there whole or not at all; an ingest holds a prefix
// of what was written. Source: containerd content API, services/content/v1, as of 2.3 (storage.md
// 1, metadata.md 5).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "model/descriptor.h"
#include "model/digest.h"
#include "model/labels.h"

namespace corten::content {

struct Info {
  model::Digest digest;
  int64_t size = 0;  // bytes
  Time created_at;
  Time updated_at;
  model::Labels labels;
};

struct IngestStatus {
  std::string ref;
  int64_t offset = 0;      // bytes written so far
  int64_t total = 0;       // 0: unknown
  model::Digest expected;  // empty: not known
  Time started_at;
  Time updated_at;
};

// Random access to one blob. The blob stays readable while the reader lives, even if it is deleted.
class Reader {
 public:
  virtual ~Reader() = default;
  virtual int64_t size() const = 0;
  // Fills `buffer` from `offset`; returns the bytes read, fewer than asked only at the end (0
  // beyond it).
  virtual Result<size_t> ReadAt(std::span<char> buffer, int64_t offset) = 0;
  // A descriptor of the file behind it, for sendfile and mmap; invalid if there is none.
  virtual FdRef file() const { return FdRef(-1); }
};

class Writer {
 public:
  // Releases the ref; the ingest stays unless committed. What was written is flushed, errors are
  // dropped.
  virtual ~Writer() = default;

  // Appends. On error the ingest keeps what was written before (kResourceExhausted: disk full).
  virtual Status Write(std::string_view data) = 0;
  virtual Result<IngestStatus> GetStatus() = 0;
  // Digest of everything written so far.
  virtual Result<model::Digest> CurrentDigest() = 0;
  // Drops everything written; only `size` 0 is supported (kInvalidArgument otherwise).
  virtual Status Truncate(int64_t size) = 0;

  struct CommitOptions {
    int64_t size = 0;        // > 0: must equal what was written
    model::Digest expected;  // not empty: must equal the digest
    model::Labels labels;
  };
  // Makes the blob durable and visible and ends the ingest. Returns its digest.
  // kFailedPrecondition: size or digest differ (the ingest is kept). kAlreadyExists: the blob was
  // there; the ingest is gone and the blob is usable. After Ok or kAlreadyExists no further call is
  // allowed.
  virtual Result<model::Digest> Commit(const CommitOptions& options) = 0;
};

struct WriterOptions {
  std::string ref;         // not empty
  model::Digest expected;  // may be empty
  int64_t total = 0;       // 0: unknown
};

// Which fields an Update changes: "labels" or "labels.KEY"; empty: all labels are replaced.
using FieldPaths = std::vector<std::string>;
// Filter expressions (model/filter.h), OR-ed; empty: everything.
using Filters = std::vector<std::string>;

class Store {
 public:
  virtual ~Store() = default;

  // kNotFound.
  virtual Result<Info> GetInfo(const model::Digest& digest) = 0;
  // Changes labels of info.digest and returns the result. kNotFound; kInvalidArgument (other field
  // paths, label too long); kFailedPrecondition where the store keeps no labels.
  virtual Result<Info> Update(const Info& info, const FieldPaths& paths) = 0;
  // Calls `visit` for each blob that a filter matches, in byte order of the digest, until it
  // returns an error, which Walk returns. Blobs that come or go meanwhile may be seen or not.
  // kInvalidArgument: bad filter.
  virtual Status Walk(const Filters& filters, const std::function<Status(const Info&)>& visit) = 0;
  // kNotFound.
  virtual Status Delete(const model::Digest& digest) = 0;

  // kNotFound.
  virtual Result<std::unique_ptr<Reader>> OpenReader(const model::Digest& digest) = 0;

  // Begins or resumes the ingest `options.ref`.
  // An ingest whose known total differs from a `total` > 0 is thrown away and begun anew.
  // kAlreadyExists: the expected blob is there already. kUnavailable: another writer holds the ref
  // (text: `ref X locked for 5s (since 2026-...)`). kInvalidArgument: empty ref.
  virtual Result<std::unique_ptr<Writer>> OpenWriter(const WriterOptions& options) = 0;
  // kNotFound.
  virtual Result<IngestStatus> GetStatus(const std::string& ref) = 0;
  virtual Result<std::vector<IngestStatus>> ListStatuses(const Filters& filters) = 0;
  // Removes an ingest, even while a writer holds it: that writer's calls answer kNotFound from then
  // on, and it keeps the ref locked until it goes. kNotFound.
  virtual Status Abort(const std::string& ref) = 0;
};

// The whole blob in memory. kResourceExhausted above `limit` bytes; kNotFound.
Result<std::string> ReadBlob(Store& store, const model::Digest& digest, int64_t limit);
// Writes `data` under `ref` in one go, labelled; success also if the blob exists already.
Status WriteBlob(Store& store, const std::string& ref, std::string_view data,
                 const model::Descriptor& descriptor, const model::Labels& labels);

}  // namespace corten::content
