// One running shim, by its connection.
//
// Several tasks may share one (a pod). Calls are ttrpc; messages are those of the task service,
// whose two generations have equal fields. Callbacks run on the loop thread. When the connection
// ends, every waiting call fails with `ttrpc: closed` and then OnClosed is called once: the shim is
// gone, or as good as gone.
//
// Threads: Call, Close, closed from any thread. A late reply to a call whose deadline has passed is
// dropped.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "model/ids.h"
#include "runtime/bootstrap.h"
#include "runtime/loop_thread.h"
#include "wire/ttrpc_client.h"

namespace corten::runtime {

class ShimClient {
 public:
  using Reply = std::function<void(Result<std::string> response)>;
  using Closed = std::function<void()>;

  // Connects. The callback runs on the loop thread, at most once, and not after Close.
  // Errors: kUnimplemented (protocol grpc; vsock addresses), kNotFound, kUnavailable (nobody
  // listens), kInvalidArgument.
  static Result<std::shared_ptr<ShimClient>> Connect(LoopThread& loop, Endpoint endpoint,
                                                     std::chrono::milliseconds timeout,
                                                     std::function<void(ShimClient*)> on_closed);
  ~ShimClient();
  ShimClient(const ShimClient&) = delete;
  ShimClient& operator=(const ShimClient&) = delete;

  const Endpoint& endpoint() const { return endpoint_; }
  // 3 until Downgrade.
  int version() const { return version_.load(std::memory_order_relaxed); }
  // The shim answered UNIMPLEMENTED to version 3: speak version 2 from now on. False if that was so
  // already.
  bool Downgrade();

  // Calls METHOD of the task service on behalf of `ns`. timeout 0: none.
  void Call(const model::Namespace& ns, std::string_view method, std::string request,
            std::chrono::nanoseconds timeout, Reply done);
  // The same, waiting. Not on the loop thread.
  Result<std::string> CallSync(const model::Namespace& ns, std::string_view method,
                               std::string request, std::chrono::nanoseconds timeout);

  bool closed() const { return caller_->closed(); }
  // Ends the connection from this side; `on_closed` is not called. Waits for the loop, unless it
  // was closed here before.
  void Close();

 private:
  ShimClient(LoopThread& loop, Endpoint endpoint);
  LoopThread& loop_;
  const Endpoint endpoint_;
  std::atomic<int> version_;
  std::atomic<bool> released_{false};          // Close has begun
  std::unique_ptr<wire::TtrpcClient> client_;  // loop thread only
  std::optional<wire::TtrpcCaller> caller_;    // set once by Connect
};

}  // namespace corten::runtime
