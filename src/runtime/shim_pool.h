// The connections to shims, by address: found again by the next container of a pod, closed after
// the last.
//
// Life cycle of a connection: Acquire (made or found) -> Release by its last user -> leaving:
// Shutdown has been or is being asked for; nobody new joins, until the shim closes it or the grace
// has passed. Children of ours (shims started directly) are reaped after their connection has
// closed. Threads: thread-safe; Acquire and AwaitLeaving block.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/shim_client.h"

namespace corten::runtime {

class ShimPool {
 public:
  // `lost` runs on the loop thread when a shim has closed its connection, leaving or not.
  ShimPool(LoopThread& loop, std::function<void(const std::shared_ptr<ShimClient>&)> lost);

  // The connection to `endpoint`, counted for one more user. `pid`: our child, or -1.
  // Errors: as ShimClient::Connect.
  Result<std::shared_ptr<ShimClient>> Acquire(const Endpoint& endpoint, int pid,
                                              std::chrono::milliseconds timeout);
  // One user less. True: it was the last and the shim should be asked to shut down; it counts as
  // leaving now.
  bool Release(const std::shared_ptr<ShimClient>& shim);
  // Closes a leaving connection from this side.
  void Forget(const std::shared_ptr<ShimClient>& shim);
  // Waits until a leaving shim at `address` is gone, at most `timeout`. True: somebody was leaving
  // there.
  bool AwaitLeaving(const std::string& address, std::chrono::milliseconds timeout);

  size_t size() const;
  // Closes all connections; no callback runs any more.
  void CloseAll();

 private:
  struct Entry {
    std::shared_ptr<ShimClient> client;
    size_t users = 0;
    int pid = -1;
  };
  void OnClosed(ShimClient* client);
  void Reap(int pid, int attempt);

  LoopThread& loop_;
  const std::function<void(const std::shared_ptr<ShimClient>&)> lost_;
  mutable std::mutex
      mutex_;  // guards the rest; never held while connecting, closing or calling back
  std::condition_variable gone_;
  std::map<std::string, Entry> entries_;  // by address; users > 0
  std::vector<Entry> leaving_;
  bool closed_ = false;
};

}  // namespace corten::runtime
