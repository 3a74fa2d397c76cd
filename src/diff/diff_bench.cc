// Unpacks a generated layer and prints what it cost.
//
//   diff_bench make DIR [MEBIBYTES] [AVERAGE_KIB]   writes DIR/layer.tar, layer.tar.gz,
//   layer.tar.zst diff_bench apply LAYER TARGET [serial|zlib]     unpacks onto the fresh directory
//   TARGET, prints one line diff_bench overlay LAYER UPPER LOWER...         unpacks into an
//   overlay's upper directory (lowers topmost first) diff_bench inflate LAYER [zlib] decompresses
//   and hashes only diff_bench compare LOWER UPPER LAYER            writes what differs between two
//   directories as a tar
//
// Use a fresh TARGET for each round and delete nothing between rounds: ext4 gets slow after mass
// deletion.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "base/hash.h"
#include "base/strcat.h"
#include "diff/apply.h"
#include "diff/compare.h"
#include "diff/compress.h"
#include "diff/tar_writer.h"

namespace corten::diff {
namespace {

class FileSink final : public ByteSink {
 public:
  explicit FileSink(FdRef fd) : fd_(fd) {}
  Status Write(std::string_view data) override { return WriteAll(fd_, data, "layer"); }

 private:
  FdRef fd_;
};

class FileSource final : public ByteSource {
 public:
  explicit FileSource(FdRef fd) : fd_(fd) {}
  Result<size_t> Read(std::span<char> buffer) override {
    return ReadSome(fd_, buffer.data(), buffer.size(), "layer");
  }

 private:
  FdRef fd_;
};

// Text that deflates about as well as the files of a distribution do.
std::string MakePool(std::mt19937_64& random) {
  std::vector<std::string> words;
  for (int i = 0; i < 4000; ++i) {
    std::string word;
    for (uint64_t n = 2 + random() % 8; n > 0; --n) word += static_cast<char>('a' + random() % 26);
    words.push_back(word);
  }
  std::string pool;
  while (pool.size() < (8u << 20)) {
    if (random() % 40 == 0) {
      for (int i = 0; i < 32; ++i) pool += static_cast<char>(random());
    }
    pool += words[random() % 48 == 0 ? random() % words.size() : random() % 90];
    pool += random() % 10 == 0 ? '\n' : ' ';
  }
  return pool;
}

Result<Fd> Create(const std::string& path) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoError(errno, "create ", path);
  return fd;
}

Status MakeTar(ByteSink& sink, uint64_t total, double average) {
  std::mt19937_64 random(1);
  const std::string pool = MakePool(random);
  std::lognormal_distribution<double> sizes(std::log(average) - 1.125, 1.5);
  TarWriter tar(sink);
  uint64_t written = 0;
  uint64_t entries = 0;
  for (int top = 0; written < total; ++top) {
    TarEntry entry;
    entry.type = kDirectory;
    entry.mode = 0755;
    entry.mtime = {1700000000, 0};
    entry.name = StrCat("usr/share/package-", top, "/");
    TRY(tar.WriteHeader(entry));
    for (int file = 0; file < 12 && written < total; ++file, ++entries) {
      TarEntry member;
      member.name = StrCat(entry.name, "file-", file, ".data");
      member.mode = file % 5 == 0 ? 0755 : 0644;
      member.mtime = {1600000000 + file, 0};
      if (file % 9 == 8) {
        member.type = kSymlink;
        member.link_name = "file-0.data";
        TRY(tar.WriteHeader(member));
        continue;
      }
      const auto size = std::min<uint64_t>(static_cast<uint64_t>(sizes(random)), 64u << 20);
      member.size = static_cast<int64_t>(size);
      TRY(tar.WriteHeader(member));
      for (uint64_t left = size; left > 0;) {
        const uint64_t n = std::min<uint64_t>(left, 1 + random() % (256 << 10));
        TRY(tar.WriteData(std::string_view(pool).substr(random() % (pool.size() - n), n)));
        left -= n;
      }
      written += size;
    }
  }
  std::printf("entries %llu bytes %llu\n", static_cast<unsigned long long>(entries),
              static_cast<unsigned long long>(written));
  return tar.Finish();
}

Status Make(const std::string& dir, uint64_t mebibytes, double average_kib) {
  const std::pair<const char*, Compression> forms[] = {{"layer.tar", Compression::kNone},
                                                       {"layer.tar.gz", Compression::kGzip},
                                                       {"layer.tar.zst", Compression::kZstd}};
  for (const auto& [name, compression] : forms) {
    const Fd fd = TRY(Create(StrCat(dir, "/", name)));
    FileSink sink(fd);
    const std::unique_ptr<Compressor> compressor = TRY(OpenCompressor(sink, compression));
    TRY(MakeTar(*compressor, mebibytes << 20, average_kib * 1024));
    TRY(compressor->Finish());
  }
  return Ok();
}

double Seconds(timeval time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

void Report(const char* what, std::chrono::steady_clock::time_point start, int64_t bytes) {
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("%s wall=%.3f user=%.3f sys=%.3f cpu=%.3f rss_mb=%ld mb=%.1f\n", what, wall,
              Seconds(usage.ru_utime), Seconds(usage.ru_stime),
              Seconds(usage.ru_utime) + Seconds(usage.ru_stime), usage.ru_maxrss >> 10,
              static_cast<double>(bytes) / 1e6);
}

Status Compare(const std::string& lower, const std::string& upper, const std::string& layer) {
  const Dir lower_dir = TRY(Dir::Open(lower));
  const Dir upper_dir = TRY(Dir::Open(upper));
  const Fd fd = TRY(Create(layer));
  FileSink sink(fd);
  const auto start = std::chrono::steady_clock::now();
  TRY(CompareTrees(lower_dir, upper_dir, sink, {}));
  Report("compare", start, 0);
  return Ok();
}

Status ApplyToUpper(const std::string& layer, const std::string& upper,
                    std::vector<std::string> lowers) {
  const Fd fd(open(layer.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "open ", layer);
  FileSource source(fd);
  Engine engine({});
  model::Descriptor descriptor;
  descriptor.media_type = model::media_type::kOciLayerGzip;
  TreeOptions tree;
  tree.whiteouts = Whiteouts::kOverlay;
  tree.lowers = std::move(lowers);
  const auto start = std::chrono::steady_clock::now();
  const model::Descriptor done = TRY(engine.ApplyToDirectory(descriptor, upper, tree, source, {}));
  Report("overlay", start, done.size);
  return Ok();
}

Status Run(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  const std::string mode = argc > 1 ? argv[argc - 1] : "";
  if (verb == "make" && argc > 2) {
    return Make(argv[2], argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 500,
                argc > 4 ? std::strtod(argv[4], nullptr) : 14);
  }
  if (verb == "compare" && argc == 5) return Compare(argv[2], argv[3], argv[4]);
  if (verb == "overlay" && argc > 4) return ApplyToUpper(argv[2], argv[3], {argv + 4, argv + argc});
  if (argc < 3 || (verb != "apply" && verb != "inflate") || (verb == "apply" && argc < 4)) {
    return InvalidArgumentError(
        "usage: diff_bench make DIR [MIB] [KIB] | apply LAYER TARGET [serial|zlib] | overlay LAYER "
        "UPPER LOWER... | inflate LAYER [zlib] | compare LOWER UPPER LAYER");
  }
  const Fd fd(open(argv[2], O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "open ", argv[2]);
  FileSource source(fd);
  const GzipEngine gzip = mode == "zlib" ? GzipEngine::kZlib : GzipEngine::kBest;
  const auto start = std::chrono::steady_clock::now();
  if (verb == "inflate") {
    const std::unique_ptr<ByteSource> plain = TRY(OpenSniffed(source, nullptr, gzip));
    Hasher hasher = Hasher::Sha256();
    std::string buffer(256 << 10, '\0');
    int64_t total = 0;
    while (true) {
      const size_t n = TRY(plain->Read(buffer));
      if (n == 0) break;
      hasher.Update(buffer.data(), n);
      total += static_cast<int64_t>(n);
    }
    Report("inflate", start, total);
    return Ok();
  }
  if (mkdir(argv[3], 0755) != 0) return ErrnoError(errno, "create ", argv[3]);
  EngineOptions options;
  options.gzip = gzip;
  options.pipeline = mode != "serial";
  Engine engine(options);
  model::Descriptor descriptor;
  descriptor.media_type = model::media_type::kOciLayerGzip;
  const model::Descriptor done = TRY(engine.ApplyToDirectory(descriptor, argv[3], {}, source, {}));
  Report("apply", start, done.size);
  return Ok();
}

}  // namespace
}  // namespace corten::diff

int main(int argc, char** argv) {
  const corten::Status status = corten::diff::Run(argc, argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "diff_bench: %s\n", status.error().text().c_str());
  return 1;
}
