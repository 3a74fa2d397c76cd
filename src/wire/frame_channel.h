// One connected stream socket that carries ttrpc frames, both ways, on a Loop. Internal to this
// room.
//
// Reading: whole frames are handed to the sink in order. Writing: at once if the socket takes it,
// otherwise queued up to a limit. The end, by whichever side, is reported once through OnClosed and
// never inside Send.
//
// Threads: the loop thread. The sink must outlive the channel; the channel may be destroyed inside
// any sink call but must then be kept alive by its owner until the call returns (owners hold a
// shared_ptr during dispatch).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "wire/ttrpc_codec.h"

namespace corten::wire::internal {

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  // `payload` is valid during the call only.
  virtual void OnFrame(const FrameHeader& header, std::string_view payload) = 0;
  // A frame over the limit; its payload is being thrown away.
  virtual void OnOversized(const FrameHeader& header) = 0;
  // All that was queued is written.
  virtual void OnDrained() = 0;
  // The connection is over; nothing is called after this.
  virtual void OnClosed(const Error& why) = 0;
  // Keeps the object behind this sink alive while the channel calls it.
  virtual std::shared_ptr<FrameSink> Hold() = 0;
};

class FrameChannel {
 public:
  FrameChannel(Loop& loop, Fd socket, FrameSink& sink)
      : loop_(loop), socket_(std::move(socket)), sink_(sink) {}
  ~FrameChannel() { Close(); }
  FrameChannel(const FrameChannel&) = delete;
  FrameChannel& operator=(const FrameChannel&) = delete;

  // Begins to watch the socket.
  Status Start();

  // Sends one frame; the payload is `head` and `body` together (two parts spare a copy of large
  // bodies). kResourceExhausted: over the frame limit, or more than `max_queue` bytes would wait
  // (nothing is sent); kUnknown: closed. An error of the socket itself is reported by OnClosed
  // later.
  Status Send(uint32_t stream, FrameType type, uint8_t flags, std::string_view head,
              std::string_view body, size_t max_queue);

  // Stops or resumes handing over frames; bytes then wait in the kernel, which stops the peer.
  void SetReading(bool on);

  // Forgets the socket without calling the sink. Idempotent.
  void Close();
  // As if the peer had ended the connection: OnClosed(why) from the loop, soon.
  void CloseLater(Error why);

  bool closed() const { return !socket_.valid(); }
  size_t queued() const { return queue_.size() - written_; }
  FdRef socket() const { return socket_; }

 private:
  void OnEvents(uint32_t events);
  bool ReadSomeFrames();
  void WriteQueued();
  void EndAfterReading();
  void UpdateEvents();
  // Writes what the socket takes now; the number of bytes, or an errno as a negative number.
  int64_t TryWrite(std::string_view header, std::string_view head, std::string_view body);
  void Fail(const Error& why);

  Loop& loop_;
  Fd socket_;
  FrameSink& sink_;
  FrameParser parser_;
  std::string queue_;
  size_t written_ = 0;  // bytes at the front of queue_ that are through
  uint32_t events_ = 0;
  bool reading_ = true;
  // Tells tasks that were posted to the loop whether the channel is still there.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace corten::wire::internal
