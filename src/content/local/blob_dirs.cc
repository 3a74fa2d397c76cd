#include "content/local/blob_dirs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/failpoint.h"

namespace corten::content {

namespace {
constexpr mode_t kDirMode = 0755;

Error NoBlob(const model::Digest& digest) { return NotFoundError("content ", digest.str()); }
}  // namespace

Result<std::unique_ptr<BlobDirs>> BlobDirs::Open(const Dir& root) {
  Dir blobs = TRY(root.MakeDir("blobs", kDirMode));
  auto dirs = std::unique_ptr<BlobDirs>(new BlobDirs(std::move(blobs)));
  bool any = false;
  for (size_t i = 0; i < kAlgorithms.size(); ++i) {
    Result<Dir> dir = dirs->blobs_.OpenDir(std::string(kAlgorithms[i]));
    if (!dir.ok()) {
      if (dir.error().Is(Code::kNotFound)) continue;
      return std::move(dir).TakeError();
    }
    TRY(dir->Sync());
    dirs->opened_[i] = new Algorithm(std::move(dir).value());
    any = true;
  }
  if (any) TRY(dirs->SyncWay());
  return dirs;
}

Status BlobDirs::SyncWay() const {
  TRY(blobs_.Sync());
  const Dir root = TRY(blobs_.OpenDir(".."));
  TRY(root.Sync());
  const Dir above = TRY(root.OpenDir(".."));
  return above.Sync();
}

BlobDirs::~BlobDirs() {
  for (const auto& opened : opened_) delete opened.load();
}

BlobDirs::Algorithm* BlobDirs::Find(std::string_view algorithm) const {
  const auto found = std::find(kAlgorithms.begin(), kAlgorithms.end(), algorithm);
  CHECK(found != kAlgorithms.end());  // model::Digest knows no other
  return opened_[static_cast<size_t>(found - kAlgorithms.begin())].load(std::memory_order_acquire);
}

Result<BlobDirs::Algorithm*> BlobDirs::FindOrMake(std::string_view algorithm) {
  if (Algorithm* opened = Find(algorithm); opened != nullptr) return opened;
  const std::lock_guard lock(making_);
  if (Algorithm* opened = Find(algorithm); opened != nullptr) return opened;
  Dir dir = TRY(blobs_.MakeDir(std::string(algorithm), kDirMode));
  TRY(SyncWay());
  const auto found = std::find(kAlgorithms.begin(), kAlgorithms.end(), algorithm);
  auto* opened = new Algorithm(std::move(dir));
  opened_[static_cast<size_t>(found - kAlgorithms.begin())].store(opened,
                                                                  std::memory_order_release);
  return opened;
}

Result<struct stat> BlobDirs::Stat(const model::Digest& digest) const {
  if (digest.empty()) return InvalidArgumentError("no digest given");
  const Algorithm* algorithm = Find(digest.algorithm());
  if (algorithm == nullptr) return NoBlob(digest);
  struct stat st = {};
  if (fstatat(algorithm->dir.fd().get(), std::string(digest.hex()).c_str(), &st,
              AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return NoBlob(digest);
    return ErrnoError(errno, "content ", digest.str());
  }
  return st;
}

Result<Fd> BlobDirs::OpenFile(const model::Digest& digest) const {
  if (digest.empty()) return InvalidArgumentError("no digest given");
  const Algorithm* algorithm = Find(digest.algorithm());
  if (algorithm == nullptr) return NoBlob(digest);
  const std::string name(digest.hex());
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;
  // The access time is the blob's time of update (storage.md 1), so reading leaves it alone where
  // we may.
  int fd = openat(algorithm->dir.fd().get(), name.c_str(), kFlags | O_NOATIME);
  if (fd < 0 && errno == EPERM) fd = openat(algorithm->dir.fd().get(), name.c_str(), kFlags);
  if (fd < 0) {
    if (errno == ENOENT) return NoBlob(digest);
    return ErrnoError(errno, "content ", digest.str());
  }
  return Fd(fd);
}

Status BlobDirs::Remove(const model::Digest& digest) const {
  if (digest.empty()) return InvalidArgumentError("no digest given");
  const Algorithm* algorithm = Find(digest.algorithm());
  if (algorithm == nullptr) return NoBlob(digest);
  if (unlinkat(algorithm->dir.fd().get(), std::string(digest.hex()).c_str(), 0) != 0) {
    if (errno == ENOENT) return NoBlob(digest);
    return ErrnoError(errno, "content ", digest.str());
  }
  FAILPOINT("content.delete.unlinked");
  return Ok();
}

Result<bool> BlobDirs::SettledExists(const model::Digest& digest) const {
  const Result<struct stat> st = Stat(digest);
  if (!st.ok()) {
    if (st.error().Is(Code::kNotFound)) return false;
    return st.error().Clone();
  }
  TRY(Find(digest.algorithm())->syncer.Settle());
  return true;
}

Status BlobDirs::Publish(
    const model::Digest& digest,
    const std::function<Status(const Dir& dir, const std::string& name)>& place) {
  Algorithm* algorithm = TRY(FindOrMake(digest.algorithm()));
  const std::string name(digest.hex());
  DirSyncer::Change change(algorithm->syncer);
  const Status placed = place(algorithm->dir, name);
  if (!placed.ok()) {
    if (placed.error().Is(Code::kAlreadyExists))
      TRY(change.Sync());  // the other one's entry may still be in flight
    return placed.error().Clone();
  }
  FAILPOINT("content.commit.renamed");
  Status synced = FAILPOINT_SKIPS("content.commit.list") ? Ok() : change.Sync();
  if (!synced.ok()) {
    (void)algorithm->dir.Unlink(
        name);  // whether the name would survive is unknown, so it was never there
    return synced;
  }
  FAILPOINT("content.commit.published");
  return Ok();
}

Result<std::vector<model::Digest>> BlobDirs::List() const {
  std::vector<model::Digest> digests;
  for (const std::string_view algorithm : kAlgorithms) {
    const Algorithm* opened = Find(algorithm);
    if (opened == nullptr) continue;
    std::vector<std::string> names = TRY(opened->dir.List());
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      Result<model::Digest> digest = model::Digest::Parse(StrCat(algorithm, ":", name));
      if (digest.ok()) digests.push_back(std::move(digest).value());
    }
  }
  return digests;
}

uint64_t BlobDirs::flushes() const {
  uint64_t flushes = 0;
  for (const auto& opened : opened_) {
    if (const Algorithm* algorithm = opened.load(); algorithm != nullptr)
      flushes += algorithm->syncer.flushes();
  }
  return flushes;
}

}  // namespace corten::content
