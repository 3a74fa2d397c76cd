// A daemon's API as the journeys call it, and the container that most of them make.
//
// Everything happens in the namespace `corten-bench`. A failing call ends the program (must.h).
// Threads: the stores and Tasks are free for all; the rest belongs to one thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/remote.h"
#include "client/tasks.h"
#include "daemon.h"
#include "must.h"

namespace corten::bench {

inline constexpr const char* kSnapshotter = "overlayfs";
inline constexpr const char* kNamespace = "corten-bench";
// Nothing refers to a snapshot between its Prepare and its container: the label keeps the collector
// off, as a lease would.
inline const model::Labels kRoot = {{"containerd.io/gc.root", "bench"}};
model::Scope PlainScope();  // the namespace, no lease
model::Scope LeasedScope(const std::string& lease);

// Which OCI runtime runs a container: "runc" is the shim's default, others are given by path.
struct OciRuntime {
  std::string name;
  std::string path;  // empty: the default
};

class Target {
 public:
  // Connects to the socket of `daemon`, which is borrowed for life.
  explicit Target(Daemon& daemon);

  Daemon& daemon() { return daemon_; }
  const std::string& name() const { return daemon_.name(); }
  const client::ConnectionPtr& connection() const { return connection_; }
  metadata::ContainerStore& containers() { return *containers_; }
  metadata::ImageStore& images() { return *images_; }
  metadata::LeaseStore& leases() { return *leases_; }
  client::Tasks& tasks() { return *tasks_; }
  metadata::ScopedStores& stores() { return *stores_; }
  std::unique_ptr<snapshot::Snapshotter> Snapshots(const model::Scope& scope);

  // Remembers what containers are made of: the image `reference`, which must be stored and
  // unpacked.
  void UseImage(const std::string& reference);
  const std::string& chain_id() const { return chain_id_; }
  // A container row that runs `args`; not yet created.
  metadata::Container MakeContainer(const std::string& id, const std::vector<std::string>& args,
                                    const OciRuntime& runtime) const;
  // Snapshot, container and started task that sleeps. Drop takes all of it away again.
  model::ContainerId Keep(const std::string& id, const OciRuntime& runtime);
  void Drop(const model::ContainerId& id);
  // `count` of them by `clients` at once, named PREFIX-0 and on.
  std::vector<model::ContainerId> KeepMany(const std::string& prefix, int count, int clients,
                                           const OciRuntime& runtime);
  void DropMany(const std::vector<model::ContainerId>& ids, int clients);

 private:
  Daemon& daemon_;
  client::ConnectionPtr connection_;
  std::unique_ptr<metadata::ContainerStore> containers_;
  std::unique_ptr<metadata::ImageStore> images_;
  std::unique_ptr<metadata::LeaseStore> leases_;
  std::unique_ptr<metadata::ScopedStores> stores_;
  std::unique_ptr<client::Tasks> tasks_;
  std::string image_;
  std::string chain_id_;
  std::string config_;
};

// Calls work(0) .. work(count - 1), each once, from `clients` threads.
template <typename Work>
void AtOnce(int clients, int count, const Work& work) {
  std::atomic<int> next{0};
  std::vector<std::thread> threads;
  for (int c = 0; c < clients; ++c) {
    threads.emplace_back([&] {
      for (int i = next++; i < count; i = next++) work(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// So many clients of a daemon, each with a connection of its own.
std::vector<Target> Clients(Daemon& daemon, int count);
// Calls work(client, 0) .. work(client, count - 1), each once, every client in a thread of its own.
template <typename Work>
void AtOnce(std::vector<Target>& clients, int count, const Work& work) {
  const int threads = static_cast<int>(clients.size());
  std::atomic<int> next{0};
  AtOnce(threads, threads, [&](int c) {
    for (int i = next++; i < count; i = next++) work(clients[static_cast<size_t>(c)], i);
  });
}

}  // namespace corten::bench
