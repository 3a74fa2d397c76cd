#include "wire/frame_channel.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace corten::wire::internal {

namespace {

// Read in one go; on the stack, so that idle connections hold no buffer.
constexpr size_t kReadSize = 16 * 1024;
// Handed over before other descriptors of the loop get their turn.
constexpr size_t kReadPerTurn = 256 * 1024;
// The front of the queue is given back when this much of it is written.
constexpr size_t kCompactAt = 64 * 1024;

Error ClosedError() { return UnknownError("ttrpc: closed"); }

void Skip(std::string_view* part, size_t* bytes) {
  const size_t gone = std::min(*bytes, part->size());
  part->remove_prefix(gone);
  *bytes -= gone;
}

}  // namespace

Status FrameChannel::Start() {
  TRY(SetNonblocking(socket_, true));
  events_ = EPOLLIN;
  return loop_.Add(socket_, events_, [this](uint32_t events) { OnEvents(events); });
}

void FrameChannel::Close() {
  if (!socket_.valid()) return;
  loop_.Remove(socket_);
  socket_.Reset();
  *alive_ = false;
  queue_ = {};
  written_ = 0;
}

void FrameChannel::CloseLater(Error why) {
  if (closed()) return;
  // shared_ptr because a posted task must be copyable.
  auto error = std::make_shared<Error>(std::move(why));
  loop_.Post([this, alive = alive_, error] {
    if (*alive) Fail(*error);
  });
}

// The peer takes no more, but what it sent before it went is still to be read.
void FrameChannel::EndAfterReading() {
  loop_.Post([this, alive = alive_] {
    if (!*alive) return;
    const std::shared_ptr<FrameSink> hold = sink_.Hold();
    if (reading_ && !ReadSomeFrames()) return;
    if (*alive) Fail(ClosedError());
  });
}

void FrameChannel::Fail(const Error& why) {
  const std::shared_ptr<FrameSink> hold = sink_.Hold();
  Close();
  sink_.OnClosed(why);
}

Status FrameChannel::Send(uint32_t stream, FrameType type, uint8_t flags, std::string_view head,
                          std::string_view body, size_t max_queue) {
  if (closed()) return ClosedError();
  const size_t length = head.size() + body.size();
  if (length > kMaxFramePayload) return OversizedError(length);
  const auto bytes = EncodeFrameHeader({static_cast<uint32_t>(length), stream, type, flags});
  std::string_view header(bytes.data(), bytes.size());
  if (queued() > 0 && queued() + header.size() + length > max_queue) {
    return ResourceExhaustedError("ttrpc: ", queued(), " bytes wait for a peer that does not read");
  }
  if (queued() == 0) {
    const int64_t sent = TryWrite(header, head, body);
    if (sent < 0) {
      EndAfterReading();
      return Ok();
    }
    auto through = static_cast<size_t>(sent);
    Skip(&header, &through);
    Skip(&head, &through);
    Skip(&body, &through);
  }
  if (header.size() + head.size() + body.size() > 0) {
    queue_.append(header).append(head).append(body);
    UpdateEvents();
  }
  return Ok();
}

int64_t FrameChannel::TryWrite(std::string_view header, std::string_view head,
                               std::string_view body) {
  iovec parts[3];
  size_t count = 0;
  for (const std::string_view part : {header, head, body}) {
    if (part.empty()) continue;
    parts[count].iov_base = const_cast<char*>(part.data());  // sendmsg only reads it
    parts[count].iov_len = part.size();
    ++count;
  }
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  while (true) {
    const ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno == EINTR) continue;
    return errno == EAGAIN ? 0 : -errno;
  }
}

void FrameChannel::SetReading(bool on) {
  reading_ = on;
  UpdateEvents();
}

void FrameChannel::UpdateEvents() {
  if (closed()) return;
  const uint32_t wanted =
      (reading_ ? uint32_t{EPOLLIN} : 0u) | (queued() > 0 ? uint32_t{EPOLLOUT} : 0u);
  if (wanted == events_) return;
  events_ = wanted;
  (void)loop_.Modify(socket_, events_);  // cannot fail for a watched descriptor
}

void FrameChannel::OnEvents(uint32_t events) {
  const std::shared_ptr<FrameSink> hold = sink_.Hold();
  if ((events & EPOLLOUT) != 0) WriteQueued();
  if (closed()) return;
  if ((events & EPOLLIN) != 0 && reading_) {
    if (!ReadSomeFrames()) return;
  } else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    // Without interest in reading the end would be reported over and over.
    Fail(ClosedError());
  }
}

bool FrameChannel::ReadSomeFrames() {
  char buffer[kReadSize];
  for (size_t total = 0; total < kReadPerTurn && reading_;) {
    const ssize_t got = recv(socket_.get(), buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) {
      Fail(ClosedError());
      return false;
    }
    total += static_cast<size_t>(got);
    (void)parser_.Feed({buffer, static_cast<size_t>(got)},
                       [this](const FrameHeader& header, std::string_view payload, bool oversized) {
                         if (oversized) {
                           sink_.OnOversized(header);
                         } else {
                           sink_.OnFrame(header, payload);
                         }
                         return !closed();
                       });
    if (closed()) return false;
    if (static_cast<size_t>(got) < sizeof(buffer))
      return true;  // saves the read that would say EAGAIN
  }
  return true;
}

void FrameChannel::WriteQueued() {
  if (queued() == 0) return;
  const int64_t sent = TryWrite(std::string_view(queue_).substr(written_), {}, {});
  if (sent < 0) {
    queue_ = {};  // nobody will take it, and it must not be tried again
    written_ = 0;
    UpdateEvents();
    EndAfterReading();
    return;
  }
  written_ += static_cast<size_t>(sent);
  if (queued() == 0) {
    queue_ = {};
    written_ = 0;
    UpdateEvents();
    sink_.OnDrained();
  } else if (written_ >= kCompactAt && written_ * 2 >= queue_.size()) {
    queue_.erase(0, written_);
    written_ = 0;
  }
}

}  // namespace corten::wire::internal
