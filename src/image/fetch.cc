#include "image/fetch.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "image/manifest.h"

namespace corten::image {

namespace {

constexpr size_t kReadSize = 256u << 10;
constexpr size_t kMaxSourceLabel = 4096;            // key and value
constexpr std::chrono::milliseconds kLockPoll(20);  // while somebody else writes the same ingest

class StoredBlob final : public diff::ByteSource {
 public:
  explicit StoredBlob(std::unique_ptr<content::Reader> reader) : reader_(std::move(reader)) {}
  Result<size_t> Read(std::span<char> buffer) override {
    const size_t n = TRY(reader_->ReadAt(buffer, at_));
    at_ += static_cast<int64_t>(n);
    return n;
  }

 private:
  std::unique_ptr<content::Reader> reader_;
  int64_t at_ = 0;
};

// `repository` added to a sorted comma list.
std::string WithRepository(const std::string& list, const std::string& repository) {
  std::set<std::string> names = {repository};
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    if (end > at) names.insert(list.substr(at, end - at));
    at = end + 1;
  }
  std::string out;
  for (const std::string& name : names) out += out.empty() ? name : "," + name;
  return out;
}

}  // namespace

// Hands on what it stores.
class Fetcher::Tee final : public diff::ByteSource {
 public:
  Tee(Fetcher* fetcher, const model::Descriptor& blob, std::unique_ptr<diff::ByteSource> body,
      std::unique_ptr<content::Writer> writer, int64_t at)
      : fetcher_(fetcher),
        blob_(blob),
        body_(std::move(body)),
        writer_(std::move(writer)),
        at_(at) {}

  Result<size_t> Read(std::span<char> buffer) override {
    if (writer_ == nullptr) return size_t{0};
    if (fetcher_->canceled_ && fetcher_->canceled_()) return CanceledError("fetch: canceled");
    const size_t n = TRY(body_->Read(buffer));
    if (n == 0) {
      body_.reset();  // its connection is free again
      TRY(fetcher_->Commit(blob_, std::move(writer_)));
      return size_t{0};
    }
    TRY(writer_->Write({buffer.data(), n}));
    at_ += static_cast<int64_t>(n);
    fetcher_->tracker_->Update(blob_, "downloading", at_);
    return n;
  }

 private:
  Fetcher* const fetcher_;
  const model::Descriptor blob_;
  std::unique_ptr<diff::ByteSource> body_;
  std::unique_ptr<content::Writer> writer_;
  int64_t at_;
};

Result<std::unique_ptr<content::Writer>> Fetcher::Begin(const model::Descriptor& blob) {
  while (true) {
    Result<std::unique_ptr<content::Writer>> writer =
        store_->OpenWriter({IngestRef(blob), blob.digest, blob.size});
    if (writer.ok()) return writer;
    if (writer.error().Is(Code::kAlreadyExists)) {
      TRY(AddSource(blob.digest));
      tracker_->Update(blob, "already exists", blob.size);
      return std::unique_ptr<content::Writer>();
    }
    if (!writer.error().Is(Code::kUnavailable)) return writer;
    if (canceled_ && canceled_()) return CanceledError("fetch: canceled");
    std::this_thread::sleep_for(
        kLockPoll);  // there is nothing to be woken by: the writer may be another process
  }
}

Status Fetcher::AddSource(const model::Digest& digest) {
  const std::string key = registry_->SourceLabel();
  const std::string repository(registry_->reference().path());
  content::Info info = TRY(store_->GetInfo(digest));
  const auto known = info.labels.find(key);
  const std::string before = known == info.labels.end() ? std::string() : known->second;
  const std::string value = WithRepository(before, repository);
  if (value == before || key.size() + value.size() > kMaxSourceLabel) return Ok();
  info.labels = {{key, value}};
  const content::Info done = TRY(store_->Update(info, {StrCat("labels.", key)}));
  return Ok();
}

Status Fetcher::Commit(const model::Descriptor& blob, std::unique_ptr<content::Writer> writer) {
  const std::string key = registry_->SourceLabel();
  const std::string repository(registry_->reference().path());
  model::Labels labels;
  if (key.size() + repository.size() <= kMaxSourceLabel) labels[key] = repository;
  const Result<model::Digest> done = writer->Commit({blob.size, blob.digest, labels});
  writer.reset();
  if (done.ok()) {
    tracker_->Update(blob, "complete", blob.size);
    return Ok();
  }
  if (done.error().Is(Code::kAlreadyExists)) {
    tracker_->Update(blob, "complete", blob.size);
    return AddSource(blob.digest);
  }
  if (done.error().Is(Code::kFailedPrecondition))
    (void)store_->Abort(IngestRef(blob));  // wrong bytes are not worth continuing
  return done.error().Clone();
}

Result<std::unique_ptr<diff::ByteSource>> Fetcher::Open(const model::Descriptor& blob) {
  std::unique_ptr<content::Writer> writer = TRY(Begin(blob));
  if (writer != nullptr) {
    const content::IngestStatus status = TRY(writer->GetStatus());
    if (status.offset == 0) {
      std::unique_ptr<diff::ByteSource> body = TRY(registry_->Fetch(blob, 0));
      return std::unique_ptr<diff::ByteSource>(
          std::make_unique<Tee>(this, blob, std::move(body), std::move(writer), 0));
    }
    writer.reset();
    TRY(Fetch(blob));  // the front is on disk already: the rest first, then all of it from there
  }
  std::unique_ptr<content::Reader> reader = TRY(store_->OpenReader(blob.digest));
  return std::unique_ptr<diff::ByteSource>(std::make_unique<StoredBlob>(std::move(reader)));
}

Status Fetcher::Fetch(const model::Descriptor& blob) {
  std::unique_ptr<content::Writer> writer = TRY(Begin(blob));
  if (writer == nullptr) return Ok();
  const content::IngestStatus status = TRY(writer->GetStatus());
  int64_t offset = status.offset;
  if (offset > blob.size) {  // an ingest of something else under this name
    TRY(writer->Truncate(0));
    offset = 0;
  }
  if (offset == blob.size && offset > 0) return Commit(blob, std::move(writer));
  std::unique_ptr<diff::ByteSource> body = TRY(registry_->Fetch(blob, offset));
  Tee tee(this, blob, std::move(body), std::move(writer), offset);
  const size_t room =
      static_cast<size_t>(std::clamp<int64_t>(blob.size, 512, static_cast<int64_t>(kReadSize)));
  const auto buffer = std::make_unique<char[]>(room);
  while (true) {
    const size_t n = TRY(tee.Read({buffer.get(), room}));
    if (n == 0) return Ok();
  }
}

}  // namespace corten::image
