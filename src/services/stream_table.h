// The streams that clients have opened and named, waiting for whoever in the daemon asks for the
// name.
//
// Life cycle: a Streaming.Stream call registers a Stream under its id; the part that needs it takes
// it with Get, talks, and closes it. The call ends when it is closed, and the stream breaks when
// the caller goes. Bounds: what a client sends is read ahead up to kMaxInbox bytes, what it does
// not read waits up to kMaxOutbox messages; no thread belongs to a stream, only Receive and Send
// wait, in the thread that calls them. Threads: StreamTable any; one Stream, one sender and one
// receiver at a time. Source: WIRE notes, streaming service.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/labels.h"
#include "model/scope.h"

namespace corten::services {

using Canceled = std::function<bool()>;  // asked while waiting; empty: never

class Stream {
 public:
  static constexpr size_t kMaxInbox = 2u << 20;  // bytes
  static constexpr size_t kMaxOutbox = 64;       // messages

  // How the call behind the stream is driven; each is called with the stream's lock held and must
  // not call back.
  struct Call {
    std::function<void()> start_read;
    std::function<void(const model::Any&)> start_write;
    std::function<void()> finish;
  };

  // The next message; nullopt when the client has said its last. kUnavailable: the client is gone;
  // kCanceled; kDeadlineExceeded after `timeout` (zero: none).
  Result<std::optional<model::Any>> Receive(const Canceled& canceled,
                                            std::chrono::milliseconds timeout = {});
  // Only if there is one already.
  std::optional<model::Any> TryReceive();
  // Waits for room. kUnavailable: the client is gone or the stream closed; kCanceled.
  Status Send(model::Any message, const Canceled& canceled);
  // False: there is no room, or nobody listens; the message is dropped.
  bool TrySend(model::Any message);
  // Nothing more is sent; the call ends when all has left. Waits up to `patience` for that.
  void Close(std::chrono::milliseconds patience = {});

  // For the call behind it.
  void Attach(Call call);
  void OnRead(std::optional<model::Any> message);  // nullopt: the client's end
  void OnWritten(bool ok);
  void OnGone();  // the call has ended

 private:
  void Read();
  void Pump();

  std::mutex mutex_;  // guards all that follows
  std::condition_variable changed_;
  Call call_;
  std::deque<model::Any> inbox_;
  size_t inbox_bytes_ = 0;
  std::deque<model::Any> outbox_;
  bool reading_ = false;
  bool writing_ = false;
  bool read_end_ = false;
  bool closing_ = false;
  bool finished_ = false;
  bool gone_ = false;
};

// A stream lives as long as its call, so nothing is left for a collector when a lease ends without
// its client.
class StreamTable {
 public:
  static constexpr size_t kMaxStreams = 10000;

  // kAlreadyExists; kInvalidArgument: empty id; kResourceExhausted: too many.
  Status Add(const model::Scope& scope, const std::string& id, std::shared_ptr<Stream> stream);
  // kNotFound.
  Result<std::shared_ptr<Stream>> Get(const model::Namespace& ns, const std::string& id);
  void Forget(const model::Namespace& ns, const std::string& id, const Stream* stream);

 private:
  std::mutex mutex_;  // guards streams_
  // Owners of a stream: its call, this table, who took it.
  std::map<std::pair<model::Namespace, std::string>, std::shared_ptr<Stream>> streams_;
};

}  // namespace corten::services
