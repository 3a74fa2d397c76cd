#include <array>

#include "base/failpoint.h"
#include "metadata/db/codec.h"
#include "metadata/db/content.h"

namespace corten::metadata {

namespace {

constexpr size_t kCopyBuffer = 256 << 10;  // bytes

class ScopedWriter final : public content::Writer {
 public:
  explicit ScopedWriter(ScopedWriterState state) : state_(std::move(state)) {}

  Status Write(std::string_view data) override {
    TRY(CheckOpen());
    if (state_.backend == nullptr) TRY(Unshare(/*copy=*/true));
    return state_.backend->Write(data);
  }

  Result<content::IngestStatus> GetStatus() override {
    TRY(CheckOpen());
    if (state_.backend == nullptr)
      return SharedStatus(*state_.core->options.content, state_.ref, state_.shared, state_.started);
    content::IngestStatus status = TRY(state_.backend->GetStatus());
    status.ref = state_.ref;
    status.expected = state_.expected;
    return status;
  }

  Result<model::Digest> CurrentDigest() override {
    TRY(CheckOpen());
    if (state_.backend == nullptr) return state_.shared;
    return state_.backend->CurrentDigest();
  }

  Status Truncate(int64_t size) override {
    TRY(CheckOpen());
    if (size != 0) return InvalidArgumentError("Truncate: unsupported size");
    if (state_.backend == nullptr) return Unshare(/*copy=*/false);
    return state_.backend->Truncate(0);
  }

  Result<model::Digest> Commit(const CommitOptions& options) override {
    TRY(CheckOpen());
    TRY(CheckLabels(options.labels, "info.Labels"));
    model::Digest digest;
    int64_t size = 0;
    if (state_.backend == nullptr) {
      TRY(CheckShared(options));
      digest = state_.shared;
      size = state_.shared_size;
    } else {
      TRY(Store(options, &digest, &size));
    }
    FAILPOINT("metadata.content.stored");
    const bool is_new = TRY(WriteRow(digest, size, options.labels));
    FAILPOINT("metadata.content.committed");
    done_ = true;
    state_.backend.reset();
    state_.ref_pin = PinTable::Pin();
    state_.digest_pin = PinTable::Pin();
    blob_pin_ = PinTable::Pin();
    if (!is_new) return AlreadyExistsError("content ", digest.str());
    return digest;
  }

 private:
  Status CheckOpen() const {
    if (done_) return FailedPreconditionError("writer for ", Quoted(state_.ref), " is closed");
    return Ok();
  }

  Status CheckShared(const CommitOptions& options) const {
    if (options.size > 0 && options.size != state_.shared_size) {
      return FailedPreconditionError(Quoted(state_.ref),
                                     " failed size validation: ", state_.shared_size,
                                     " != ", options.size);
    }
    if (!options.expected.empty() && options.expected != state_.shared) {
      return FailedPreconditionError(Quoted(state_.ref),
                                     " unexpected digest: ", state_.shared.str(),
                                     " != ", options.expected.str());
    }
    return Ok();
  }

  // Makes the blob durable in the backend. From here to the row the pin keeps the collector off it.
  Status Store(const CommitOptions& options, model::Digest* digest, int64_t* size) {
    const content::IngestStatus status = TRY(state_.backend->GetStatus());
    *size = status.offset;
    *digest = options.expected;  // in the algorithm that the caller means
    if (digest->empty()) *digest = TRY(state_.backend->CurrentDigest());
    if (*digest != state_.expected) blob_pin_ = state_.core->digests.Acquire(digest->str());
    const Result<model::Digest> stored =
        state_.backend->Commit({options.size, options.expected, {}});
    // Another namespace, or garbage, has the blob: the ingest is gone and the blob is as good.
    if (!stored.ok() && !stored.error().Is(Code::kAlreadyExists)) return stored.error().Clone();
    state_.core->content_dirty = true;  // should the row fail, nothing names the blob
    return Ok();
  }

  // The ingest's row becomes the blob's. False: the namespace had the blob.
  Result<bool> WriteRow(const model::Digest& digest, int64_t size, const model::Labels& labels) {
    bool is_new = false;
    TRY(state_.core->Update([&](Mutation& mutation) -> Status {
      const model::Scope& scope = state_.scope;
      const MaybeBucket found =
          TRY(FindIn(mutation.tx, scope.ns, {key::kContent, key::kBlob, digest.str()}));
      is_new = !found.has_value();
      TRY(RemoveLeaseMember(mutation, scope, NodeKind::kIngest, state_.ref));
      TRY(AddLeaseMember(mutation, scope, NodeKind::kContent, digest.str()));
      MaybeBucket ingests = TRY(FindIn(mutation.tx, scope.ns, {key::kContent, key::kIngests}));
      MaybeBucket ingest;
      if (ingests) ingest = TRY(ingests->FindBucket(state_.ref));
      if (ingest) TRY(ingests->DeleteBucket(state_.ref));
      if (!is_new) return Ok();
      bolt::Bucket rows = TRY(MakeIn(mutation.tx, scope.ns, {key::kContent, key::kBlob}));
      bolt::Bucket row = TRY(rows.CreateBucket(digest.str()));
      const std::string now = EncodeTime(state_.core->Clock());
      TRY(row.Put(key::kCreatedAt, now));
      TRY(row.Put(key::kUpdatedAt, now));
      TRY(row.Put(key::kSize, EncodeVarint(size)));
      TRY(WriteMap(row, key::kLabels, labels));
      mutation.Touch(NodeKind::kContent, scope.ns, digest.str());
      Change change;
      change.kind = Change::Kind::kContentCreate;
      change.ns = scope.ns;
      change.digest = digest;
      change.size = size;
      mutation.Emit(std::move(change));
      return Ok();
    }));
    return is_new;
  }

  // Gives the ingest bytes of its own: those of the shared blob, or none.
  Status Unshare(bool copy) {
    content::Store& store = *state_.core->options.content;
    std::unique_ptr<content::Writer> writer =
        TRY(store.OpenWriter({state_.backend_ref, model::Digest(), state_.shared_size}));
    TRY(writer->Truncate(0));
    if (copy) {
      const std::unique_ptr<content::Reader> reader = TRY(store.OpenReader(state_.shared));
      std::string buffer(kCopyBuffer, '\0');
      for (int64_t at = 0; at < reader->size();) {
        const size_t n = TRY(reader->ReadAt(buffer, at));
        if (n == 0)
          return DataLossError("content ", state_.shared.str(), ": ends after ", at, " bytes");
        TRY(writer->Write(std::string_view(buffer).substr(0, n)));
        at += static_cast<int64_t>(n);
      }
    }
    TRY(state_.core->Update([&](Mutation& mutation) -> Status {
      MaybeBucket row =
          TRY(FindIn(mutation.tx, state_.scope.ns, {key::kContent, key::kIngests, state_.ref}));
      if (!row) return NotFoundError("ingest ref ", Quoted(state_.ref));
      return row->Delete(key::kExpected);
    }));
    state_.backend = std::move(writer);
    state_.shared = model::Digest();
    return Ok();
  }

  ScopedWriterState state_;
  PinTable::Pin blob_pin_;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<content::Writer> MakeScopedWriter(ScopedWriterState state) {
  return std::make_unique<ScopedWriter>(std::move(state));
}

}  // namespace corten::metadata
