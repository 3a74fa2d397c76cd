#include "content/local/local_store.h"

#include <algorithm>
#include <map>

#include "content/local/blob_dirs.h"
#include "content/local/counters.h"
#include "content/local/ingest_dirs.h"
#include "content/local/live_ingests.h"
#include "content/local/local_writer.h"
#include "model/filter.h"

namespace corten::content {

namespace {

constexpr mode_t kRootMode = 0755;

class LocalReader final : public Reader {
 public:
  LocalReader(Fd file, int64_t size, model::Digest digest)
      : file_(std::move(file)), size_(size), digest_(std::move(digest)) {}
  int64_t size() const override { return size_; }
  FdRef file() const override { return file_; }
  Result<size_t> ReadAt(std::span<char> buffer, int64_t offset) override {
    if (offset < 0)
      return InvalidArgumentError("content ", digest_.str(), ": negative offset ", offset);
    size_t filled = 0;
    while (filled < buffer.size()) {
      const uint64_t at = static_cast<uint64_t>(offset) + filled;
      const size_t got =
          TRY(PreadSome(file_, buffer.data() + filled, buffer.size() - filled, at, digest_.str()));
      if (got == 0) break;
      filled += got;
    }
    return filled;
  }

 private:
  const Fd file_;
  const int64_t size_;
  const model::Digest digest_;
};

Info InfoOf(const model::Digest& digest, const struct stat& st) {
  Info info;
  info.digest = digest;
  info.size = st.st_size;
  info.created_at = {st.st_mtim.tv_sec, static_cast<int32_t>(st.st_mtim.tv_nsec)};
  info.updated_at = {st.st_atim.tv_sec, static_cast<int32_t>(st.st_atim.tv_nsec)};
  return info;
}

IngestStatus StatusOf(const StoredIngest& stored) {
  IngestStatus status;
  status.ref = stored.ref;
  status.offset = stored.size;
  status.total = stored.total;
  status.started_at = stored.started_at;
  status.updated_at = stored.updated_at;
  return status;
}

bool MatchesBlob(const model::Filter& filter, const Info& info) {
  return filter.matches_all() ||
         filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
           if (path.size() == 1 && path[0] == "digest") return info.digest.str();
           return std::nullopt;  // no labels here; `size` is accepted and never matches
         });
}

bool MatchesIngest(const model::Filter& filter, const IngestStatus& status) {
  return filter.matches_all() ||
         filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
           if (path.size() == 1 && path[0] == "ref") return status.ref;
           return std::nullopt;
         });
}

Error NoIngest(const std::string& ref) { return NotFoundError("ingest ", Quoted(ref)); }

}  // namespace

LocalStore::LocalStore(Dir root, Options options)
    : root_(std::move(root)), options_(std::move(options)) {}
LocalStore::~LocalStore() = default;

Result<std::unique_ptr<LocalStore>> LocalStore::Open(const std::string& root) {
  return Open(root, Options());
}

Result<std::unique_ptr<LocalStore>> LocalStore::Open(const std::string& root, Options options) {
  Dir dir = TRY(Dir::Create(root, kRootMode));
  auto store = std::unique_ptr<LocalStore>(new LocalStore(std::move(dir), std::move(options)));
  store->counters_ = std::make_unique<Counters>();
  store->ingests_ = TRY(IngestDirs::Open(store->root_));
  store->blobs_ = TRY(BlobDirs::Open(store->root_));
  store->live_ = std::make_unique<LiveIngests>(kParkedHashes);
  return store;
}

Result<Info> LocalStore::GetInfo(const model::Digest& digest) {
  const struct stat st = TRY(blobs_->Stat(digest));
  return InfoOf(digest, st);
}

Result<Info> LocalStore::Update(const Info& info, const FieldPaths& /*paths*/) {
  return FailedPreconditionError("content ", info.digest.str(), ": this store keeps no labels");
}

Status LocalStore::Walk(const Filters& filters, const std::function<Status(const Info&)>& visit) {
  const model::Filter filter = TRY(model::Filter::Parse(filters));
  const std::vector<model::Digest> digests = TRY(blobs_->List());
  for (const model::Digest& digest : digests) {
    const Result<struct stat> st = blobs_->Stat(digest);
    if (!st.ok()) {
      if (st.error().Is(Code::kNotFound)) continue;  // deleted meanwhile
      return st.error().Clone();
    }
    const Info info = InfoOf(digest, *st);
    if (MatchesBlob(filter, info)) TRY(visit(info));
  }
  return Ok();
}

Status LocalStore::Delete(const model::Digest& digest) { return blobs_->Remove(digest); }

Result<std::unique_ptr<Reader>> LocalStore::OpenReader(const model::Digest& digest) {
  Fd file = TRY(blobs_->OpenFile(digest));
  struct stat st = {};
  if (fstat(file.get(), &st) != 0) return ErrnoError(errno, "content ", digest.str());
  return std::unique_ptr<Reader>(
      std::make_unique<LocalReader>(std::move(file), st.st_size, digest));
}

Result<std::unique_ptr<Writer>> LocalStore::OpenWriter(const WriterOptions& options) {
  if (options.ref.empty()) return InvalidArgumentError("ref must not be empty");
  if (options.total < 0)
    return InvalidArgumentError("ref ", options.ref, ": negative total ", options.total);
  return LocalWriter::Open({options_, *counters_, *blobs_, *ingests_, *live_}, options);
}

Result<IngestStatus> LocalStore::GetStatus(const std::string& ref) {
  if (const std::shared_ptr<LiveIngest> live = live_->Find(ref); live != nullptr) {
    const std::lock_guard lock(live->mutex);
    if (live->ready && !live->aborted && !live->ended) return live->status;
    if (live->ready) return NoIngest(ref);
  }
  const std::optional<StoredIngest> stored = TRY(ingests_->Load(IngestDirs::NameOf(ref)));
  if (!stored.has_value()) return NoIngest(ref);
  return StatusOf(*stored);
}

Result<std::vector<IngestStatus>> LocalStore::ListStatuses(const Filters& filters) {
  const model::Filter filter = TRY(model::Filter::Parse(filters));
  // Writers first: an ingest whose writer goes meanwhile is then found as a directory, or was seen
  // here.
  std::map<std::string, std::optional<IngestStatus>>
      found;  // by ref, the order of the answer; nullopt: ended
  for (const std::shared_ptr<LiveIngest>& live : live_->All()) {
    const std::lock_guard lock(live->mutex);
    if (!live->ready) continue;
    found[live->ref] =
        live->aborted || live->ended ? std::nullopt : std::optional<IngestStatus>(live->status);
  }
  const std::vector<std::string> names = TRY(ingests_->List());
  for (const std::string& name : names) {
    const std::optional<StoredIngest> stored = TRY(ingests_->Load(name));
    if (stored.has_value()) found.try_emplace(stored->ref, StatusOf(*stored));
  }
  std::vector<IngestStatus> statuses;
  for (auto& [ref, status] : found) {
    if (status.has_value() && MatchesIngest(filter, *status))
      statuses.push_back(std::move(*status));
  }
  return statuses;
}

Status LocalStore::Abort(const std::string& ref) {
  const std::string name = IngestDirs::NameOf(ref);
  Result<std::shared_ptr<LiveIngest>> mine = live_->Lock(ref, options_.clock());
  if (mine.ok()) {
    (void)live_->Unpark(ref);
    const bool there = ingests_->dir().Exists(name);
    Status removed = there ? ingests_->Remove(name) : NoIngest(ref);
    live_->Unlock(**mine);
    return removed;
  }
  const std::shared_ptr<LiveIngest> live = live_->Find(ref);
  if (live == nullptr)
    return std::move(mine).TakeError();  // its writer went this moment: the caller may try again
  const std::lock_guard lock(live->mutex);
  if (live->aborted || live->ended) return NoIngest(ref);
  if (!live->ready) return std::move(mine).TakeError();  // being opened or aborted by another call
  live->aborted = true;
  live->status.offset = 0;
  if (!live->named) return Ok();
  live->named = false;
  return ingests_->Remove(name);
}

LocalStore::Stats LocalStore::GetStats() const {
  Stats stats;
  stats.file_flushes = counters_->file_flushes;
  stats.directory_flushes = blobs_->flushes();
  stats.commits = counters_->commits;
  stats.hidden_commits = counters_->hidden_commits;
  stats.bytes_hashed = counters_->bytes_hashed;
  stats.bytes_read_back = counters_->bytes_read_back;
  return stats;
}

}  // namespace corten::content
