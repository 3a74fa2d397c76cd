// A ttrpc client on a Loop: one connection, many calls at once.
//
// Each callback runs exactly once, on the loop thread, never inside the method that was given it,
// unless Cancel took it back. When the connection ends, every waiting call fails with kUnknown
// `ttrpc: closed`, which is how callers know that a shim is gone; a closed client stays closed,
// connect anew.
//
// There is no cancel message in the protocol: a deadline or Cancel only stops waiting, a late
// answer is dropped.
//
// Threads: loop thread only, except TtrpcCaller. A callback may destroy the client.
// Source: ttrpc 1.2.8.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "wire/metadata.h"

namespace corten::wire {

namespace internal {
class ClientCore;
}  // namespace internal

struct CallOptions {
  std::chrono::nanoseconds timeout{
      0};  // 0: none; negative: over already. Sent to the server, and kept here
  Metadata metadata;
};

inline constexpr std::string_view kClosedText = "ttrpc: closed";
// True for the error of calls whose connection ended.
bool IsClosedError(const Error& error);

// A streaming call seen from the client. Loop thread only. Dropping it abandons the stream: what
// still comes for it is thrown away.
class ClientStream {
 public:
  struct Events {
    std::function<void(std::string payload)> on_message;
    // The end, once: the single response (methods that have one) or "" on success, or the error.
    std::function<void(Result<std::string> end)> on_end;
  };

  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;
  ~ClientStream();

  // kResourceExhausted (over 4 MiB, or the queue is full), kFailedPrecondition (after CloseSend, or
  // a method that takes no stream), kUnknown `ttrpc: closed`, kCanceled (the stream has ended).
  Status Send(std::string_view payload);
  Status CloseSend();

 private:
  friend class internal::ClientCore;
  ClientStream(std::shared_ptr<internal::ClientCore> core, uint32_t id, bool may_send)
      : core_(std::move(core)), id_(id), may_send_(may_send) {}
  std::shared_ptr<internal::ClientCore> core_;  // keeps the book-keeping alive, not the connection
  uint32_t id_;
  bool may_send_;
};

// A handle for threads other than the loop's. Copyable; may outlive the client (calls then fail as
// closed), not the Loop.
class TtrpcCaller {
 public:
  // Calls and waits for the answer. REQUIRES: not on the loop thread. With a timeout, returns by
  // then even if the loop is stuck; without one, when the answer comes or the connection ends.
  Result<std::string> Call(std::string_view service, std::string_view method, std::string payload,
                           CallOptions options = {}) const;
  // Calls; `done` runs on the loop thread.
  void CallAsync(std::string_view service, std::string_view method, std::string payload,
                 CallOptions options, std::function<void(Result<std::string>)> done) const;
  bool closed() const;

 private:
  friend class TtrpcClient;
  explicit TtrpcCaller(std::shared_ptr<internal::ClientCore> core) : core_(std::move(core)) {}
  std::shared_ptr<internal::ClientCore> core_;
};

class TtrpcClient {
 public:
  using Callback = std::function<void(Result<std::string> response)>;
  using CallId = uint32_t;  // 0 is never a call

  struct Options {
    size_t max_in_flight = 4096;  // calls and streams; more fail with kResourceExhausted
    size_t max_queue =
        size_t{16} << 20;  // bytes not yet taken by the peer; more fail with kResourceExhausted
    uint32_t first_stream = 1;  // odd
  };

  // Takes a connected socket.
  static Result<std::unique_ptr<TtrpcClient>> Create(Loop& loop, Fd socket) {
    return Create(loop, std::move(socket), Options());
  }
  static Result<std::unique_ptr<TtrpcClient>> Create(Loop& loop, Fd socket, Options options);
  ~TtrpcClient();  // as Close
  TtrpcClient(const TtrpcClient&) = delete;
  TtrpcClient& operator=(const TtrpcClient&) = delete;

  // Sends `payload` (a serialised message); `done` gets the response message or
  //   the server's error, with its code,
  //   kDeadlineExceeded `context deadline exceeded`,
  //   kResourceExhausted: too large, too many in flight, or the queue is full (nothing was sent),
  //   kUnavailable: the 2^31 stream ids of this connection are used up; connect anew,
  //   kUnknown `ttrpc: closed`.
  CallId Call(std::string_view service, std::string_view method, std::string_view payload,
              const CallOptions& options, Callback done);
  // Forgets a call: its callback is destroyed unrun. False if it has run already (or is about to,
  // with a local error).
  bool Cancel(CallId call);

  // Opens a server-streaming call: `request` is its one message.
  Result<std::unique_ptr<ClientStream>> OpenServerStream(std::string_view service,
                                                         std::string_view method,
                                                         std::string_view request,
                                                         ClientStream::Events events);
  // Opens a client-streaming or bidirectional call.
  Result<std::unique_ptr<ClientStream>> OpenStream(std::string_view service,
                                                   std::string_view method,
                                                   ClientStream::Events events);

  // Called once when the connection ends, by either side, after the waiting calls have failed.
  void OnClosed(std::function<void(const Error& why)> handler);
  // Ends the connection and fails what waits; those callbacks run inside. Idempotent.
  void Close();

  bool closed() const;
  size_t in_flight() const;
  TtrpcCaller caller() const { return TtrpcCaller(core_); }

 private:
  explicit TtrpcClient(std::shared_ptr<internal::ClientCore> core) : core_(std::move(core)) {}
  std::shared_ptr<internal::ClientCore>
      core_;  // shared with streams, callers and running dispatches
};

}  // namespace corten::wire
