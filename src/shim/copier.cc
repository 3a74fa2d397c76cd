#include "shim/copier.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace corten::shim {

namespace {
constexpr size_t kSpliceSize = 64 << 10;  // a pipe's default capacity
constexpr size_t kBufferSize = 8 << 10;
constexpr int kRounds = 16;  // per wake-up, so that one stream cannot hold the loop
constexpr std::chrono::milliseconds kHangUpPause(20);
}  // namespace

Copier::Copier(Loop& loop, Fd source, Fd sink, Method method, BrokenSink broken,
               std::function<void()> done)
    : loop_(loop),
      source_(std::move(source)),
      sink_(std::move(sink)),
      method_(method),
      broken_(broken),
      done_(std::move(done)) {}

Copier::~Copier() {
  WaitFor(Waiting::kNothing);
  loop_.Cancel(timer_);
}

Status Copier::Start() {
  TRY(loop_.Add(source_, EPOLLIN, [this](uint32_t) { Pump(); }));
  waiting_ = Waiting::kSource;
  return Ok();
}

void Copier::SourceEnding() {
  ending_ = true;
  if (timer_ == 0) return;
  loop_.Cancel(std::exchange(timer_, 0));
  Pump();
}

void Copier::WaitFor(Waiting what) {
  if (waiting_ == what) return;
  if (waiting_ == Waiting::kSource) loop_.Remove(source_);
  if (waiting_ == Waiting::kSink) loop_.Remove(sink_);
  waiting_ = what;
  if (what == Waiting::kNothing) return;
  const bool source = what == Waiting::kSource;
  // Cannot fail for descriptors that have been watched before or have just said EAGAIN, except for
  // want of memory; then the stream rests until its owner drains it.
  (void)loop_.Add(source ? source_ : sink_, source ? EPOLLIN : EPOLLOUT,
                  [this](uint32_t) { Pump(); });
}

void Copier::Pump() {
  bool progress = false;
  for (int round = 0; round < kRounds; ++round) {
    const Step step =
        method_ == Method::kSplice && !discarding_ ? SpliceSome(progress) : BufferSome();
    switch (step) {
      case Step::kAgain:
        progress = true;
        continue;
      case Step::kWaitSource:
        return WaitFor(Waiting::kSource);
      case Step::kWaitSink:
        return WaitFor(Waiting::kSink);
      case Step::kPark:
        WaitFor(Waiting::kNothing);
        timer_ = loop_.After(kHangUpPause, [this] {
          timer_ = 0;
          Pump();
        });
        return;
      case Step::kFinish:
        return Finish();
    }
  }
  // More to do: whichever is watched will say so again at once.
  if (waiting_ == Waiting::kNothing) WaitFor(Waiting::kSource);
}

Copier::Step Copier::SpliceSome(bool progress) {
  const ssize_t moved = splice(source_.get(), nullptr, sink_.get(), nullptr, kSpliceSize,
                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (moved > 0) return Step::kAgain;
  if (moved == 0) return Step::kFinish;
  switch (errno) {
    case EINTR:
      return Step::kAgain;
    case EAGAIN:
      // Either side may be meant. If the source was ready and nothing moved, it is the sink, and
      // the other way round.
      return !progress && waiting_ == Waiting::kSource ? Step::kWaitSink : Step::kWaitSource;
    case EINVAL:
      method_ = Method::kBuffer;
      return Step::kAgain;  // a file that cannot be spliced to
    default:
      return OnSinkError(errno, 0);
  }
}

Copier::Step Copier::WritePending() {
  while (!pending_.empty()) {
    const ssize_t put = write(sink_.get(), pending_.data(), pending_.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) return Step::kWaitSink;
    if (put < 0) {
      const size_t lost = pending_.size();
      std::string().swap(pending_);
      return OnSinkError(errno, lost);
    }
    pending_.erase(0, static_cast<size_t>(put));
  }
  std::string().swap(pending_);  // give the memory back: most streams never need it
  return Step::kAgain;
}

Copier::Step Copier::BufferSome() {
  if (!pending_.empty()) return WritePending();
  char buffer[kBufferSize];
  const ssize_t got = read(source_.get(), buffer, sizeof(buffer));
  if (got == 0) return Step::kFinish;
  if (got < 0) {
    switch (errno) {
      case EINTR:
        return Step::kAgain;
      case EAGAIN:
        return Step::kWaitSource;
      case EIO:
        return ending_ ? Step::kFinish : Step::kPark;  // tty: no slave is open just now
      default:
        return Step::kFinish;
    }
  }
  const auto size = static_cast<size_t>(got);
  if (discarding_) {
    discarded_ += size;
    return Step::kAgain;
  }
  size_t done = 0;
  while (done < size) {
    const ssize_t put = write(sink_.get(), buffer + done, size - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) {
      pending_.assign(buffer + done, size - done);
      return Step::kWaitSink;
    }
    if (put < 0) return OnSinkError(errno, size - done);
    done += static_cast<size_t>(put);
  }
  return Step::kAgain;
}

Copier::Step Copier::OnSinkError(int, size_t lost) {
  if (broken_ == BrokenSink::kEnd) return Step::kFinish;
  if (waiting_ == Waiting::kSink) WaitFor(Waiting::kSource);
  discarding_ = true;
  discarded_ += lost;
  return Step::kAgain;
}

void Copier::Finish() {
  WaitFor(Waiting::kNothing);
  source_.Reset();
  sink_.Reset();
  if (const auto done = std::move(done_)) done();  // may destroy us
}

}  // namespace corten::shim
