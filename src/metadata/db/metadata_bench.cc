// Measures the database over real backends (content/local, snapshot/overlay). Usage: metadata_bench
// [DIRECTORY] [SECONDS] (default: a directory of its own under TMPDIR, 2 s a row). Prints one line
// for each row.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "content/local/local_store.h"
#include "metadata/db/database.h"
#include "snapshot/overlay/overlay.h"

namespace corten::metadata {
namespace {

using SteadyClock = std::chrono::steady_clock;
double Seconds(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

// Of the whole process: what does not depend on how busy the machine is.
double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void Must(const Status& status, const char* what) {
  if (status.ok()) return;
  std::fprintf(stderr, "metadata_bench: %s: %s\n", what, status.error().text().c_str());
  std::exit(1);
}
template <typename T>
T Must(Result<T> result, const char* what) {
  if (!result.ok()) Must(Status(std::move(result).TakeError()), what);
  return std::move(result).value();
}

const model::Namespace kNs("default");
const model::Scope kScope{kNs, model::LeaseId()};

Container MakeContainer(const std::string& id) {
  Container container;
  container.id = model::ContainerId(id);
  container.image = "docker.io/library/busybox:latest";
  container.runtime.name = "io.containerd.runc.v2";
  container.runtime.options = model::Any{"containerd.runc.v1.Options", ""};
  container.spec =
      model::Any{"types.containerd.io/opencontainers/runtime-spec/1/Spec", std::string(3000, 'x')};
  container.labels = {{"io.containerd.image.config.stop-signal", "SIGTERM"}, {"name", id}};
  return container;
}

Image MakeImage(const std::string& name) {
  Image image;
  image.name = name;
  image.target.digest = Must(model::Digest::Parse("sha256:" + std::string(64, 'a')), "digest");
  image.target.size = 582;
  image.target.media_type = std::string(model::media_type::kOciManifest);
  image.labels = {{"org.example/one", "1"}, {"org.example/two", "2"}};
  return image;
}

// Runs `work(thread, number)` in a loop on each thread for `seconds`.
template <typename F>
void Rate(const char* name, int threads, double seconds, F work) {
  std::atomic<uint64_t> done = 0;
  std::vector<std::thread> pool;
  const auto begin = SteadyClock::now();
  const double cpu = CpuSeconds();
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      for (uint64_t i = 0; Seconds(begin) < seconds; ++i, ++done) work(t, i);
    });
  }
  for (std::thread& thread : pool) thread.join();
  const double rate = static_cast<double>(done) / Seconds(begin);
  std::printf("%-34s %2d threads %10.0f /s  %8.3f ms each, %8.3f ms of CPU\n", name, threads, rate,
              1000.0 * threads / rate, 1000.0 * (CpuSeconds() - cpu) / static_cast<double>(done));
  std::fflush(stdout);
}

class Bench {
 public:
  Bench(const std::string& dir, double seconds) : seconds_(seconds) {
    store_ = Must(content::LocalStore::Open(dir + "/content"), "content");
    snapshot::overlay::Config overlay;
    overlay.root = dir + "/overlay";
    driver_ = Must(snapshot::overlay::Open(overlay), "overlay");
    DatabaseOptions options;
    options.path = dir + "/meta.db";
    options.content = store_.get();
    options.snapshotters = {{"overlayfs", driver_.get()}};
    db_ = Must(Database::Open(std::move(options)), "database");
  }

  void Objects() {
    for (const int threads : {1, 8}) {
      const auto id = [threads](int t, uint64_t i) { return StrCat("c", threads, "-", t, "-", i); };
      std::vector<uint64_t> made(static_cast<size_t>(threads), 0);
      Rate("container create", threads, seconds_, [&](int t, uint64_t i) {
        (void)Must(db_->containers().Create(kScope, MakeContainer(id(t, i))), "create");
        made[static_cast<size_t>(t)] = i + 1;
      });
      const auto pick = [&](int t, uint64_t i) { return id(t, i % made[static_cast<size_t>(t)]); };
      Rate("container update (label)", threads, seconds_, [&](int t, uint64_t i) {
        Container container = MakeContainer(pick(t, i));
        container.labels["n"] = StrCat(i);
        (void)Must(db_->containers().Update(kScope, container, {"labels.n"}), "update");
      });
      Rate("container get", threads, seconds_ / 4, [&](int t, uint64_t i) {
        (void)Must(db_->containers().Get(kNs, model::ContainerId(pick(t, i))), "get");
      });
      Rate("container delete", threads, seconds_, [&](int t, uint64_t i) {
        if (i < made[static_cast<size_t>(t)])
          Must(db_->containers().Delete(kScope, model::ContainerId(id(t, i))), "delete");
        else
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
      Rate("snapshot prepare", threads, seconds_, [&](int t, uint64_t i) {
        const auto snapshots = Must(db_->Snapshots(kScope, "overlayfs"), "snapshots");
        (void)Must(snapshots->Prepare("p" + id(t, i), "", {}), "prepare");
      });
    }
  }

  void Lists() {
    std::vector<std::thread> pool;
    const auto begin = SteadyClock::now();
    for (int t = 0; t < 8; ++t) {
      pool.emplace_back([&, t] {
        for (int i = t; i < 10000; i += 8)
          (void)Must(
              db_->images().Create(kScope, MakeImage(StrCat("registry.example/app", i, ":v1")), {}),
              "image");
      });
    }
    for (std::thread& thread : pool) thread.join();
    std::printf("%-34s  8 threads %10.0f /s\n", "10k image creates", 10000 / Seconds(begin));
    for (int i = 0; i < 400; ++i)
      (void)Must(db_->containers().Create(kScope, MakeContainer(StrCat("list", i))), "create");
    Rate("images list (10k)", 1, seconds_ / 2,
         [&](int, uint64_t) { (void)Must(db_->images().List(kNs, {}), "list"); });
    Rate("images list (10k, filter)", 1, seconds_ / 2, [&](int, uint64_t) {
      (void)Must(db_->images().List(kNs, {"name==registry.example/app77:v1"}), "list");
    });
    Rate("containers list (400)", 1, seconds_ / 2,
         [&](int, uint64_t) { (void)Must(db_->containers().List(kNs, {}), "list"); });
  }

  // 10k blobs and 2.5k snapshots under one lease: a run that frees nothing, then one that frees
  // all; beside a writer.
  void Collect() {
    const model::Scope leased{kNs, model::LeaseId("bench")};
    Lease lease;
    lease.id = leased.lease;
    (void)Must(db_->leases().Create(kNs, lease), "lease");
    const auto begin = SteadyClock::now();
    std::vector<std::thread> pool;
    for (int t = 0; t < 16; ++t) pool.emplace_back([&, t] { Ingest(leased, t); });
    for (std::thread& thread : pool) thread.join();
    std::printf("%-34s 16 threads %10.0f blobs/s (every fourth with a snapshot)\n",
                "ingest of 10k tiny blobs", 10000 / Seconds(begin));
    (void)Must(db_->CollectGarbage(), "collect");  // what the rows above left
    Run("gc, all live");
    Run("gc, all live, again");
    Must(db_->leases().Delete(kNs, leased.lease, false), "lease");
    Run("gc, frees 10k blobs + 2.5k snaps");
  }

 private:
  void Ingest(const model::Scope& scope, int thread) {
    const auto content = db_->Content(scope);
    const auto snapshots = Must(db_->Snapshots(scope, "overlayfs"), "snapshots");
    for (int i = thread; i < 10000; i += 16) {
      const std::string data = StrCat("tiny blob number ", i);
      auto writer = Must(
          content->OpenWriter({StrCat("ref", i), {}, static_cast<int64_t>(data.size())}), "writer");
      Must(writer->Write(data), "write");
      (void)Must(writer->Commit({}), "commit");
      if (i % 4 == 0) (void)Must(snapshots->Prepare(StrCat("gc", i), "", {}), "prepare");
    }
  }

  // One collection while a client makes images: its worst latency, against the worst of an equal
  // time before it.
  void Run(const char* name) {
    const auto writes = [&](const std::atomic<bool>& stop, std::vector<double>* latencies) {
      while (!stop) {
        const auto begin = SteadyClock::now();
        (void)Must(db_->images().Create(kScope, MakeImage(StrCat("stall", ++images_)), {}),
                   "image");
        latencies->push_back(1000 * Seconds(begin));
      }
    };
    const auto beside = [&](auto work, std::vector<double>* latencies) {
      std::atomic<bool> stop = false;
      std::thread writer([&] { writes(stop, latencies); });
      work();
      stop = true;
      writer.join();
      std::sort(latencies->begin(), latencies->end());
    };
    std::vector<double> during;
    std::vector<double> before;
    GcStats stats;
    double seconds = 0;
    double cpu = 0;
    const auto once = [&] {
      const auto begin = SteadyClock::now();
      timespec from{};
      timespec to{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
      stats = Must(db_->CollectGarbage(), "collect");
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
      cpu = 1000.0 * static_cast<double>(to.tv_sec - from.tv_sec) +
            static_cast<double>(to.tv_nsec - from.tv_nsec) / 1e6;
      seconds = Seconds(begin);
    };
    beside([] { std::this_thread::sleep_for(std::chrono::milliseconds(500)); }, &before);
    beside(once, &during);
    std::printf(
        "%-34s %8.1f ms, %.1f of CPU in its thread (mark %.1f, pause %.1f, longest %.2f); writer's "
        "worst %.2f ms, without gc %.2f (median %.2f)\n",
        name, 1000 * seconds, cpu, Milli(stats.mark), Milli(stats.pause),
        Milli(stats.longest_pause), during.empty() ? 0 : during.back(), before.back(),
        before[before.size() / 2]);
    std::printf("%-34s %llu nodes, %llu live; freed %llu blobs, %llu snapshots\n", "",
                static_cast<unsigned long long>(stats.nodes),
                static_cast<unsigned long long>(stats.live),
                static_cast<unsigned long long>(stats.freed_blobs),
                static_cast<unsigned long long>(stats.freed_snapshots));
  }
  static double Milli(std::chrono::nanoseconds time) {
    return static_cast<double>(time.count()) / 1e6;
  }

  const double seconds_;
  std::unique_ptr<content::LocalStore> store_;
  std::unique_ptr<snapshot::Driver> driver_;
  std::unique_ptr<Database> db_;
  uint64_t images_ = 0;
};

}  // namespace
}  // namespace corten::metadata

int main(int argc, char** argv) {
  const char* temp = std::getenv("TMPDIR");
  std::string dir =
      argc > 1 ? argv[1] : std::string(temp != nullptr ? temp : "/tmp") + "/metadata-bench-XXXXXX";
  if (argc <= 1 && ::mkdtemp(dir.data()) == nullptr) return 1;
  std::filesystem::create_directories(dir);
  const double seconds = argc > 2 ? std::atof(argv[2]) : 2;
  {
    corten::metadata::Bench bench(dir, seconds);
    bench.Objects();
    bench.Lists();
    bench.Collect();
  }
  if (argc <= 1) std::filesystem::remove_all(dir);
  return 0;
}
