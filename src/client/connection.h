// One connection to a daemon's API socket (any containerd), and how every call on it is made.
//
// Thread-safe. Calls block; `Call` prepares their context. A connection reconnects by itself, and
// shares its socket with no other one to the same address.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "model/scope.h"

namespace corten::client {

struct ConnectOptions {
  std::string address = "/run/containerd/containerd.sock";  // bare path or unix://PATH
  std::chrono::milliseconds connect_timeout{10000};         // for the first connection
  std::optional<std::chrono::steady_clock::time_point>
      deadline;                                         // for everything done on the connection
  std::optional<std::chrono::milliseconds> call_limit;  // for each call by itself
};

class Connection {
 public:
  // Waits until the daemon answers. kNotFound: no such socket (the text names it); at once, with
  // errno: nobody listens (kUnavailable), kPermissionDenied; kUnavailable without errno: no answer
  // in time.
  static Result<std::shared_ptr<Connection>> Open(const ConnectOptions& options);
  // Connects when it is first used, and again whenever it has to, with a pause of about 3 s at most
  // between attempts (5 s were seen after a peer that accepted and hung up). While nobody answers,
  // calls are kUnavailable. `connect_timeout` means nothing.
  static std::shared_ptr<Connection> Lazy(const ConnectOptions& options);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  // Namespace, lease and deadline of a call.
  void Prepare(grpc::ClientContext* context, const model::Scope& scope) const;

 private:
  Connection(std::shared_ptr<grpc::Channel> channel, const ConnectOptions& options)
      : channel_(std::move(channel)), options_(options) {}
  std::shared_ptr<grpc::Channel> channel_;  // shared with the stubs made from it
  ConnectOptions options_;
};

// What a daemon answered: Ok, or its error with code and text (the code's marker dropped, see
// wire/status.h).
Status FromGrpc(const grpc::Status& status);

}  // namespace corten::client
