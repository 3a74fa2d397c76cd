// The gRPC front: our own listening sockets, handed connection by connection to one gRPC server.
//
// Own accept gives socket modes and owners and systemd socket activation; gRPC does the rest.
// Connections are bounded by the process's descriptors: when they run out, accepting pauses and
// clients wait in the listen queue. Life cycle: Create -> Start (accepts from then on) -> Stop.
// Threads: the daemon's main thread calls; accepting runs on the given loop's thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "services/facades.h"

namespace corten::daemon {

class RpcMeter;

struct ListenOptions {
  std::string address;  // absolute path of the unix socket
  uid_t uid = 0;
  gid_t gid = 0;
};

// A listening unix socket at options.address: parent directory made (0770, owner as given), a stale
// socket removed, mode 0660. kAlreadyExists when somebody listens there; kInvalidArgument: path too
// long.
Result<Fd> ListenAt(const ListenOptions& options);

// Holds gRPC's threads, which it starts beside the caller: so they are there when the server is
// made. The caller's signal mask is theirs. Outlives everything that uses gRPC.
class GrpcThreads {
 public:
  GrpcThreads();
  ~GrpcThreads();
  GrpcThreads(const GrpcThreads&) = delete;
  GrpcThreads& operator=(const GrpcThreads&) = delete;

 private:
  std::thread starting_;
};

class Server {
 public:
  struct Options {
    int max_receive_bytes = 16 << 20;
    int max_send_bytes = 16 << 20;
    RpcMeter* meter = nullptr;  // counts calls; borrowed, outlives the server
  };
  // The services are borrowed and must outlive the server.
  static Result<std::unique_ptr<Server>> Create(const std::vector<grpc::Service*>& services,
                                                const Options& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Accepts on `listener` on the loop's thread until Stop. Callable once per listener.
  Status Serve(Loop* loop, Fd listener);
  // Refuses new calls, cancels those in progress after `grace_ms`, returns when all handlers are
  // done. The loop that accepts must have stopped.
  void Stop(int grace_ms);

 private:
  struct Core;
  explicit Server(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

}  // namespace corten::daemon
