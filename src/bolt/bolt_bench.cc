// Measures the engine. Usage: bolt_bench [DIRECTORY] [SECONDS]   (default: a directory of its own
// under TMPDIR, 2 s a row) Prints one line for each row: name, operations a second, and what says
// why.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/strcat.h"
#include "bolt/db.h"

namespace corten::bolt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kValueSize = 400;
constexpr uint64_t kKeys = 10000;

double Seconds(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void Must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "bolt_bench: %s\n", status.error().text().c_str());
  std::exit(1);
}

std::unique_ptr<Db> Open(const std::string& path, bool no_sync) {
  Options options;
  options.no_sync = no_sync;
  Result<std::unique_ptr<Db>> db = Db::Open(path, options);
  if (!db.ok()) Must(std::move(db).TakeError());
  return std::move(db).value();
}

std::string Key(uint64_t number) {
  return StrCat("sha256:", number * 2654435761 % 1000000007, "-", number);
}

Status PutKey(Tx& tx, uint64_t number, const std::string& value) {
  Bucket v1 = TRY(tx.CreateBucketIfNotExists("v1"));
  Bucket ns = TRY(v1.CreateBucketIfNotExists("default"));
  Bucket blobs = TRY(ns.CreateBucketIfNotExists("blobs"));
  return blobs.Put(Key(number), value);
}

void Fill(Db& db, uint64_t keys) {
  for (uint64_t done = 0; done < keys;) {
    Must(db.Update([&](Tx& tx) -> Status {
      for (int i = 0; i < 2000 && done < keys; ++i, ++done)
        TRY(PutKey(tx, done, std::string(kValueSize, 'v')));
      return Ok();
    }));
  }
}

void Updates(const std::string& path, int writers, bool no_sync, double seconds) {
  const auto db = Open(path, no_sync);
  Fill(*db, kKeys);
  Must(db->WaitForFreePages());
  const Stats before = db->GetStats();
  const auto begin = Clock::now();
  std::vector<std::thread> threads;
  for (int w = 0; w < writers; ++w) {
    threads.emplace_back([&, w] {
      std::mt19937_64 random(static_cast<uint64_t>(w));
      while (Seconds(begin) < seconds) {
        const std::string value(kValueSize, static_cast<char>('a' + random() % 26));
        const uint64_t key = random() % kKeys;
        Must(db->Update([&](Tx& tx) { return PutKey(tx, key, value); }));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double took = Seconds(begin);
  const Stats after = db->GetStats();
  const auto updates = static_cast<double>(after.updates - before.updates);
  std::printf(
      "update writers=%d%s  %.0f/s  flushes/update=%.3f  pages/update=%.2f  file=%.1f MiB\n",
      writers, no_sync ? " no_sync" : "", updates / took,
      static_cast<double>(after.flushes - before.flushes) / updates,
      static_cast<double>(after.pages_written - before.pages_written) / updates,
      static_cast<double>(after.file_bytes) / (1 << 20));
}

void Reads(const std::string& path, int readers, bool one_tx, double seconds) {
  const auto db = Open(path, true);
  Fill(*db, kKeys);
  std::atomic<uint64_t> total{0};
  const auto begin = Clock::now();
  std::vector<std::thread> threads;
  for (int r = 0; r < readers; ++r) {
    threads.emplace_back([&, r] {
      std::mt19937_64 random(static_cast<uint64_t>(r));
      uint64_t count = 0;
      const auto read = [&](const Tx& tx) -> Status {
        const Bucket v1 = TRY(tx.GetBucket("v1"));
        const Bucket ns = TRY(v1.GetBucket("default"));
        const Bucket blobs = TRY(ns.GetBucket("blobs"));
        for (int i = 0; i < (one_tx ? 1000 : 1); ++i, ++count) {
          const std::string_view value = TRY(blobs.Get(Key(random() % kKeys)));
          if (value.size() != kValueSize) return InternalError("another value");
        }
        return Ok();
      };
      while (Seconds(begin) < seconds) Must(db->View(read));
      total += count;
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("read readers=%d %s  %.0f/s\n", readers,
              one_tx ? "1000 a transaction" : "a transaction each",
              static_cast<double>(total) / Seconds(begin));
}

// Opening, and the first update behind it, for files of growing size.
void OpenTime(const std::string& path, uint64_t keys) {
  {
    Fill(*Open(path, true), keys);
  }
  auto begin = Clock::now();
  const auto db = Open(path, false);
  const double opened = Seconds(begin);
  begin = Clock::now();
  Must(db->Update([](Tx& tx) { return PutKey(tx, 0, "new"); }));
  const double updated = Seconds(begin);
  Must(db->WaitForFreePages());
  const double walked = Seconds(begin);
  std::printf("open file=%.1f MiB  %.0f us  first update %.0f us  free pages known after %.0f us\n",
              static_cast<double>(db->GetStats().file_bytes) / (1 << 20), opened * 1e6,
              updated * 1e6, walked * 1e6);
}

int Main(int argc, char** argv) {
  std::string directory =
      argc > 1 ? argv[1] : (std::filesystem::temp_directory_path() / "bolt-bench-XXXXXX").string();
  if (argc <= 1 && mkdtemp(directory.data()) == nullptr) Must(ErrnoError(errno, directory));
  const double seconds = argc > 2 ? std::atof(argv[2]) : 2.0;
  int file = 0;
  const auto next = [&] { return StrCat(directory, "/", file++, ".db"); };
  for (const int writers : {1, 16}) Updates(next(), writers, false, seconds);
  Updates(next(), 1, true, seconds);
  for (const int readers : {1, 2}) {
    Reads(next(), readers, false, seconds);
    Reads(next(), readers, true, seconds);
  }
  for (const uint64_t keys : {uint64_t{100}, uint64_t{10000}, uint64_t{100000}, uint64_t{400000}})
    OpenTime(next(), keys);
  for (int i = 0; i < file; ++i) std::filesystem::remove(StrCat(directory, "/", i, ".db"));
  if (argc <= 1) std::filesystem::remove(directory);
  return 0;
}

}  // namespace
}  // namespace corten::bolt

int main(int argc, char** argv) { return corten::bolt::Main(argc, argv); }
