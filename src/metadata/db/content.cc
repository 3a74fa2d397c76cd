#include "metadata/db/content.h"

#include "base/failpoint.h"
#include "metadata/db/codec.h"

namespace corten::metadata {

namespace {

constexpr int64_t kIngestLife =
    int64_t{24} * 3600 * 1000000000;  // nanoseconds; of ingests that no lease holds
constexpr std::string_view kShareable = "containerd.io/namespace.shareable";

Error NoContent(const model::Digest& digest) {
  return NotFoundError("content digest ", digest.str());
}
Error NoIngest(const std::string& ref) { return NotFoundError("ingest ref ", Quoted(ref)); }

Result<content::Info> ReadInfo(const model::Digest& digest, const bolt::Bucket& row) {
  content::Info info;
  info.digest = digest;
  info.size = TRY(ReadNumber(row, key::kSize));
  info.created_at = TRY(ReadTime(row, key::kCreatedAt));
  info.updated_at = TRY(ReadTime(row, key::kUpdatedAt));
  info.labels = TRY(ReadMap(row, key::kLabels));
  return info;
}

bool Matches(const model::Filter& filter, const content::Info& info) {
  return filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
    if (path.size() == 1 && path[0] == "digest") return info.digest.str();
    if (path.size() > 1 && path[0] == "labels") return model::LookupLabel(info.labels, path);
    return std::nullopt;
  });
}

// Whether a namespace that lends its blobs has this one.
Result<bool> IsLent(const bolt::Tx& tx, const model::Digest& digest) {
  const MaybeBucket top = TRY(tx.FindBucket(key::kV1));
  bool lent = false;
  if (!top) return lent;
  TRY(ForEachBucket(*top, [&](std::string_view, const bolt::Bucket& ns) -> Status {
    if (lent) return Ok();
    const std::optional<std::string_view> label = TRY(ReadLabel(ns, kShareable));
    if (!label || *label != "true") return Ok();
    const MaybeBucket row = TRY(FindPath(ns, {key::kContent, key::kBlob, digest.str()}));
    lent = row.has_value();
    return Ok();
  }));
  return lent;
}

}  // namespace

Result<std::optional<IngestRow>> ReadIngest(const bolt::Tx& tx, const model::Namespace& ns,
                                            std::string_view ref) {
  const MaybeBucket row = TRY(FindIn(tx, ns, {key::kContent, key::kIngests, ref}));
  if (!row) return std::optional<IngestRow>();
  IngestRow ingest;
  ingest.backend_ref = TRY(ReadBytes(*row, key::kRef));
  const std::string_view shared = TRY(ReadBytes(*row, key::kExpected));
  if (!shared.empty()) ingest.shared = TRY(model::Digest::Parse(shared));
  return std::optional<IngestRow>(std::move(ingest));
}

Result<content::IngestStatus> SharedStatus(content::Store& backend, const std::string& ref,
                                           const model::Digest& shared, Time started) {
  const content::Info info = TRY(backend.GetInfo(shared));
  content::IngestStatus status;
  status.ref = ref;
  status.offset = info.size;
  status.total = info.size;
  status.expected = shared;
  status.started_at = started;
  status.updated_at = started;
  return status;
}

Result<content::Store*> ScopedContent::Backend() const {
  TRY(CheckNamespace(scope_.ns));
  if (core_->options.content == nullptr) return UnavailableError("no content store");
  return core_->options.content;
}

Result<content::Info> ScopedContent::GetInfo(const model::Digest& digest) {
  TRY(CheckNamespace(scope_.ns));
  content::Info info;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket row = TRY(FindIn(tx, scope_.ns, {key::kContent, key::kBlob, digest.str()}));
    if (!row) return NoContent(digest);
    info = TRY(ReadInfo(digest, *row));
    return Ok();
  }));
  return info;
}

Result<content::Info> ScopedContent::Update(const content::Info& info,
                                            const content::FieldPaths& paths) {
  TRY(CheckNamespace(scope_.ns));
  content::Info after;
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    MaybeBucket row =
        TRY(FindIn(mutation.tx, scope_.ns, {key::kContent, key::kBlob, info.digest.str()}));
    if (!row) return NoContent(info.digest);
    after = TRY(ReadInfo(info.digest, *row));
    TRY(ApplyLabelMask(paths, info.labels, StrCat("content info ", Quoted(info.digest.str())),
                       &after.labels));
    TRY(CheckLabels(after.labels, "info.Labels"));
    after.updated_at = core_->Clock();
    TRY(WriteMap(*row, key::kLabels, after.labels));
    TRY(row->Put(key::kUpdatedAt, EncodeTime(after.updated_at)));
    mutation.Touch(NodeKind::kContent, scope_.ns, info.digest.str());
    return Ok();
  }));
  std::erase_if(after.labels, [](const auto& label) { return label.second.empty(); });
  return after;
}

Status ScopedContent::Walk(const content::Filters& filters,
                           const std::function<Status(const content::Info&)>& visit) {
  TRY(CheckNamespace(scope_.ns));
  const model::Filter filter = TRY(model::Filter::Parse(filters));
  std::vector<content::Info>
      infos;  // all before the first visit: a slow visitor must not hold a read transaction
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket rows = TRY(FindIn(tx, scope_.ns, {key::kContent, key::kBlob}));
    if (!rows) return Ok();
    return ForEachBucket(*rows, [&](std::string_view name, const bolt::Bucket& row) -> Status {
      const Result<model::Digest> digest = model::Digest::Parse(name);
      if (!digest.ok()) return Ok();  // containerd skips keys that are no digests, too
      content::Info info = TRY(ReadInfo(*digest, row));
      if (filter.matches_all() || Matches(filter, info)) infos.push_back(std::move(info));
      return Ok();
    });
  }));
  for (const content::Info& info : infos) TRY(visit(info));
  return Ok();
}

Status ScopedContent::Delete(const model::Digest& digest) {
  TRY(CheckNamespace(scope_.ns));
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    MaybeBucket rows = TRY(FindIn(mutation.tx, scope_.ns, {key::kContent, key::kBlob}));
    MaybeBucket row;
    if (rows) row = TRY(rows->FindBucket(digest.str()));
    if (!row) return NoContent(digest);
    TRY(rows->DeleteBucket(digest.str()));
    TRY(RemoveLeaseMember(mutation, scope_, NodeKind::kContent, digest.str()));
    mutation.is_deletion = true;
    Change change;
    change.kind = Change::Kind::kContentDelete;
    change.ns = scope_.ns;
    change.digest = digest;
    mutation.Emit(std::move(change));
    return Ok();
  }));
  core_->content_dirty = true;
  return Ok();
}

Result<std::unique_ptr<content::Reader>> ScopedContent::OpenReader(const model::Digest& digest) {
  content::Store* backend = TRY(Backend());
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket row = TRY(FindIn(tx, scope_.ns, {key::kContent, key::kBlob, digest.str()}));
    return row ? Ok() : NoContent(digest);
  }));
  return backend->OpenReader(digest);
}

Result<std::unique_ptr<content::Writer>> ScopedContent::OpenWriter(
    const content::WriterOptions& options) {
  content::Store* backend = TRY(Backend());
  if (options.ref.empty()) return InvalidArgumentError("ref must not be empty");
  const KeyLocks::Hold hold = core_->ingest_refs.Lock(StrCat(scope_.ns.str(), "/", options.ref));

  ScopedWriterState state;
  state.core = core_;
  state.scope = scope_;
  state.ref = options.ref;
  state.expected = options.expected;
  state.started = core_->Clock();
  if (!options.expected.empty()) state.digest_pin = core_->digests.Acquire(options.expected.str());

  const Before before = TRY(LookBefore(options));
  if (before.present) {
    const bool still_there = TRY(LeaseBlob(options.expected));
    if (still_there) return AlreadyExistsError("content ", options.expected.str());
  }
  state.backend_ref =
      before.ingest ? before.ingest->backend_ref : StrCat(scope_.ns.str(), "/1/", options.ref);
  state.ref_pin = core_->ingests.Acquire(state.backend_ref);
  TRY(TryShare(*backend, options, before, &state));
  if (state.shared.empty()) {
    Result<std::unique_ptr<content::Writer>> writer =
        backend->OpenWriter({state.backend_ref, options.expected, options.total});
    if (!writer.ok() && writer.error().Is(Code::kAlreadyExists)) {
      // The backend has the blob, but this namespace may not take it: it brings its own bytes.
      writer = backend->OpenWriter({state.backend_ref, model::Digest(), options.total});
    }
    state.backend = TRY(std::move(writer));
    FAILPOINT("metadata.ingest.opened");
  }
  const Status written = WriteIngest(options.ref, state.backend_ref, state.shared);
  if (!written.ok()) {
    core_->content_dirty = true;  // the backend's ingest may have no row
    return written.error().Clone();
  }
  return MakeScopedWriter(std::move(state));
}

Result<ScopedContent::Before> ScopedContent::LookBefore(
    const content::WriterOptions& options) const {
  Before before;
  before.may_share = core_->options.sharing == ContentSharing::kShared;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    TRY(CheckLease(tx, scope_));  // before the backend is asked for anything
    before.ingest = TRY(ReadIngest(tx, scope_.ns, options.ref));
    if (options.expected.empty()) return Ok();
    const MaybeBucket row =
        TRY(FindIn(tx, scope_.ns, {key::kContent, key::kBlob, options.expected.str()}));
    before.present = row.has_value();
    if (!before.present && !before.may_share) before.may_share = TRY(IsLent(tx, options.expected));
    return Ok();
  }));
  return before;
}

// The caller's lease takes a blob that is there. False: it was deleted meanwhile, a writer brings
// it back.
Result<bool> ScopedContent::LeaseBlob(const model::Digest& digest) {
  bool there = true;
  if (scope_.lease.empty()) return there;
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    TRY(AddLeaseMember(mutation, scope_, NodeKind::kContent, digest.str()));
    const MaybeBucket row =
        TRY(FindIn(mutation.tx, scope_.ns, {key::kContent, key::kBlob, digest.str()}));
    there = row.has_value();
    return Ok();
  }));
  return there;
}

// Sets state->shared if the backend's blob can be taken as it is.
Status ScopedContent::TryShare(content::Store& backend, const content::WriterOptions& options,
                               const Before& before, ScopedWriterState* state) {
  if (before.ingest) {
    const bool same = options.expected.empty() || before.ingest->shared == options.expected;
    if (same) state->shared = before.ingest->shared;
  } else if (before.may_share) {
    state->shared = options.expected;
  }
  if (state->shared.empty()) return Ok();
  if (options.expected.empty()) state->digest_pin = core_->digests.Acquire(state->shared.str());
  const Result<content::Info> blob = backend.GetInfo(state->shared);
  if (!blob.ok() && !blob.error().Is(Code::kNotFound)) return blob.error().Clone();
  if (blob.ok() && (options.total == 0 || options.total == blob->size)) {
    state->shared_size = blob->size;
  } else {
    state->shared = model::Digest();
  }
  return Ok();
}

Status ScopedContent::WriteIngest(const std::string& ref, const std::string& backend_ref,
                                  const model::Digest& shared) {
  return core_->Update([&](Mutation& mutation) -> Status {
    const bool leased = TRY(AddLeaseMember(mutation, scope_, NodeKind::kIngest, ref));
    bolt::Bucket rows = TRY(MakeIn(mutation.tx, scope_.ns, {key::kContent, key::kIngests}));
    MaybeBucket row = TRY(rows.FindBucket(ref));
    if (!row) {
      bolt::Bucket made = TRY(rows.CreateBucket(ref));
      const uint64_t sequence = TRY(made.NextSequence());
      CHECK(sequence == 1);  // of the ingest's own bucket: it is the number in backend_ref
      TRY(made.Put(key::kRef, backend_ref));
      row = made;
    }
    if (!leased) {
      mutation.expiry = AddNanos(core_->Clock(), kIngestLife);
      TRY(row->Put(key::kExpireAt, EncodeTime(*mutation.expiry)));
    }
    if (shared.empty()) {
      TRY(row->Delete(key::kExpected));
    } else {
      TRY(row->Put(key::kExpected, shared.str()));
    }
    mutation.Touch(NodeKind::kIngest, scope_.ns, ref);
    return Ok();
  });
}

Result<content::IngestStatus> ScopedContent::GetStatus(const std::string& ref) {
  content::Store* backend = TRY(Backend());
  std::optional<IngestRow> row;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    row = TRY(ReadIngest(tx, scope_.ns, ref));
    return row ? Ok() : NoIngest(ref);
  }));
  if (!row->shared.empty()) return SharedStatus(*backend, ref, row->shared, core_->Clock());
  content::IngestStatus status = TRY(backend->GetStatus(row->backend_ref));
  status.ref = ref;
  return status;
}

Result<std::vector<content::IngestStatus>> ScopedContent::ListStatuses(
    const content::Filters& filters) {
  content::Store* backend = TRY(Backend());
  const model::Filter filter = TRY(model::Filter::Parse(filters));
  std::vector<std::pair<std::string, IngestRow>> rows;
  TRY(core_->View([&](const bolt::Tx& tx) -> Status {
    const MaybeBucket ingests = TRY(FindIn(tx, scope_.ns, {key::kContent, key::kIngests}));
    if (!ingests) return Ok();
    return ForEachBucket(*ingests, [&](std::string_view ref, const bolt::Bucket&) -> Status {
      const bool wanted =
          filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
            if (path.size() == 1 && path[0] == "ref") return std::string(ref);
            return std::nullopt;
          });
      if (!wanted) return Ok();
      std::optional<IngestRow> row = TRY(ReadIngest(tx, scope_.ns, ref));
      if (row) rows.emplace_back(ref, std::move(*row));
      return Ok();
    });
  }));
  std::vector<content::IngestStatus> statuses;
  for (const auto& [ref, row] : rows) {
    Result<content::IngestStatus> status =
        row.shared.empty() ? backend->GetStatus(row.backend_ref)
                           : SharedStatus(*backend, ref, row.shared, core_->Clock());
    if (!status.ok()) {
      if (status.error().Is(Code::kNotFound))
        continue;  // a crash left the row alone, or it ended just now
      return std::move(status).TakeError();
    }
    status->ref = ref;
    statuses.push_back(std::move(*status));
  }
  return statuses;
}

Status ScopedContent::Abort(const std::string& ref) {
  content::Store* backend = TRY(Backend());
  const KeyLocks::Hold hold = core_->ingest_refs.Lock(StrCat(scope_.ns.str(), "/", ref));
  std::optional<IngestRow> row;
  TRY(core_->Update([&](Mutation& mutation) -> Status {
    row = TRY(ReadIngest(mutation.tx, scope_.ns, ref));
    if (!row) return NoIngest(ref);
    TRY(RemoveLeaseMember(mutation, scope_, NodeKind::kIngest, ref));
    bolt::Bucket rows = TRY(MakeIn(mutation.tx, scope_.ns, {key::kContent, key::kIngests}));
    return rows.DeleteBucket(ref);
  }));
  core_->content_dirty = true;
  if (!row->shared.empty()) return Ok();
  const Status aborted = backend->Abort(row->backend_ref);
  if (!aborted.ok() && !aborted.error().Is(Code::kNotFound)) return aborted.error().Clone();
  return Ok();
}

}  // namespace corten::metadata
