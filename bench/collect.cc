// Rows 34, 35 and 36: ten thousand tiny blobs, every fourth with a snapshot, are put in by sixteen
// clients under one lease; then collections are forced, first with all of it alive, then with
// nothing, while another client creates images and notes its longest wait.
#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <mutex>

#include "base/dir.h"
#include "base/fd.h"
#include "base/hash.h"
#include "journeys.h"

namespace corten::bench {

namespace {

const Figure kIngest{"36", "tiny blobs, 16 clients, 1 in 4 with a snapshot", "/s", AtLeast(10)};
const Figure kLive{"34", "collection, everything alive", "ms", AtMost(0.20)};
const Figure kLiveStall{"34", "  a writer's longest wait meanwhile", "ms", AtMost(0.02)};
const Figure kLiveMost{"34", "  99 of 100 of its waits are shorter than", "ms", {}};
const Figure kLiveControl{"34", "  the same writer's in as long without a collection", "ms", {}};
const Figure kLiveFloor{"34", "  the disk's alone: two pages written and flushed", "ms", {}};
const Figure kDead{"35", "collection, frees everything", "ms", AtMost(0.25)};
const Figure kDeadStall{"35", "  a writer's longest wait meanwhile", "ms", AtMost(0.02)};
const Figure kDeadMost{"35", "  99 of 100 of its waits are shorter than", "ms", {}};
const Figure kDeadControl{"35", "  the same writer's in as long without a collection", "ms", {}};
const Figure kDeadFloor{"35", "  the disk's alone: two pages written and flushed", "ms", {}};
constexpr int kClients = 16;
constexpr int kBatches = 5;
constexpr const char* kLease = "bench-collect";

struct Loaded {
  std::unique_ptr<Daemon> daemon;
  std::unique_ptr<Target> target;
};

metadata::Image MakeImage(const std::string& name) {
  metadata::Image image;
  image.name = name;
  image.target.media_type = std::string(model::media_type::kOciManifest);
  image.target.digest = Must(model::Digest::Parse(Sha256Digest(name)), "digest");
  image.target.size = 1000;
  return image;
}

// Creates images, one after the other, on a thread of its own, and keeps how long each took.
class Writer {
 public:
  Writer(Run& run, Target& target) : thread_([this, &run, &target] { Write(run, target); }) {
    AwaitOneMore();
  }
  ~Writer() {
    stop_ = true;
    thread_.join();
  }
  void Reset() {
    AwaitOneMore();
    const std::lock_guard lock(mutex_);
    waits_ms_.clear();
  }
  // Since then, with the call that was under way when it was asked. Not empty.
  std::vector<double> WaitsMs() {
    AwaitOneMore();
    const std::lock_guard lock(mutex_);
    return waits_ms_;
  }

 private:
  void Write(Run& run, Target& target) {
    while (!stop_) {
      const metadata::Image image = MakeImage(run.Unique("registry.example/written") + ":v1");
      const auto begin = Now();
      Must(target.images().Create(PlainScope(), image, std::nullopt), "create image");
      {
        const std::lock_guard lock(mutex_);
        waits_ms_.push_back(Millis(begin));
      }
      ++done_;
    }
  }
  void AwaitOneMore() {
    const int64_t done = done_;
    while (done_ == done) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards waits_ms_
  std::vector<double> waits_ms_;
  std::atomic<int64_t> done_{0};
  std::thread thread_;
};

double Longest(const std::vector<double>& waits) {
  return *std::max_element(waits.begin(), waits.end());
}

// One collection and the writer beside it.
struct Forced {
  const Figure& time;
  const Figure& stall;
  const Figure& most;
  const Figure& control;
  const Figure& floor;
};

// The longest of what one thread waits, for so long and without a daemon, that does over and over
// what no durable commit can do without: it writes a page and flushes it, twice. Below that no
// writer's longest wait can be expected.
double LongestFlush(const Run& run, double for_ms) {
  constexpr size_t kPage = 4096;
  constexpr int kPages = 1000;  // of the file, as of a database
  const std::string file_of_pages(kPages * kPage, 'x');
  const std::string_view page = std::string_view(file_of_pages).substr(0, kPage);
  const Dir dir = Must(Dir::Open(run.options().work_dir), "open the scratch directory");
  const Fd file = Must(dir.OpenFile("flushed", O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open a file");
  Must(PwriteAll(file, file_of_pages, 0, "flushed"), "write a file");
  Must(Fdatasync(file, "flushed"), "flush");
  double longest = 0;
  const auto begin = Now();
  for (int i = 0; Millis(begin) < for_ms; ++i) {
    const auto commit_begin = Now();
    for (const int at : {i % (kPages - 1) + 1, 0}) {
      Must(PwriteAll(file, page, kPage * static_cast<uint64_t>(at), "flushed"), "write a page");
      Must(Fdatasync(file, "flushed"), "flush");
    }
    longest = std::max(longest, Millis(commit_begin));
  }
  return longest;
}

// What a writer waits while `collect` runs, then for as long without it, then the disk alone.
template <typename Collect>
void Force(Run& run, Target& target, const Forced& figures, Collect collect) {
  double took_ms = 0;
  {
    Writer writer(run, target);
    writer.Reset();
    const auto begin = Now();
    collect();
    took_ms = Millis(begin);
    const std::vector<double> waits = writer.WaitsMs();
    run.report().Add(figures.time, target.name(), took_ms);
    run.report().Add(figures.stall, target.name(), Longest(waits));
    run.report().Add(figures.most, target.name(), Percentile(waits, 0.99));
    writer.Reset();
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(took_ms));
    run.report().Add(figures.control, target.name(), Longest(writer.WaitsMs()));
  }
  run.report().Add(figures.floor, target.name(), LongestFlush(run, took_ms));
}

// How many a second.
double Ingest(Daemon& daemon, int first, int count) {
  const model::Scope scope = LeasedScope(kLease);
  std::vector<Target> clients = Clients(daemon, kClients);
  const auto begin = Now();
  AtOnce(clients, count, [&](Target& client, int i) {
    const std::string data = StrCat("tiny blob number ", first + i);
    model::Descriptor descriptor;
    descriptor.digest = Must(model::Digest::Parse(Sha256Digest(data)), "digest");
    descriptor.size = static_cast<int64_t>(data.size());
    const auto content = client.stores().Content(scope);
    Must(content::WriteBlob(*content, StrCat("tiny-", first + i), data, descriptor, {}),
         "write blob");
    if (i % 4 != 0) return;
    Must(client.Snapshots(scope)->Prepare(StrCat("tiny-", first + i), "", {}), "prepare");
  });
  return count / (Millis(begin) / 1000);
}

// All of the blobs under a fresh lease, each daemon some in turn.
void IngestAll(Run& run, std::vector<Loaded>& all, int blobs, bool report) {
  for (Loaded& loaded : all) {
    metadata::Lease lease;
    lease.id = model::LeaseId(kLease);
    Must(loaded.target->leases().Create(PlainScope().ns, lease), "create lease");
  }
  const int per_batch = blobs / kBatches;
  for (int batch = 0; batch < kBatches; ++batch) {
    for (Loaded& loaded : all) {
      const double rate = Ingest(*loaded.daemon, batch * per_batch, per_batch);
      if (report) run.report().Add(kIngest, loaded.target->name(), rate);
    }
  }
}

// Until no daemon has done anything for a second: what one still collects of its own accord, or
// tidies in its memory, would be counted as the other's wait.
void AwaitRest(const Run& run, const std::vector<Loaded>& all) {
  constexpr std::chrono::seconds kRest{1};
  constexpr int kTries = 20;
  constexpr double kIdleMs = 5;
  const auto usage = [&] {
    double ms = 0;
    for (const Loaded& loaded : all) ms += loaded.daemon->group().UsageMs();
    return ms;
  };
  if (run.options().quick) return;
  double before = usage();
  for (int i = 0; i < kTries; ++i) {
    std::this_thread::sleep_for(kRest);
    const double now = usage();
    if (now - before < kIdleMs) return;
    before = now;
  }
  fprintf(stderr, "bench: a daemon is still at work; rows 34 and 35 have it in their waits\n");
}

// Deleting an image synchronously waits for a whole collection.
void ForceLive(Run& run, Target& target) {
  const metadata::Image image = MakeImage(run.Unique("registry.example/forced") + ":v1");
  Must(target.images().Create(PlainScope(), image, std::nullopt), "create image");
  Force(run, target, {kLive, kLiveStall, kLiveMost, kLiveControl, kLiveFloor}, [&] {
    metadata::ImageStore::DeleteOptions options;
    options.synchronous = true;
    Must(target.images().Delete(PlainScope(), image.name, options), "delete image");
  });
}

void ForceDead(Run& run, Target& target) {
  Force(run, target, {kDead, kDeadStall, kDeadMost, kDeadControl, kDeadFloor}, [&] {
    Must(target.leases().Delete(PlainScope().ns, model::LeaseId(kLease), /*synchronous=*/true),
         "delete lease");
  });
}

int CountBlobs(Target& target) {
  int count = 0;
  Must(target.stores()
           .Content(PlainScope())
           ->Walk({},
                  [&](const content::Info&) {
                    ++count;
                    return Ok();
                  }),
       "list content");
  return count;
}

}  // namespace

void MeasureCollect(Run& run) {
  const int blobs = run.N(10000, 80);
  std::vector<Loaded> all;
  for (const Candidate& candidate : run.options().candidates) {
    Loaded loaded;
    loaded.daemon = run.Start(candidate, DaemonConfig::kSame);
    loaded.target = std::make_unique<Target>(*loaded.daemon);
    all.push_back(std::move(loaded));
  }
  IngestAll(run, all, blobs, /*report=*/true);
  if (!run.Wants("34") && !run.Wants("35") && !run.Wants("collect")) return;
  run.Alternate(run.N(7, 1), all, [&](Loaded& loaded) {
    AwaitRest(run, all);
    ForceLive(run, *loaded.target);
  });
  // One longest wait says much of the moment and little of the daemon. Row 36 is of the first
  // round alone: new files are slow where many have just been deleted.
  const int rounds = run.N(3, 1);
  for (int round = 0; round < rounds; ++round) {
    if (round > 0) IngestAll(run, all, blobs, /*report=*/false);
    for (Loaded& loaded : all) {
      if (CountBlobs(*loaded.target) != blobs) Fail("a collection took blobs that a lease holds");
      AwaitRest(run, all);
      ForceDead(run, *loaded.target);
      if (CountBlobs(*loaded.target) != 0) Fail("a collection left blobs that nothing holds");
    }
  }
}

}  // namespace corten::bench
