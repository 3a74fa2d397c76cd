#include "content/fake_store.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "model/filter.h"

namespace corten::content {

namespace {

std::string HashOf(std::string_view data, std::string_view algorithm) {
  Hasher hasher = Hasher::Create(algorithm).value();
  hasher.Update(data);
  return hasher.Digest();
}

class FakeReader final : public Reader {
 public:
  explicit FakeReader(std::shared_ptr<const std::string> data) : data_(std::move(data)) {}
  int64_t size() const override { return static_cast<int64_t>(data_->size()); }
  Result<size_t> ReadAt(std::span<char> buffer, int64_t offset) override {
    if (offset < 0) return InvalidArgumentError("negative offset ", offset);
    if (offset >= size()) return size_t{0};
    const size_t count = std::min(buffer.size(), data_->size() - static_cast<size_t>(offset));
    memcpy(buffer.data(), data_->data() + offset, count);
    return count;
  }

 private:
  const std::shared_ptr<const std::string> data_;  // owners: the store and readers
};

model::Labels WithoutEmpty(model::Labels labels) {
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
  return labels;
}

}  // namespace

class FakeWriter final : public Writer {
 public:
  FakeWriter(FakeStore& store, std::string ref, uint64_t number)
      : store_(store), ref_(std::move(ref)), number_(number) {}
  ~FakeWriter() override {
    const std::lock_guard lock(store_.mutex_);
    if (FakeStore::Ingest* ingest = Find(); ingest != nullptr) {
      ingest->locked = false;
    } else {
      store_.orphan_locks_.erase(ref_);
    }
  }

  Status Write(std::string_view data) override {
    const std::lock_guard lock(store_.mutex_);
    FakeStore::Ingest* ingest = TRY(Get());
    if (store_.capacity_ >= 0 &&
        store_.UsedBytes() + static_cast<int64_t>(data.size()) > store_.capacity_) {
      return ResourceExhaustedError("ingest ", Quoted(ref_), ": no space left on device");
    }
    ingest->data.append(data);
    ingest->status.offset = static_cast<int64_t>(ingest->data.size());
    ingest->status.updated_at = store_.clock_();
    return Ok();
  }

  Result<IngestStatus> GetStatus() override {
    const std::lock_guard lock(store_.mutex_);
    FakeStore::Ingest* ingest = TRY(Get());
    return ingest->status;
  }

  Result<model::Digest> CurrentDigest() override {
    const std::lock_guard lock(store_.mutex_);
    FakeStore::Ingest* ingest = TRY(Get());
    const model::Digest& expected = ingest->status.expected;
    return model::Digest::Parse(
        HashOf(ingest->data, expected.empty() ? "sha256" : expected.algorithm()));
  }

  Status Truncate(int64_t size) override {
    const std::lock_guard lock(store_.mutex_);
    FakeStore::Ingest* ingest = TRY(Get());
    if (size != 0)
      return InvalidArgumentError("ingest ", Quoted(ref_), ": can be truncated to 0 only, not to ",
                                  size);
    ingest->data.clear();
    ingest->status.offset = 0;
    return Ok();
  }

  Result<model::Digest> Commit(const CommitOptions& options) override {
    const std::lock_guard lock(store_.mutex_);
    FakeStore::Ingest* ingest = TRY(Get());
    if (options.size > 0 && options.size != ingest->status.offset) {
      return FailedPreconditionError("unexpected commit size ", ingest->status.offset,
                                     ", expected ", options.size);
    }
    const model::Digest& wanted =
        options.expected.empty() ? ingest->status.expected : options.expected;
    const model::Digest digest = TRY(
        model::Digest::Parse(HashOf(ingest->data, wanted.empty() ? "sha256" : wanted.algorithm())));
    if (!options.expected.empty() && digest != options.expected) {
      return FailedPreconditionError("unexpected commit digest ", digest.str(), ", expected ",
                                     options.expected.str());
    }
    TRY(model::ValidateLabels(options.labels));
    FakeStore::Blob blob;
    blob.info.digest = digest;
    blob.info.size = ingest->status.offset;
    blob.info.created_at = store_.clock_();
    blob.info.updated_at = blob.info.created_at;
    blob.info.labels = WithoutEmpty(options.labels);
    blob.data = std::make_shared<const std::string>(std::move(ingest->data));
    store_.ingests_.erase(ref_);
    store_.orphan_locks_.emplace(ref_, store_.clock_());  // until this writer goes
    closed_ = true;
    if (!store_.blobs_.emplace(digest, std::move(blob)).second)
      return AlreadyExistsError("content ", digest.str());
    return digest;
  }

 private:
  FakeStore::Ingest* Find() {
    const auto found = store_.ingests_.find(ref_);
    return found == store_.ingests_.end() || found->second.number != number_ ? nullptr
                                                                             : &found->second;
  }
  Result<FakeStore::Ingest*> Get() {
    if (closed_) return FailedPreconditionError("ingest ", Quoted(ref_), ": writer is closed");
    FakeStore::Ingest* ingest = Find();
    if (ingest == nullptr) return NotFoundError("ingest ", Quoted(ref_), ": aborted");
    return ingest;
  }

  FakeStore& store_;
  const std::string ref_;
  const uint64_t number_;
  bool closed_ = false;
};

FakeStore::FakeStore(WallClock clock) : clock_(std::move(clock)) {}
FakeStore::~FakeStore() = default;

int64_t FakeStore::UsedBytes() const {
  int64_t used = 0;
  for (const auto& [digest, blob] : blobs_) used += blob.info.size;
  for (const auto& [ref, ingest] : ingests_) used += ingest.status.offset;
  return used;
}

void FakeStore::SetCapacity(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
}

model::Digest FakeStore::Add(const std::string& data, const model::Labels& labels) {
  Blob blob;
  blob.info.digest = model::Digest::Parse(HashOf(data, "sha256")).value();
  blob.info.size = static_cast<int64_t>(data.size());
  blob.info.created_at = clock_();
  blob.info.updated_at = blob.info.created_at;
  blob.info.labels = labels;
  blob.data = std::make_shared<const std::string>(data);
  const model::Digest digest = blob.info.digest;
  const std::lock_guard lock(mutex_);
  blobs_.insert_or_assign(digest, std::move(blob));
  return digest;
}

Result<Info> FakeStore::GetInfo(const model::Digest& digest) {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return NotFoundError("content ", digest.str());
  return found->second.info;
}

Result<Info> FakeStore::Update(const Info& info, const FieldPaths& paths) {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(info.digest);
  if (found == blobs_.end()) return NotFoundError("content ", info.digest.str());
  TRY(model::UpdateLabels(found->second.info.labels, info.labels, paths));
  found->second.info.updated_at = clock_();
  return found->second.info;
}

Status FakeStore::Walk(const Filters& filters, const std::function<Status(const Info&)>& visit) {
  const model::Filter filter = TRY(model::Filter::Parse(filters));
  std::vector<Info> infos;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [digest, blob] : blobs_) infos.push_back(blob.info);
  }
  for (const Info& info : infos) {
    const bool matches =
        filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
          if (path.size() == 1 && path[0] == "digest") return info.digest.str();
          if (path.size() > 1 && path[0] == "labels") return model::LookupLabel(info.labels, path);
          return std::nullopt;
        });
    if (matches) TRY(visit(info));
  }
  return Ok();
}

Status FakeStore::Delete(const model::Digest& digest) {
  const std::lock_guard lock(mutex_);
  if (blobs_.erase(digest) == 0) return NotFoundError("content ", digest.str());
  return Ok();
}

Result<std::unique_ptr<Reader>> FakeStore::OpenReader(const model::Digest& digest) {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return NotFoundError("content ", digest.str());
  return std::unique_ptr<Reader>(std::make_unique<FakeReader>(found->second.data));
}

Result<std::unique_ptr<Writer>> FakeStore::OpenWriter(const WriterOptions& options) {
  if (options.ref.empty()) return InvalidArgumentError("ref must not be empty");
  const std::lock_guard lock(mutex_);
  const Time now = clock_();
  auto found = ingests_.find(options.ref);
  const auto orphan = orphan_locks_.find(options.ref);
  if (orphan != orphan_locks_.end() || (found != ingests_.end() && found->second.locked)) {
    const Time since = orphan != orphan_locks_.end() ? orphan->second : found->second.locked_since;
    return UnavailableError("ref ", options.ref, " locked for ",
                            FormatDuration(now.UnixNanos() - since.UnixNanos()), " (since ",
                            FormatRfc3339(since), ")");
  }
  if (!options.expected.empty() && blobs_.contains(options.expected)) {
    return AlreadyExistsError("content ", options.expected.str());
  }
  const bool other_total = found != ingests_.end() && options.total > 0 &&
                           found->second.status.total > 0 &&
                           found->second.status.total != options.total;
  if (other_total) {
    ingests_.erase(found);
    found = ingests_.end();
  }
  if (found == ingests_.end()) {
    found = ingests_.emplace(options.ref, Ingest()).first;
    found->second.status.ref = options.ref;
    found->second.status.started_at = now;
    found->second.status.updated_at = now;
    found->second.number = next_number_++;
  }
  Ingest& ingest = found->second;
  ingest.locked = true;
  ingest.locked_since = now;
  ingest.status.expected = options.expected;
  if (options.total > 0) ingest.status.total = options.total;
  return std::unique_ptr<Writer>(std::make_unique<FakeWriter>(*this, options.ref, ingest.number));
}

Result<IngestStatus> FakeStore::GetStatus(const std::string& ref) {
  const std::lock_guard lock(mutex_);
  const auto found = ingests_.find(ref);
  if (found == ingests_.end()) return NotFoundError("ingest ", Quoted(ref));
  return found->second.status;
}

Result<std::vector<IngestStatus>> FakeStore::ListStatuses(const Filters& filters) {
  const model::Filter filter = TRY(model::Filter::Parse(filters));
  const std::lock_guard lock(mutex_);
  std::vector<IngestStatus> statuses;
  for (const auto& [ref, ingest] : ingests_) {
    const std::string& value = ref;
    const bool matches =
        filter.Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
          if (path.size() == 1 && path[0] == "ref") return value;
          return std::nullopt;
        });
    if (matches) statuses.push_back(ingest.status);
  }
  return statuses;
}

Status FakeStore::Abort(const std::string& ref) {
  const std::lock_guard lock(mutex_);
  const auto found = ingests_.find(ref);
  if (found == ingests_.end()) return NotFoundError("ingest ", Quoted(ref));
  if (found->second.locked) orphan_locks_.emplace(ref, found->second.locked_since);
  ingests_.erase(found);
  return Ok();
}

}  // namespace corten::content
