#include "services/stream_table.h"

namespace corten::services {

namespace {
constexpr std::chrono::milliseconds kAskInterval(200);  // how soon a cancelled wait ends
}

Result<std::optional<model::Any>> Stream::Receive(const Canceled& canceled,
                                                  std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::unique_lock lock(mutex_);
  while (inbox_.empty()) {
    if (read_end_) return std::optional<model::Any>();
    if (gone_ || finished_) return UnavailableError("stream closed by the client");
    Read();
    changed_.wait_for(lock, kAskInterval);
    if (!inbox_.empty()) break;
    if (canceled && canceled()) return CanceledError("context canceled");
    if (timeout.count() > 0 && std::chrono::steady_clock::now() > deadline)
      return DeadlineExceededError("no answer on the stream");
  }
  model::Any message = std::move(inbox_.front());
  inbox_.pop_front();
  inbox_bytes_ -= message.value.size();
  Read();
  return std::optional(std::move(message));
}

std::optional<model::Any> Stream::TryReceive() {
  const std::lock_guard lock(mutex_);
  Read();
  if (inbox_.empty()) return std::nullopt;
  model::Any message = std::move(inbox_.front());
  inbox_.pop_front();
  inbox_bytes_ -= message.value.size();
  return message;
}

Status Stream::Send(model::Any message, const Canceled& canceled) {
  std::unique_lock lock(mutex_);
  while (!gone_ && !finished_ && !closing_ && outbox_.size() >= kMaxOutbox) {
    changed_.wait_for(lock, kAskInterval);
    if (canceled && canceled()) return CanceledError("context canceled");
  }
  if (gone_ || finished_ || closing_) return UnavailableError("stream closed by the client");
  outbox_.push_back(std::move(message));
  Pump();
  return Ok();
}

bool Stream::TrySend(model::Any message) {
  const std::lock_guard lock(mutex_);
  if (gone_ || finished_ || closing_ || outbox_.size() >= kMaxOutbox) return false;
  outbox_.push_back(std::move(message));
  Pump();
  return true;
}

void Stream::Close(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  closing_ = true;
  Pump();
  if (patience.count() > 0)
    changed_.wait_for(lock, patience, [this] { return gone_ || finished_; });
}

void Stream::Attach(Call call) {
  const std::lock_guard lock(mutex_);
  call_ = std::move(call);
  Read();
}

void Stream::OnRead(std::optional<model::Any> message) {
  const std::lock_guard lock(mutex_);
  reading_ = false;
  if (message.has_value()) {
    inbox_bytes_ += message->value.size();
    inbox_.push_back(std::move(*message));
    Read();
  } else {
    read_end_ = true;
  }
  changed_.notify_all();
}

void Stream::OnWritten(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  if (!ok) {
    outbox_.clear();
    closing_ = true;
  } else {
    outbox_.pop_front();
  }
  Pump();
  changed_.notify_all();
}

void Stream::OnGone() {
  const std::lock_guard lock(mutex_);
  gone_ = true;
  call_ = {};
  changed_.notify_all();
}

// Keeps one read going while there is room. REQUIRES: lock.
void Stream::Read() {
  if (reading_ || read_end_ || gone_ || finished_ || inbox_bytes_ >= kMaxInbox || !call_.start_read)
    return;
  reading_ = true;
  call_.start_read();
}

// Keeps one write going while there is something. The message stays at the front until it has left.
// REQUIRES: lock.
void Stream::Pump() {
  if (writing_ || gone_ || finished_ || !call_.finish) return;
  if (!outbox_.empty()) {
    writing_ = true;
    call_.start_write(outbox_.front());
  } else if (closing_) {
    finished_ = true;
    call_.finish();
    changed_.notify_all();
  }
}

Status StreamTable::Add(const model::Scope& scope, const std::string& id,
                        std::shared_ptr<Stream> stream) {
  if (id.empty()) return InvalidArgumentError("stream id is required");
  const std::lock_guard lock(mutex_);
  if (streams_.size() >= kMaxStreams) return ResourceExhaustedError("too many open streams");
  const auto [at, added] = streams_.try_emplace({scope.ns, id}, std::move(stream));
  if (!added) return AlreadyExistsError("stream ", Quoted(id));
  return Ok();
}

Result<std::shared_ptr<Stream>> StreamTable::Get(const model::Namespace& ns,
                                                 const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find({ns, id});
  if (found == streams_.end()) return NotFoundError("stream ", Quoted(id));
  return found->second;
}

void StreamTable::Forget(const model::Namespace& ns, const std::string& id, const Stream* stream) {
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find({ns, id});
  if (found != streams_.end() && found->second.get() == stream) streams_.erase(found);
}

}  // namespace corten::services
