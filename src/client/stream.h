// A named stream of the daemon's streaming service, and bytes over it.
//
// The client names a stream, opens it, and tells the name to another call (Transfer), which then
// uses the other end. Bytes travel with a window that the receiver grants; there is no error
// message in the protocol, so a sender that breaks cancels its stream.
//
// Threads: Send and Receive each by one thread at a time, which may be two; Cancel any.
// Source: streaming service and byte streams of containerd 2.3.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "client/remote.h"

namespace corten::client {

class Stream {
 public:
  // `prefix` begins the drawn name. kUnimplemented: the daemon has no streams; kUnavailable.
  static Result<std::unique_ptr<Stream>> Open(ConnectionPtr connection, const model::Scope& scope,
                                              std::string_view prefix);
  ~Stream();  // cancels what has not ended
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const std::string& id() const { return id_; }
  // False: the daemon has ended the stream.
  bool Send(const model::Any& message);
  void EndSending();
  // Blocks; nothing: the daemon has ended the stream, or it was cancelled.
  std::optional<model::Any> Receive();
  void Cancel();

 private:
  struct Call;
  Stream(std::string id, std::unique_ptr<Call> call);
  const std::string id_;
  std::unique_ptr<Call> call_;
};

// Sends everything from `source` within the window that the other end grants, then ends sending.
// Errors of `source` (the stream is cancelled); kUnavailable: the daemon took no more.
Status SendBytes(Stream& stream, diff::ByteSource& source);
// Writes everything that comes to `sink`, until the stream ends. Errors of `sink` (the stream is
// cancelled).
Status ReceiveBytes(Stream& stream, diff::ByteSink& sink);

}  // namespace corten::client
