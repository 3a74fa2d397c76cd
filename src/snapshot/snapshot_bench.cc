// Figures of the overlay driver on one filesystem. Usage: snapshot_bench DIRECTORY
// Prints: Prepare and Remove per second by number of threads, flushes each.
// Everything happens in a directory of its own below DIRECTORY, which is removed at the end.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/dir.h"
#include "snapshot/overlay/overlay.h"

namespace corten::snapshot {
namespace {

constexpr int kSnapshots = 2000;

using Clock = std::chrono::steady_clock;

void Print(const char* what, int threads, Clock::time_point begin) {
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  printf("%-8s %2d threads  %7.0f /s  %6.3f ms each\n", what, threads, kSnapshots / seconds,
         seconds * 1000 * threads / kSnapshots);
}

// Calls `call(key)` for each key, spread over `threads`, and prints the rate.
Status Measure(const char* what, int threads,
               const std::function<bool(const std::string& key)>& call) {
  std::atomic<int> failures{0};
  std::vector<std::thread> workers;
  const Clock::time_point begin = Clock::now();
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      for (int i = 0; i < kSnapshots / threads; ++i) {
        if (!call(StrCat("container-", t, "-", i))) ++failures;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  Print(what, threads, begin);
  if (failures != 0) return InternalError(failures.load(), " calls failed");
  return Ok();
}

// All of them by one call, as the collector does, and their trees by another.
Status MeasureMany(Driver& driver, const std::string& parent) {
  std::vector<std::string> keys;
  for (int i = 0; i < kSnapshots; ++i) {
    keys.push_back(StrCat("container-", i));
    TRY(driver.Prepare(keys.back(), parent, {}));
  }
  Clock::time_point begin = Clock::now();
  for (const Status& removed : driver.RemoveMany(keys)) {
    if (!removed.ok()) return removed.error().Clone();
  }
  Print("Rows", 1, begin);
  begin = Clock::now();
  TRY(driver.Cleanup());
  Print("Trees", 1, begin);
  return Ok();
}

Status Run(const std::string& root) {
  overlay::Config config;
  config.root = root;
  const std::unique_ptr<Driver> driver = TRY(overlay::Open(config));
  std::string parent;
  for (int layer = 0; layer < 10; ++layer) {
    TRY(driver->Prepare("making", parent, {}));
    const std::string name = StrCat("sha256:layer-", layer);
    TRY(driver->Commit(name, "making", {}));
    parent = name;
  }
  for (const int threads : {1, 4, 16}) {
    TRY(Measure("Prepare", threads,
                [&](const std::string& key) { return driver->Prepare(key, parent, {}).ok(); }));
    TRY(Measure("Mounts", threads,
                [&](const std::string& key) { return driver->Mounts(key).ok(); }));
    TRY(Measure("Remove", threads,
                [&](const std::string& key) { return driver->Remove(key).ok(); }));
    TRY(driver->Cleanup());
  }
  TRY(MeasureMany(*driver, parent));
  return Ok();
}

}  // namespace
}  // namespace corten::snapshot

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::string root = corten::StrCat(argv[1], "/snapshot-bench-XXXXXX");
  if (mkdtemp(root.data()) == nullptr) {
    perror(root.c_str());
    return 1;
  }
  const corten::Status done = corten::snapshot::Run(root);
  const corten::Result<corten::Dir> dir = corten::Dir::Open(root);
  if (dir.ok()) (void)dir->RemoveChildren();
  (void)rmdir(root.c_str());
  if (done.ok()) return 0;
  fprintf(stderr, "snapshot_bench: %s\n", done.error().text().c_str());
  return 1;
}
