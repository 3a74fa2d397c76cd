// Figures of the local store on one filesystem. Usage: content_bench DIRECTORY
// Prints: megabytes per second written and read by message size, blobs per second of many small
// ones, flushes each. Everything happens in a directory of its own below DIRECTORY, which is
// removed at the end.
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/dir.h"
#include "base/hash.h"
#include "content/local/crash_data.h"
#include "content/local/local_store.h"

namespace corten::content {
namespace {

constexpr size_t kLargeBlob = 256 << 20;
constexpr int kSmallBlobs = 10'000;
constexpr int kThreads = 16;

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

double CpuSeconds() {
  rusage usage = {};
  (void)getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void PrintRate(const char* what, size_t message, double seconds, double cpu) {
  constexpr double kMegabytes = static_cast<double>(kLargeBlob) / 1e6;
  printf("%-6s %5zu KiB messages  %7.0f MB/s  %5.2f CPU ms/MB\n", what, message >> 10,
         kMegabytes / seconds, cpu * 1000 / kMegabytes);
}

Result<model::Digest> WriteLarge(LocalStore& store, const std::string& data, size_t message,
                                 int number) {
  const std::unique_ptr<Writer> writer =
      TRY(store.OpenWriter({StrCat("large-", number), {}, static_cast<int64_t>(data.size())}));
  const auto begin = std::chrono::steady_clock::now();
  const double cpu = CpuSeconds();
  for (size_t at = 0; at < data.size(); at += message)
    TRY(writer->Write(std::string_view(data).substr(at, message)));
  const double written = Seconds(begin);
  const double written_cpu = CpuSeconds() - cpu;
  const model::Digest digest = TRY(writer->Commit({static_cast<int64_t>(data.size()), {}, {}}));
  PrintRate("write", message, written, written_cpu);
  PrintRate("+sync", message, Seconds(begin), CpuSeconds() - cpu);
  return digest;
}

Status ReadLarge(LocalStore& store, const model::Digest& digest, size_t message) {
  const std::unique_ptr<Reader> reader = TRY(store.OpenReader(digest));
  std::string buffer(message, '\0');
  const auto begin = std::chrono::steady_clock::now();
  const double cpu = CpuSeconds();
  for (int64_t at = 0; at < reader->size(); at += static_cast<int64_t>(message))
    TRY(reader->ReadAt(buffer, at));
  PrintRate("read", message, Seconds(begin), CpuSeconds() - cpu);
  return Ok();
}

Status WriteSmall(LocalStore& store, int threads, int blobs) {
  const LocalStore::Stats before = store.GetStats();
  std::atomic<int> failures{0};
  std::vector<std::thread> workers;
  const auto begin = std::chrono::steady_clock::now();
  const double cpu = CpuSeconds();
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      for (int i = 0; i < blobs / threads; ++i) {
        const std::string data =
            StrCat("{\"threads\": ", threads, ", \"thread\": ", t, ", \"blob\": ", i, "}");
        model::Descriptor descriptor;
        descriptor.digest = model::Digest::Parse(Sha256Digest(data)).value();
        descriptor.size = static_cast<int64_t>(data.size());
        if (!WriteBlob(store, StrCat("small-", t, "-", i), data, descriptor, {}).ok()) ++failures;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  const double seconds = Seconds(begin);
  const LocalStore::Stats after = store.GetStats();
  const double made = static_cast<double>(after.commits - before.commits);
  printf(
      "small  %2d threads  %7.0f blobs/s  %5.0f CPU us each  flushes each: %.2f of files, %.2f of "
      "directories\n",
      threads, made / seconds, (CpuSeconds() - cpu) * 1e6 / made,
      static_cast<double>(after.file_flushes - before.file_flushes) / made,
      static_cast<double>(after.directory_flushes - before.directory_flushes) / made);
  if (failures != 0) return InternalError(failures.load(), " blobs failed");
  return Ok();
}

Status Run(const std::string& root) {
  const std::unique_ptr<LocalStore> store = TRY(LocalStore::Open(root));
  const std::string data = CrashData(kLargeBlob, 1);
  int number = 0;
  for (const size_t message : {size_t{1} << 20, size_t{32} << 10}) {
    const model::Digest digest = TRY(WriteLarge(*store, data, message, ++number));
    TRY(ReadLarge(*store, digest, message));
    TRY(store->Delete(digest));
  }
  TRY(WriteSmall(*store, 1, kSmallBlobs / 10));
  TRY(WriteSmall(*store, kThreads, kSmallBlobs));
  return Ok();
}

}  // namespace
}  // namespace corten::content

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::string root = corten::StrCat(argv[1], "/content-bench-XXXXXX");
  if (mkdtemp(root.data()) == nullptr) {
    perror(root.c_str());
    return 1;
  }
  const corten::Status done = corten::content::Run(root);
  const corten::Result<corten::Dir> dir = corten::Dir::Open(root);
  if (dir.ok()) (void)dir->RemoveChildren();
  (void)rmdir(root.c_str());
  if (done.ok()) return 0;
  fprintf(stderr, "content_bench: %s\n", done.error().text().c_str());
  return 1;
}
