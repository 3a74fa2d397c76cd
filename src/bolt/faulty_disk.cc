#include "bolt/faulty_disk.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace corten::bolt {

namespace {

class MemoryMapping final : public Mapping {
 public:
  MemoryMapping(void* data, size_t size) : data_(data), size_(size) {}
  ~MemoryMapping() override { (void)munmap(data_, size_); }
  const char* data() const override { return static_cast<const char*>(data_); }
  size_t size() const override { return size_; }

 private:
  void* data_;
  size_t size_;
};

}  // namespace

FaultyDisk::FaultyDisk(std::string_view content)
    : live_(memfd_create("faulty", MFD_CLOEXEC)), durable_(content) {
  CHECK(live_.valid());
  CHECK(PwriteAll(live_, content, 0, name_).ok());
}

Result<uint64_t> FaultyDisk::Size() {
  struct stat info{};
  if (fstat(live_.get(), &info) != 0) return ErrnoError(errno, name_);
  return static_cast<uint64_t>(info.st_size);
}

Result<size_t> FaultyDisk::Read(uint64_t offset, std::span<char> out) {
  return PreadSome(live_, out.data(), out.size(), offset, name_);
}

Status FaultyDisk::Write(uint64_t offset, std::span<const std::string_view> parts) {
  if (before) TRY(before(Op::kWrite));
  std::string bytes;
  for (const std::string_view part : parts) bytes += part;
  TRY(PwriteAll(live_, bytes, offset, name_));
  unflushed_.push_back({.resize = false, .offset = offset, .bytes = std::move(bytes)});
  if (after) after(Op::kWrite);
  return Ok();
}

Status FaultyDisk::Resize(uint64_t size) {
  if (before) TRY(before(Op::kResize));
  if (ftruncate(live_.get(), static_cast<off_t>(size)) != 0) return ErrnoError(errno, name_);
  unflushed_.push_back({.resize = true, .offset = size, .bytes = {}});
  if (after) after(Op::kResize);
  return Ok();
}

Status FaultyDisk::DataSync() {
  if (before) TRY(before(Op::kDataSync));
  if (!lies || !lies(Op::kDataSync)) Settle(/*size_too=*/false);
  if (after) after(Op::kDataSync);
  return Ok();
}

Status FaultyDisk::Sync() {
  if (before) TRY(before(Op::kSync));
  if (!lies || !lies(Op::kSync)) Settle(/*size_too=*/true);
  if (after) after(Op::kSync);
  return Ok();
}

// What lies past the durable size stays unflushed until the size is durable.
void FaultyDisk::Settle(bool size_too) {
  std::vector<Change> left;
  for (Change& change : unflushed_) {
    const bool fits = change.offset + change.bytes.size() <= durable_.size();
    if (size_too || (!change.resize && fits)) {
      Apply(change, &durable_);
    } else {
      left.push_back(std::move(change));
    }
  }
  unflushed_ = std::move(left);
}

void FaultyDisk::Apply(const Change& change, std::string* content) {
  if (change.resize) {
    content->resize(change.offset, '\0');
    return;
  }
  if (change.offset >= content->size()) return;
  const size_t count = std::min<size_t>(change.bytes.size(), content->size() - change.offset);
  content->replace(change.offset, count, change.bytes, 0, count);
}

Result<std::shared_ptr<const Mapping>> FaultyDisk::Map(size_t size) {
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, live_.get(), 0);
  if (data == MAP_FAILED) return ErrnoError(errno, name_);
  return std::shared_ptr<const Mapping>(std::make_shared<MemoryMapping>(data, size));
}

std::string FaultyDisk::Crash(Loss loss, std::mt19937_64& random) const {
  const auto coin = [&] { return (random() & 1) != 0; };
  std::string content = durable_;
  const size_t prefix = unflushed_.empty() ? 0 : random() % unflushed_.size();
  for (size_t i = 0; i < unflushed_.size(); ++i) {
    const Change& change = unflushed_[i];
    bool torn = false;
    switch (loss) {
      case Loss::kAll:
        continue;
      case Loss::kNothing:
        break;
      case Loss::kWrites:
        if (coin()) continue;
        break;
      case Loss::kSectors:
        torn = true;
        break;
      case Loss::kPrefix:
        if (i > prefix) continue;
        torn = i == prefix;
        break;
      case Loss::kLast:
        if (i + 1 != unflushed_.size() && !change.resize) continue;
        break;
    }
    if (!torn || change.resize) {
      if (change.resize && torn && coin()) continue;
      Apply(change, &content);
      continue;
    }
    for (uint64_t at = 0; at < change.bytes.size(); at += kSectorSize) {
      if (coin())
        Apply({.resize = false,
               .offset = change.offset + at,
               .bytes = change.bytes.substr(at, kSectorSize)},
              &content);
    }
  }
  return content;
}

std::unique_ptr<FaultyDisk> FaultyDisk::Clone() const {
  auto disk = std::make_unique<FaultyDisk>(durable_);
  disk->unflushed_ = unflushed_;
  for (const Change& change : unflushed_) {
    if (change.resize) {
      CHECK(ftruncate(disk->live_.get(), static_cast<off_t>(change.offset)) == 0);
    } else {
      CHECK(PwriteAll(disk->live_, change.bytes, change.offset, name_).ok());
    }
  }
  return disk;
}

bool FaultyDisk::UnflushedBelow(uint64_t offset) const {
  return std::any_of(unflushed_.begin(), unflushed_.end(), [&](const Change& change) {
    return !change.resize && change.offset < offset;
  });
}

bool FaultyDisk::UnflushedFrom(uint64_t offset) const {
  return std::any_of(unflushed_.begin(), unflushed_.end(), [&](const Change& change) {
    return !change.resize && change.offset >= offset;
  });
}

}  // namespace corten::bolt
