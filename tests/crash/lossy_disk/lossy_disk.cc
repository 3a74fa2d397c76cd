// A disk with a volatile cache whose power can be cut. Usage: lossy_disk IMAGE DIRECTORY [fuse
// options]
//
// Serves in DIRECTORY the file `disk`, as large as IMAGE, to put a loop device on, and `control`.
// What is written to `disk` reaches IMAGE with the next flush (fsync) only. Written to `control`:
//   cut SEED        the power goes now
//   arm N SEED      it goes at the Nth write or flush from now
// When it goes, each unflushed write is kept, dropped, or torn: some of its 512-byte sectors are
// kept, whatever was written before or after it. SEED decides. From then on everything fails with
// EIO. Read, `control` says
//   WRITES FLUSHES UNFLUSHED on|cut
//
// Threads: one (-s is added). Memory: what is unflushed.
#define FUSE_USE_VERSION 31
#include <fcntl.h>
#include <fuse.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr uint64_t kSector = 512;
constexpr std::string_view kDisk = "/disk";
constexpr std::string_view kControl = "/control";

using Sector = std::array<char, kSector>;

class Disk {
 public:
  bool Open(const char* path) {
    image_ = open(path, O_RDWR | O_CLOEXEC);
    struct stat info{};
    if (image_ < 0 || fstat(image_, &info) < 0) return false;
    size_ = static_cast<uint64_t>(info.st_size) / kSector * kSector;
    return size_ > 0;
  }
  uint64_t size() const { return size_; }

  // The three answer bytes or 0, or -errno.
  int Read(char* out, uint64_t size, uint64_t offset);
  int Write(const char* data, uint64_t size, uint64_t offset);
  int Flush();

  int Control(const std::string& command);
  std::string Status() const;

 private:
  struct Written {
    uint64_t sector;
    std::vector<Sector> bytes;
  };
  bool Step();  // false: the power is gone
  void Cut();
  int Load(uint64_t sector, Sector* out) const;
  bool Store(uint64_t sector, const Sector& bytes) const;

  int image_ = -1;
  uint64_t size_ = 0;
  std::map<uint64_t, Sector> cache_;  // unflushed, as a reader sees it
  std::vector<Written> log_;          // the same, write by write
  uint64_t writes_ = 0;
  uint64_t flushes_ = 0;
  uint64_t left_ = 0;  // operations until the power goes; 0: not armed
  uint64_t seed_ = 0;
  bool cut_ = false;
};

int Disk::Load(uint64_t sector, Sector* out) const {
  const auto found = cache_.find(sector);
  if (found != cache_.end()) {
    *out = found->second;
    return 0;
  }
  const ssize_t got = pread(image_, out->data(), kSector, static_cast<off_t>(sector * kSector));
  return got == static_cast<ssize_t>(kSector) ? 0 : -EIO;
}

bool Disk::Store(uint64_t sector, const Sector& bytes) const {
  return pwrite(image_, bytes.data(), kSector, static_cast<off_t>(sector * kSector)) ==
         static_cast<ssize_t>(kSector);
}

bool Disk::Step() {
  if (!cut_ && left_ > 0 && --left_ == 0) Cut();
  return !cut_;
}

void Disk::Cut() {
  std::mt19937_64 random(seed_);
  // Whole runs in which nothing, everything or half survives find other faults than an even mix.
  const uint64_t kept_of_8 = std::array<uint64_t, 4>{0, 2, 4, 7}[random() % 4];
  for (const Written& write : log_) {
    const bool torn = random() % 3 == 0;
    const bool kept = random() % 8 < kept_of_8;
    for (size_t i = 0; i < write.bytes.size(); ++i) {
      if (torn ? random() % 8 < kept_of_8 : kept) (void)Store(write.sector + i, write.bytes[i]);
    }
  }
  cut_ = true;
}

int Disk::Read(char* out, uint64_t size, uint64_t offset) {
  if (cut_) return -EIO;
  if (offset >= size_) return 0;
  size = std::min(size, size_ - offset);
  for (uint64_t done = 0; done < size;) {
    Sector sector;
    const uint64_t at = offset + done;
    if (const int failed = Load(at / kSector, &sector); failed != 0) return failed;
    const uint64_t part = std::min(size - done, kSector - at % kSector);
    memcpy(out + done, sector.data() + at % kSector, part);
    done += part;
  }
  return static_cast<int>(size);
}

int Disk::Write(const char* data, uint64_t size, uint64_t offset) {
  if (!Step()) return -EIO;
  if (offset + size > size_) return -ENOSPC;
  if (offset % kSector != 0 || size % kSector != 0) return -EINVAL;  // a block device sends none
  Written written{offset / kSector, std::vector<Sector>(size / kSector)};
  for (size_t i = 0; i < written.bytes.size(); ++i) {
    memcpy(written.bytes[i].data(), data + i * kSector, kSector);
    cache_[written.sector + i] = written.bytes[i];
  }
  log_.push_back(std::move(written));
  ++writes_;
  return static_cast<int>(size);
}

int Disk::Flush() {
  if (!Step()) return -EIO;
  for (const auto& [sector, bytes] : cache_) {
    if (!Store(sector, bytes)) return -EIO;
  }
  cache_.clear();
  log_.clear();
  ++flushes_;
  return 0;
}

int Disk::Control(const std::string& command) {
  unsigned long long count = 0;
  unsigned long long seed = 0;
  if (sscanf(command.c_str(), "arm %llu %llu", &count, &seed) == 2 && count > 0) {
    left_ = count;
    seed_ = seed;
    return 0;
  }
  if (sscanf(command.c_str(), "cut %llu", &seed) != 1) return -EINVAL;
  seed_ = seed;
  if (!cut_) Cut();
  return 0;
}

std::string Disk::Status() const {
  return std::to_string(writes_) + " " + std::to_string(flushes_) + " " +
         std::to_string(log_.size()) + (cut_ ? " cut\n" : " on\n");
}

Disk& TheDisk() {
  static Disk disk;
  return disk;
}

int GetAttributes(const char* path, struct stat* out, fuse_file_info*) {
  *out = {};
  out->st_nlink = 1;
  if (std::string_view(path) == "/") {
    out->st_mode = S_IFDIR | 0700;
    return 0;
  }
  out->st_mode = S_IFREG | 0600;
  if (path == kDisk) out->st_size = static_cast<off_t>(TheDisk().size());
  return path == kDisk || path == kControl ? 0 : -ENOENT;
}

int Open(const char* path, fuse_file_info* file) {
  file->direct_io = path == kControl;
  return 0;
}

int Read(const char* path, char* out, size_t size, off_t offset, fuse_file_info*) {
  if (path == kDisk) return TheDisk().Read(out, size, static_cast<uint64_t>(offset));
  const std::string text = TheDisk().Status();
  if (static_cast<size_t>(offset) >= text.size()) return 0;
  size = std::min(size, text.size() - static_cast<size_t>(offset));
  memcpy(out, text.data() + offset, size);
  return static_cast<int>(size);
}

int Write(const char* path, const char* data, size_t size, off_t offset, fuse_file_info*) {
  if (path == kDisk) return TheDisk().Write(data, size, static_cast<uint64_t>(offset));
  const int failed = TheDisk().Control(std::string(data, size));
  return failed != 0 ? failed : static_cast<int>(size);
}

int Sync(const char* path, int, fuse_file_info*) { return path == kDisk ? TheDisk().Flush() : 0; }

int Truncate(const char*, off_t, fuse_file_info*) { return 0; }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || !TheDisk().Open(argv[1])) {
    fprintf(stderr, "usage: lossy_disk IMAGE DIRECTORY [fuse options]; IMAGE must exist: %s\n",
            strerror(errno));
    return 2;
  }
  fuse_operations operations{};
  operations.getattr = GetAttributes;
  operations.open = Open;
  operations.read = Read;
  operations.write = Write;
  operations.fsync = Sync;
  operations.truncate = Truncate;
  std::vector<char*> arguments(argv, argv + argc);
  arguments.erase(arguments.begin() + 1);
  char single[] = "-s";
  arguments.push_back(single);
  return fuse_main(static_cast<int>(arguments.size()), arguments.data(), &operations, nullptr);
}
