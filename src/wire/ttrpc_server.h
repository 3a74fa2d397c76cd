// A ttrpc server on a Loop: one thread, any number of connections and calls.
//
// Handlers run on the loop thread and must not block; they answer at once or keep the Reply and
// answer later, from any thread. Each call gets exactly one answer: a Reply dropped unanswered
// answers INTERNAL, a deadline that passes first answers DEADLINE_EXCEEDED and what the handler
// says later is dropped.
//
// The connection: when a peer goes, its running calls are cancelled (OnCancel) and their answers
// dropped. A peer that does not read is not read from either once `soft_queue` bytes wait for it,
// and is cut off at `hard_queue`.
//
// Threads: everything on the loop thread, except where said. The Loop outlives the server and all
// its Replies. The server must not be destroyed inside one of its handlers. Source: ttrpc 1.2.8;
// what it refuses and how is held by tests against the Go implementation.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "wire/metadata.h"
#include "wire/unix_socket.h"

namespace corten::wire {

namespace internal {
class ServerConnection;
struct ServerCall;
struct ServerShared;
}  // namespace internal

// What a handler learns about its call. The references live as long as the handler runs.
struct CallInfo {
  const std::string& service;
  const std::string& method;
  const Metadata& metadata;
  PeerCredentials peer;
  std::optional<Loop::Clock::time_point> deadline;
};

// The right to answer one unary call, once. Move-only; methods from any thread, one at a time.
class Reply {
 public:
  Reply(Reply&&) noexcept = default;
  Reply& operator=(Reply&& other) noexcept;
  ~Reply();  // unanswered: answers INTERNAL

  // Sends the response message (serialised). One of over 4 MiB becomes a RESOURCE_EXHAUSTED answer.
  void Send(std::string payload);
  void Fail(const Error& error);
  // Answers with `result`, whichever it is.
  void Finish(Result<std::string> result);

  // Calls `handler` once on the loop thread when the answer is no longer wanted: kCanceled (peer
  // gone, server closed) or kDeadlineExceeded. Never after the answer, never inside this call. Loop
  // thread only.
  void OnCancel(std::function<void(const Error& why)> handler);
  // True once the answer is no longer wanted.
  bool canceled() const;

 private:
  friend class internal::ServerConnection;
  explicit Reply(std::shared_ptr<internal::ServerCall> call) : call_(std::move(call)) {}
  std::shared_ptr<internal::ServerCall> call_;
};

// One streaming call. Loop thread only. Handlers must be set before the StreamHandler returns; they
// are dropped when the stream ends.
class ServerStream {
 public:
  ServerStream(const ServerStream&) = delete;
  ServerStream& operator=(const ServerStream&) = delete;
  ~ServerStream();  // unfinished: fails the call with INTERNAL

  void OnMessage(std::function<void(std::string payload)> handler);
  // The client sends no more. Called once, after its last message.
  void OnHalfClose(std::function<void()> handler);
  // The stream is gone: as Reply::OnCancel.
  void OnCancel(std::function<void(const Error& why)> handler);

  // Sends one message; server-streaming methods only.
  // Errors: kResourceExhausted (over 4 MiB, or the queue to this peer is full: the message is not
  // sent),
  //         kCanceled (the stream has ended).
  Status Send(std::string_view payload);
  // Ends the call with success. `payload` is the response of a method with a single response,
  // otherwise "".
  void Finish(std::string payload = {});
  void Fail(const Error& error);

 private:
  friend class internal::ServerConnection;
  explicit ServerStream(std::shared_ptr<internal::ServerCall> call) : call_(std::move(call)) {}
  std::shared_ptr<internal::ServerCall> call_;
};

enum class StreamKind : uint8_t { kServer, kClient, kBidirectional };

class TtrpcServer {
 public:
  using UnaryHandler =
      std::function<void(const CallInfo& info, std::string_view payload, Reply reply)>;
  using StreamHandler =
      std::function<void(const CallInfo& info, std::shared_ptr<ServerStream> stream)>;

  struct Options {
    size_t max_connections = 1024;  // more are accepted and closed at once
    size_t max_calls_per_connection =
        1024;                 // running at once; more are refused with RESOURCE_EXHAUSTED
    size_t max_calls = 8192;  // the same over all connections
    size_t soft_queue = size_t{1} << 20;   // bytes waiting for one peer: reading from it stops
    size_t hard_queue = size_t{16} << 20;  // bytes waiting for one peer: it is cut off
    // Asked for each new connection; false closes it without a word. Empty: everybody may come.
    std::function<bool(const PeerCredentials& peer)> admit;
  };

  // Counts since the start.
  struct Counters {
    uint64_t accepted = 0;
    uint64_t turned_away = 0;    // by `admit`
    uint64_t over_limit = 0;     // connections over max_connections, or without a descriptor left
    uint64_t refused_calls = 0;  // over a limit of calls
    uint64_t cut_off = 0;        // slow readers
    uint64_t calls = 0;          // given to a handler
  };

  explicit TtrpcServer(Loop& loop) : TtrpcServer(loop, Options()) {}
  TtrpcServer(Loop& loop, Options options);
  ~TtrpcServer();  // as Close
  TtrpcServer(const TtrpcServer&) = delete;
  TtrpcServer& operator=(const TtrpcServer&) = delete;

  // Registration, before the first connection. A name registered twice is a broken invariant.
  void HandleUnary(std::string_view service, std::string_view method, UnaryHandler handler);
  void HandleStream(std::string_view service, std::string_view method, StreamKind kind,
                    StreamHandler handler);

  // Accepts from `listener` until shutdown. May be called for several.
  Status Listen(Fd listener);
  // Serves one connected socket, e.g. half of a socketpair. Asks `admit` as well:
  // kPermissionDenied. kResourceExhausted at max_connections, kUnavailable after Shutdown.
  Status Adopt(Fd socket);

  // Stops listening, closes idle connections now and busy ones when their calls are answered and
  // the answers are written. `done` runs on the loop once no connection is left (never inside this
  // call).
  void Shutdown(std::function<void()> done);
  // Stops listening, cancels all calls and closes all connections now. Idempotent.
  void Close();

  size_t connections() const;
  size_t calls() const;  // running, including those whose answer is no longer wanted
  const Counters& counters() const;

 private:
  // Shared with the connections and with Replies that outlive them.
  std::shared_ptr<internal::ServerShared> shared_;
};

}  // namespace corten::wire
