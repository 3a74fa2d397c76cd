#include "content/local/local_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/failpoint.h"

namespace corten::content {

namespace {
constexpr size_t kReadBack = 1 << 20;  // bytes at a time when a file is hashed again
constexpr int64_t kWriteBackStep =
    16 << 20;  // bytes; so that the flush at commit finds little left to do

bool IsDiskFull(const Error& error) {
  return error.sys_errno() == ENOSPC || error.sys_errno() == EDQUOT;
}

// Feeds the first `size` bytes of `file` to `hasher`. kDataLoss: it is shorter.
Status HashFile(FdRef file, int64_t size, Hasher& hasher, LocalStore::Counters& counters,
                std::string_view what) {
  std::vector<char> buffer(static_cast<size_t>(std::min<int64_t>(size, kReadBack)));
  (void)posix_fadvise(file.get(), 0, size, POSIX_FADV_SEQUENTIAL);  // a hint
  for (int64_t at = 0; at < size;) {
    const size_t want =
        static_cast<size_t>(std::min<int64_t>(size - at, static_cast<int64_t>(buffer.size())));
    const size_t got = TRY(PreadSome(file, buffer.data(), want, static_cast<uint64_t>(at), what));
    if (got == 0) return DataLossError(what, ": ends after ", at, " of ", size, " bytes");
    hasher.Update(buffer.data(), got);
    at += static_cast<int64_t>(got);
  }
  counters.bytes_hashed += static_cast<uint64_t>(size);
  counters.bytes_read_back += static_cast<uint64_t>(size);
  return Ok();
}

std::string_view AlgorithmFor(const model::Digest& expected) {
  return expected.empty() ? std::string_view("sha256") : expected.algorithm();
}
}  // namespace

LocalWriter::LocalWriter(const StoreParts& parts, std::shared_ptr<LiveIngest> live, Hasher hasher)
    : parts_(parts),
      live_(std::move(live)),
      name_(IngestDirs::NameOf(live_->ref)),
      hasher_(std::move(hasher)) {}

Result<std::unique_ptr<Writer>> LocalWriter::Open(const StoreParts& parts,
                                                  const WriterOptions& options) {
  Hasher hasher = TRY(Hasher::Create(AlgorithmFor(options.expected)));
  std::shared_ptr<LiveIngest> live = TRY(parts.live.Lock(options.ref, parts.options.clock()));
  auto writer =
      std::unique_ptr<LocalWriter>(new LocalWriter(parts, std::move(live), std::move(hasher)));
  if (!options.expected.empty()) {
    const bool exists = TRY(parts.blobs.SettledExists(options.expected));
    if (exists) return AlreadyExistsError("content ", options.expected.str());
  }
  TRY(writer->Begin(options));
  return std::unique_ptr<Writer>(std::move(writer));
}

Status LocalWriter::Begin(const WriterOptions& options) {
  IngestStatus status;
  status.ref = options.ref;
  status.expected = options.expected;
  status.total = options.total;
  std::optional<StoredIngest> stored = TRY(parts_.ingests.Load(name_));
  const bool other_total = stored.has_value() && stored->total > 0 && options.total > 0 &&
                           stored->total != options.total;
  if (other_total) {
    TRY(parts_.ingests.Remove(name_));
    stored.reset();
  }
  if (stored.has_value()) {
    TRY(Resume(*stored));
    if (stored->total == 0 && options.total > 0)
      TRY(parts_.ingests.StoreTotal(name_, options.total));
    if (options.total == 0) status.total = stored->total;
    status.offset = offset_;
    status.started_at = stored->started_at;
    status.updated_at = stored->updated_at;
  } else {
    (void)parts_.live.Unpark(options.ref);
    status.started_at = live_->locked_since;
    status.updated_at = live_->locked_since;
  }
  const std::lock_guard lock(live_->mutex);
  live_->status = std::move(status);
  live_->named = stored.has_value();
  live_->ready = true;
  return Ok();
}

Status LocalWriter::Resume(const StoredIngest& stored) {
  file_ = TRY(parts_.ingests.OpenData(name_));
  std::optional<ParkedHash> parked = parts_.live.Unpark(stored.ref);
  if (parked.has_value() && parked->offset == stored.size &&
      parked->hasher.algorithm() == hasher_.algorithm()) {
    hasher_ = std::move(parked->hasher);
  } else {
    TRY(HashFile(file_, stored.size, hasher_, parts_.counters, What()));
  }
  offset_ = stored.size;
  written_back_ = stored.size;
  return Ok();
}

LocalWriter::~LocalWriter() {
  bool keep = false;
  {
    const std::lock_guard lock(live_->mutex);
    keep = live_->ready && !live_->aborted && !live_->ended;
  }
  // Errors are dropped: what cannot be kept is a shorter prefix of the ingest, down to nothing.
  if (keep && broken_.has_value()) (void)parts_.ingests.Remove(name_);
  if (keep && !broken_.has_value() && FlushData().ok()) {
    const std::lock_guard lock(live_->mutex);
    if (!live_->aborted) {
      const Status stored =
          live_->named ? parts_.ingests.StoreUpdated(name_, live_->status.updated_at) : MakeNamed();
      if (stored.ok()) parts_.live.Park(live_->ref, {std::move(hasher_), offset_});
    }
  }
  file_.Reset();
  parts_.live.Unlock(*live_);
}

std::string LocalWriter::What() const { return StrCat("ingest ", Quoted(live_->ref)); }

Status LocalWriter::CheckUsable() {
  if (broken_.has_value()) return broken_->Clone();
  const std::lock_guard lock(live_->mutex);
  if (live_->ended) return FailedPreconditionError(What(), ": writer is closed");
  if (live_->aborted) return NotFoundError(What(), ": aborted");
  return Ok();
}

// REQUIRES: live_->mutex is held.
Status LocalWriter::MakeNamed() {
  StoredIngest ingest;
  ingest.ref = live_->ref;
  ingest.total = live_->status.total;
  ingest.started_at = live_->status.started_at;
  ingest.updated_at = live_->status.updated_at;
  const std::optional<FdRef> hidden = file_.valid() ? std::optional<FdRef>(file_) : std::nullopt;
  file_ = TRY(parts_.ingests.Create(name_, ingest, hidden));
  live_->named = true;
  return Ok();
}

// Sees to it that there is a file, and that it has a name if it will be larger than kHiddenLimit.
Status LocalWriter::EnsureFile(int64_t size_ahead) {
  const std::lock_guard lock(live_->mutex);
  if (live_->aborted) return NotFoundError(What(), ": aborted");
  if (live_->named) return Ok();
  const bool large = offset_ + size_ahead > kHiddenLimit || live_->status.total > kHiddenLimit;
  if (large || !parts_.options.hidden_files) return MakeNamed();
  if (file_.valid()) return Ok();
  Result<Fd> hidden = parts_.ingests.CreateHidden();
  if (!hidden.ok() && hidden.error().Is(Code::kUnimplemented)) return MakeNamed();
  file_ = TRY(std::move(hidden));
  return Ok();
}

void LocalWriter::Progress() {
  const std::lock_guard lock(live_->mutex);
  live_->status.offset = offset_;
  live_->status.updated_at = parts_.options.clock();
}

Error LocalWriter::WithFreeBytes(Error error) const {
  if (!IsDiskFull(error)) return error;
  struct statvfs fs = {};
  if (fstatvfs(parts_.ingests.dir().fd().get(), &fs) != 0) return error;
  const uint64_t free_bytes = static_cast<uint64_t>(fs.f_bavail) * fs.f_frsize;
  return Error(Code::kResourceExhausted, StrCat(error.text(), " (", free_bytes, " bytes free)"),
               error.sys_errno());
}

Status LocalWriter::Write(std::string_view data) {
  TRY(CheckUsable());
  if (data.empty()) return Ok();
  const auto append = [&]() -> Status {
    TRY(EnsureFile(static_cast<int64_t>(data.size())));
    flushed_ = false;
    FAILPOINT_ERROR("content.write.full",
                    ErrnoError(ENOSPC, "write ", parts_.ingests.DataPath(name_)));
    return PwriteAll(file_, data, static_cast<uint64_t>(offset_), parts_.ingests.DataPath(name_));
  };
  Status appended = append();
  if (!appended.ok()) {
    // The file must not hold more than what was hashed.
    if (file_.valid() && ftruncate(file_.get(), offset_) != 0) broken_ = appended.error().Clone();
    return WithFreeBytes(std::move(appended).TakeError());
  }
  hasher_.Update(data);
  parts_.counters.bytes_hashed += data.size();
  offset_ += static_cast<int64_t>(data.size());
  if (offset_ - written_back_ >= kWriteBackStep) {
    // Begins writing without waiting for it; errors show in the flush.
    (void)sync_file_range(file_.get(), written_back_, offset_ - written_back_,
                          SYNC_FILE_RANGE_WRITE);
    written_back_ = offset_;
  }
  Progress();
  return Ok();
}

Result<IngestStatus> LocalWriter::GetStatus() {
  TRY(CheckUsable());
  const std::lock_guard lock(live_->mutex);
  return live_->status;
}

Result<model::Digest> LocalWriter::CurrentDigest() {
  TRY(CheckUsable());
  return model::Digest::Parse(hasher_.Digest());
}

Status LocalWriter::Truncate(int64_t size) {
  TRY(CheckUsable());
  if (size != 0) return InvalidArgumentError(What(), ": can be truncated to 0 only, not to ", size);
  if (file_.valid() && ftruncate(file_.get(), 0) != 0)
    return ErrnoError(errno, "truncate ", parts_.ingests.DataPath(name_));
  hasher_.Reset();
  offset_ = 0;
  written_back_ = 0;
  flushed_ = false;
  Progress();
  return Ok();
}

Status LocalWriter::FlushData() {
  if (!file_.valid() || flushed_) return Ok();
  const auto flush = [&]() -> Status {
    FAILPOINT_ERROR("content.commit.flush",
                    ErrnoError(EIO, "flush ", parts_.ingests.DataPath(name_)));
    if (FAILPOINT_SKIPS("content.commit.flush")) return Ok();
    return Fsync(file_, parts_.ingests.DataPath(name_));
  };
  Status flushed = flush();
  ++parts_.counters.file_flushes;
  if (!flushed.ok()) {
    broken_ = WithFreeBytes(std::move(flushed).TakeError());
    return broken_->Clone();
  }
  flushed_ = true;
  return Ok();
}

// The digest of what was written, in the algorithm of `expected` (that of the writer if it is
// empty).
Result<model::Digest> LocalWriter::DigestFor(const model::Digest& expected) {
  if (expected.empty() || expected.algorithm() == hasher_.algorithm())
    return model::Digest::Parse(hasher_.Digest());
  Hasher other = TRY(Hasher::Create(expected.algorithm()));
  if (file_.valid()) TRY(HashFile(file_, offset_, other, parts_.counters, What()));
  return model::Digest::Parse(other.Digest());
}

Result<model::Digest> LocalWriter::Commit(const CommitOptions& options) {
  TRY(CheckUsable());
  if (options.size > 0 && options.size != offset_) {
    return FailedPreconditionError("unexpected commit size ", offset_, ", expected ", options.size);
  }
  const model::Digest digest = TRY(DigestFor(options.expected));
  if (!options.expected.empty() && digest != options.expected) {
    return FailedPreconditionError("unexpected commit digest ", digest.str(), ", expected ",
                                   options.expected.str());
  }
  const bool exists = TRY(parts_.blobs.SettledExists(digest));
  if (exists) {
    TRY(EndExisting());
    return AlreadyExistsError("content ", digest.str());
  }
  Status made = EnsureFile(0);  // an empty blob has no file yet
  if (!made.ok()) return WithFreeBytes(std::move(made).TakeError());
  Status published = PublishFile(digest);
  if (!published.ok()) {
    if (published.error().Is(Code::kAlreadyExists)) {
      TRY(EndExisting());
      return AlreadyExistsError("content ", digest.str());
    }
    return WithFreeBytes(std::move(published).TakeError());
  }
  FAILPOINT("content.commit.done");
  ++parts_.counters.commits;
  return digest;
}

Status LocalWriter::PublishFile(const model::Digest& digest) {
  struct stat st = {};
  if (fstat(file_.get(), &st) != 0)
    return ErrnoError(errno, "stat ", parts_.ingests.DataPath(name_));
  if (st.st_size != offset_) {
    return DataLossError(What(), ": its file has ", st.st_size, " bytes instead of the ", offset_,
                         " written");
  }
  if ((st.st_mode & 0333) != 0 && fchmod(file_.get(), st.st_mode & 0444) != 0) {
    return ErrnoError(errno, "set mode of ", parts_.ingests.DataPath(name_));
  }
  (void)futimens(file_.get(), nullptr);  // times of the blob: cosmetic, and the file is ours
  flushed_ = false;
  TRY(FlushData());
  FAILPOINT("content.commit.synced");
  bool named = false;
  const auto place = [&](const Dir& blobs, const std::string& blob) -> Status {
    const std::lock_guard lock(live_->mutex);
    if (live_->aborted) return NotFoundError(What(), ": aborted");
    named = live_->named;
    if (named) {
      TRY(parts_.ingests.MoveData(name_, blobs, blob));
    } else {
      TRY(GiveName(file_, blobs, blob));
    }
    live_->ended = true;
    return Ok();
  };
  Status published = parts_.blobs.Publish(digest, place);
  if (!published.ok()) {
    const std::lock_guard lock(live_->mutex);
    // Placed, but its directory could not be flushed and the name was taken back: the data is gone.
    if (live_->ended) broken_ = published.error().Clone();
    if (live_->ended && named) (void)parts_.ingests.Remove(name_);
    return published;
  }
  if (named) {
    (void)parts_.ingests.Remove(name_);  // without data it is no ingest: Open sweeps it
  } else {
    ++parts_.counters.hidden_commits;
  }
  return Ok();
}

// The blob was there before us: the ingest ends.
Status LocalWriter::EndExisting() {
  const std::lock_guard lock(live_->mutex);
  if (live_->named && !live_->aborted) TRY(parts_.ingests.Remove(name_));
  live_->ended = true;
  return Ok();
}

}  // namespace corten::content
