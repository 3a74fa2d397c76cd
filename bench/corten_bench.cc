// corten-bench: times a containerd API socket, or two of them in alternation, with the same calls.
//
// Usage: corten-bench --image REF NAME=ADDRESS [NAME=ADDRESS]   [--n N] [--rows
// version,container,create8,snapshot,lifecycle,exec,throughput,list] The image must be stored and
// unpacked on both. Each figure is taken in rounds that alternate between the sockets; the table
// shows medians in milliseconds (or per second) and the ratio first/second; lines that begin with
// `row ` are for machines. Rows carry the numbers of docs/BENCHMARKS.md.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "client/remote.h"
#include "client/tasks.h"
#include "containerd/services/version/v1/version.grpc.pb.h"
#include "image/manifest.h"
#include "oci/spec.h"

namespace corten::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Target {
  std::string name;
  client::ConnectionPtr connection;
  std::unique_ptr<metadata::ContainerStore> containers;
  std::unique_ptr<metadata::ImageStore> images;
  std::unique_ptr<metadata::ScopedStores> stores;
  std::unique_ptr<client::Tasks> tasks;
  std::string chain_id;
  std::string config;
};

const model::Scope kScope{model::Namespace("corten-bench"), {}};
constexpr const char* kSnapshotter = "overlayfs";
// Nothing refers to a snapshot between its Prepare and its container: the label keeps the collector
// off, as a lease would.
const model::Labels kRoot = {{"containerd.io/gc.root", "bench"}};

struct Row {
  std::string number;  // of docs/BENCHMARKS.md
  std::string what;
  std::string unit;                                    // "ms" or "/s"
  std::map<std::string, std::vector<double>> samples;  // by target
};

double Millis(SteadyClock::time_point from) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - from).count();
}

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<size_t>(share * static_cast<double>(values.size())))];
}

// A failure ends the run: a figure of something that failed is no figure.
void Must(const Status& status, const std::string& what) {
  if (status.ok()) return;
  (void)fprintf(stderr, "corten-bench: %s: %s\n", what.c_str(), status.error().text().c_str());
  exit(1);
}
template <typename T>
T Must(Result<T> result, const std::string& what) {
  if (!result.ok()) Must(Status(result.error().Clone()), what);
  return std::move(result).value();
}

class Bench {
 public:
  Bench(std::vector<Target>& targets, std::string image, int n)
      : targets_(targets), image_(std::move(image)), n_(n) {}

  void Run(const std::string& rows) {
    const auto wanted = [&](const std::string& name) {
      return rows.empty() || (rows + ",").find(name + ",") != std::string::npos;
    };
    if (wanted("version")) Alternate(n_ * 4, [&](Target& target) { Version(target); });
    if (wanted("container")) Alternate(n_ * 2, [&](Target& target) { ContainerCalls(target); });
    if (wanted("snapshot")) Alternate(n_ * 2, [&](Target& target) { Snapshots(target); });
    if (wanted("create8")) Alternate(3, [&](Target& target) { CreateAtOnce(target, 8); });
    if (wanted("lifecycle"))
      Alternate(n_, [&](Target& target) {
        Lifecycle(target, StrCat("bench-", turn_++), /*record=*/true);
      });
    if (wanted("exec")) Execs();
    if (wanted("throughput")) {
      for (const int clients : {1, 4, 8})
        Alternate(3, [&](Target& target) { Throughput(target, clients); });
    }
    if (wanted("list")) Lists();
  }

  void Print() const {
    (void)printf("%-4s %-46s", "row", "what");
    for (const Target& target : targets_)
      (void)printf(" %14s %10s", (target.name + " p50").c_str(), "p99");
    (void)printf(targets_.size() > 1 ? "   ratio\n" : "\n");
    for (const std::string& key : order_) {
      const Row& row = rows_.at(key);
      (void)printf("%-4s %-46s", row.number.c_str(), StrCat(row.what, " [", row.unit, "]").c_str());
      std::vector<double> medians;
      for (const Target& target : targets_) {
        const auto found = row.samples.find(target.name);
        const std::vector<double> samples =
            found == row.samples.end() ? std::vector<double>() : found->second;
        medians.push_back(Percentile(samples, 0.5));
        (void)printf(" %14.3f %10.3f", medians.back(), Percentile(samples, 0.99));
      }
      if (medians.size() > 1 && medians[1] > 0) (void)printf("   %5.2f", medians[0] / medians[1]);
      (void)printf("\n");
    }
    for (const std::string& key : order_) {
      const Row& row = rows_.at(key);
      for (const auto& [target, samples] : row.samples) {
        (void)printf("row %s \"%s\" %s %s n=%zu min=%.4f p50=%.4f p99=%.4f\n", row.number.c_str(),
                     row.what.c_str(), row.unit.c_str(), target.c_str(), samples.size(),
                     Percentile(samples, 0), Percentile(samples, 0.5), Percentile(samples, 0.99));
      }
    }
  }

 private:
  void Record(const Target& target, const std::string& number, const std::string& what,
              double value, const std::string& unit = "ms") {
    Row& row = rows_[number + what];
    if (row.what.empty()) {
      row = {number, what, unit, {}};
      order_.push_back(number + what);
    }
    row.samples[target.name].push_back(value);
  }

  template <typename Work>
  void Alternate(int rounds, Work work) {
    for (int round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < targets_.size(); ++i)
        work(targets_[(i + static_cast<size_t>(round)) % targets_.size()]);
    }
  }

  void Version(Target& target) {
    const auto stub =
        containerd::services::version::v1::Version::NewStub(target.connection->channel());
    grpc::ClientContext context;
    containerd::services::version::v1::VersionResponse response;
    const auto begin = SteadyClock::now();
    Must(client::FromGrpc(stub->Version(&context, google::protobuf::Empty(), &response)),
         "version");
    Record(target, "28", "Version round trip", Millis(begin));
  }

  metadata::Container MakeContainer(Target& target, const std::string& id,
                                    const std::vector<std::string>& args) {
    oci::SpecRequest request;
    request.ns = kScope.ns.str();
    request.id = id;
    request.image_config = target.config;
    request.args = args;
    metadata::Container container;
    container.id = model::ContainerId(id);
    container.image = image_;
    container.runtime.name = "io.containerd.runc.v2";
    container.spec = model::Any{std::string(oci::kSpecType), Must(oci::MakeSpec(request), "spec")};
    container.snapshotter = kSnapshotter;
    container.snapshot_key = id;
    return container;
  }

  void ContainerCalls(Target& target) {
    metadata::Container container = MakeContainer(target, StrCat("meta-", turn_++), {"/bin/true"});
    auto begin = SteadyClock::now();
    Must(target.containers->Create(kScope, container), "create container");
    Record(target, "30", "Containers.Create", Millis(begin));
    container.labels["k"] = "v";
    begin = SteadyClock::now();
    Must(target.containers->Update(kScope, container, {"labels"}), "update container");
    Record(target, "30", "Containers.Update", Millis(begin));
    begin = SteadyClock::now();
    Must(target.containers->Get(kScope.ns, container.id), "get container");
    Record(target, "30", "Containers.Get", Millis(begin));
    begin = SteadyClock::now();
    Must(target.containers->Delete(kScope, container.id), "delete container");
    Record(target, "30", "Containers.Delete", Millis(begin));
  }

  void Snapshots(Target& target) {
    const auto snapshots = Must(target.stores->Snapshots(kScope, kSnapshotter), "snapshotter");
    const std::string key = StrCat("snap-", turn_++);
    auto begin = SteadyClock::now();
    Must(snapshots->Prepare(key, target.chain_id, kRoot), "prepare");
    Record(target, "33", "Snapshots.Prepare", Millis(begin));
    begin = SteadyClock::now();
    Must(snapshots->Remove(key), "remove snapshot");
    Record(target, "33", "Snapshots.Remove", Millis(begin));
  }

  void CreateAtOnce(Target& target, int clients) {
    constexpr int kEach = 50;
    std::vector<metadata::Container> made;
    for (int i = 0; i < clients * kEach; ++i)
      made.push_back(MakeContainer(target, StrCat("many-", turn_++), {"/bin/true"}));
    std::vector<std::thread> threads;
    const auto begin = SteadyClock::now();
    for (int c = 0; c < clients; ++c) {
      threads.emplace_back([&, c] {
        for (int i = 0; i < kEach; ++i)
          Must(target.containers->Create(kScope, made[static_cast<size_t>(c * kEach + i)]),
               "create container");
      });
    }
    for (std::thread& thread : threads) thread.join();
    Record(target, "31", StrCat("Containers.Create, ", clients, " clients"),
           clients * kEach / (Millis(begin) / 1000), "/s");
    for (const metadata::Container& container : made)
      Must(target.containers->Delete(kScope, container.id), "delete container");
  }

  // One container from nothing to nothing.
  void Lifecycle(Target& target, const std::string& id, bool record) {
    const auto snapshots = Must(target.stores->Snapshots(kScope, kSnapshotter), "snapshotter");
    const auto begin = SteadyClock::now();
    const std::vector<model::Mount> rootfs =
        Must(snapshots->Prepare(id, target.chain_id, kRoot), "prepare");
    const metadata::Container container =
        Must(target.containers->Create(kScope, MakeContainer(target, id, {"/bin/true"})),
             "create container");
    const auto created = SteadyClock::now();
    Must(target.tasks->Create(container.id, rootfs, {}, std::nullopt), "create task");
    const double create_ms = Millis(created);
    Result<client::TaskExit> exit = UnavailableError("not waited");
    std::thread waiter([&] { exit = target.tasks->Wait(container.id, {}); });
    const auto starting = SteadyClock::now();
    Must(target.tasks->Start(container.id, {}), "start");
    const double start_ms = Millis(starting);
    const double started_ms = Millis(begin);
    waiter.join();
    Must(std::move(exit), "wait");
    const auto deleting = SteadyClock::now();
    Must(target.tasks->Delete(container.id, {}), "delete task");
    const double delete_ms = Millis(deleting);
    Must(target.containers->Delete(kScope, container.id), "delete container");
    Must(snapshots->Remove(id), "remove snapshot");
    if (!record) return;
    Record(target, "6", "create to started, runc", started_ms);
    Record(target, "6", "  of it Tasks.Create", create_ms);
    Record(target, "6", "  of it Tasks.Start", start_ms);
    Record(target, "17", "Tasks.Delete, runc", delete_ms);
    Record(target, "9", "full cycle, runc", Millis(begin));
  }

  void Throughput(Target& target, int clients) {
    constexpr int kEach = 6;
    const int first = turn_;
    turn_ += clients * kEach;
    std::vector<std::thread> threads;
    const auto begin = SteadyClock::now();
    for (int c = 0; c < clients; ++c) {
      threads.emplace_back([&, c] {
        for (int i = 0; i < kEach; ++i)
          Lifecycle(target, StrCat("rate-", first + c * kEach + i), /*record=*/false);
      });
    }
    for (std::thread& thread : threads) thread.join();
    Record(target, "13", StrCat("full cycles, ", clients, clients == 1 ? " client" : " clients"),
           clients * kEach / (Millis(begin) / 1000), "/s");
  }

  // A container that stays; returns its id. Ids differ between targets: OCI runtimes know a
  // container by namespace and id.
  model::ContainerId Keep(Target& target, const std::string& id) {
    const auto snapshots = Must(target.stores->Snapshots(kScope, kSnapshotter), "snapshotter");
    const std::vector<model::Mount> rootfs =
        Must(snapshots->Prepare(id, target.chain_id, kRoot), "prepare");
    const metadata::Container container =
        Must(target.containers->Create(kScope, MakeContainer(target, id, {"/bin/sleep", "100000"})),
             "create container");
    Must(target.tasks->Create(container.id, rootfs, {}, std::nullopt), "create task");
    Must(target.tasks->Start(container.id, {}), "start");
    return container.id;
  }

  void Drop(Target& target, const model::ContainerId& id) {
    Must(target.tasks->Kill(id, {}, 9, /*all=*/false), "kill");
    Must(target.tasks->Wait(id, {}), "wait");
    Must(target.tasks->Delete(id, {}), "delete task");
    Must(target.containers->Delete(kScope, id), "delete container");
    const auto snapshots = Must(target.stores->Snapshots(kScope, kSnapshotter), "snapshotter");
    Must(snapshots->Remove(id.str()), "remove snapshot");
  }

  void Execs() {
    std::map<std::string, model::ContainerId> kept;
    for (Target& target : targets_)
      kept[target.name] = Keep(target, StrCat(target.name, "-exec-host"));
    Alternate(n_, [&](Target& target) {
      const model::ContainerId& id = kept[target.name];
      const metadata::Container container =
          Must(target.containers->Get(kScope.ns, id), "get container");
      const std::string process = Must(
          oci::MakeExecProcess(container.spec->value, {"/bin/true"}, {}, false, ""), "process");
      const model::ExecId exec(StrCat("e", turn_++));
      const auto begin = SteadyClock::now();
      Must(target.tasks->Exec(id, exec, {std::string(oci::kProcessType), process}, {}), "exec");
      Must(target.tasks->Start(id, exec), "start exec");
      Must(target.tasks->Wait(id, exec), "wait exec");
      Must(target.tasks->Delete(id, exec), "delete exec");
      Record(target, "15", "exec /bin/true, runc", Millis(begin));
    });
    for (Target& target : targets_) Drop(target, kept[target.name]);
  }

  void Lists() {
    constexpr int kContainers = 30;
    std::map<std::string, std::vector<model::ContainerId>> kept;
    for (Target& target : targets_) {
      for (int i = 0; i < kContainers; ++i)
        kept[target.name].push_back(Keep(target, StrCat(target.name, "-list-", i)));
    }
    Alternate(n_, [&](Target& target) {
      auto begin = SteadyClock::now();
      Must(target.tasks->List(), "list tasks");
      Record(target, "18", StrCat("Tasks.List, ", kContainers, " containers"), Millis(begin));
      begin = SteadyClock::now();
      Must(target.containers->List(kScope.ns, {}), "list containers");
      Record(target, "20", StrCat("Containers.List, ", kContainers, " containers"), Millis(begin));
      begin = SteadyClock::now();
      Must(target.tasks->Get(kept[target.name][0]), "get task");
      Record(target, "20", "Tasks.Get", Millis(begin));
    });
    for (Target& target : targets_) {
      for (const model::ContainerId& id : kept[target.name]) Drop(target, id);
    }
  }

  std::vector<Target>& targets_;
  const std::string image_;
  const int n_;
  int turn_ = 0;
  std::map<std::string, Row> rows_;
  std::vector<std::string> order_;
};

Target Open(const std::string& word, const std::string& image_name) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos)
    Must(InvalidArgumentError(Quoted(word), ": want NAME=ADDRESS"), "arguments");
  Target target;
  target.name = word.substr(0, equals);
  client::ConnectOptions options;
  options.address = word.substr(equals + 1);
  target.connection = Must(client::Connection::Open(options), "connect");
  target.containers = client::RemoteContainers(target.connection);
  target.images = client::RemoteImages(target.connection);
  target.stores = client::RemoteStores(target.connection);
  target.tasks = client::RemoteTasks(target.connection, kScope);
  const std::unique_ptr<content::Store> content = target.stores->Content(kScope);
  const metadata::Image image = Must(target.images->Get(kScope.ns, image_name),
                                     "image (import it into namespace corten-bench)");
  const model::Descriptor manifest =
      Must(image::SelectManifest(*content, image.target, model::HostPlatform()), "manifest");
  const image::Manifest parsed =
      Must(image::ParseManifest(
               Must(content::ReadBlob(*content, manifest.digest, image::kMaxDocument), "manifest")),
           "manifest");
  target.config =
      Must(content::ReadBlob(*content, parsed.config.digest, image::kMaxConfig), "config");
  const image::ImageConfig config = Must(image::ParseConfig(target.config), "config");
  target.chain_id = image::ChainIds(config.diff_ids).back().str();
  return target;
}

int Main(const std::vector<std::string>& words) {
  std::string image;
  std::string rows;
  int n = 30;
  std::vector<std::string> addresses;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--image" && i + 1 < words.size()) {
      image = words[++i];
    } else if (words[i] == "--rows" && i + 1 < words.size()) {
      rows = words[++i];
    } else if (words[i] == "--n" && i + 1 < words.size()) {
      n = std::max(1, atoi(words[++i].c_str()));
    } else {
      addresses.push_back(words[i]);
    }
  }
  if (image.empty() || addresses.empty() || addresses.size() > 2) {
    (void)fprintf(
        stderr,
        "usage: corten-bench --image REF [--n N] [--rows LIST] NAME=ADDRESS [NAME=ADDRESS]\n");
    return 2;
  }
  std::vector<Target> targets;
  for (const std::string& word : addresses) targets.push_back(Open(word, image));
  Bench bench(targets, image, n);
  bench.Run(rows);
  bench.Print();
  return 0;
}

}  // namespace
}  // namespace corten::bench

int main(int argc, char** argv) { return corten::bench::Main({argv + 1, argv + argc}); }
