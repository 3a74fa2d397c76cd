// One direction of stdio, copied on the loop: source to sink, bounded, nothing lost.
//
// Pipes and FIFOs are joined by splice, so the bytes never enter the shim. Where that is impossible
// (terminals, files) a small buffer is used, and what the sink did not take waits in memory (at
// most one buffer) while the source is left alone. A sink that cannot take more stops the source:
// the writer in the container waits, as with a plain pipe.
//
// States: waiting for the source, waiting for the sink, done. At the end of the source both
// descriptors are closed, and `done` is called once. Threads: loop thread only; the destructor may
// be called from anywhere but `done`'s caller's frame.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"

namespace corten::shim {

class Copier {
 public:
  enum class Method { kSplice, kBuffer };
  // What to do when the sink breaks (EPIPE, full disk): end, or go on reading so that the writer is
  // not stopped.
  enum class BrokenSink { kEnd, kDiscard };

  Copier(Loop& loop, Fd source, Fd sink, Method method, BrokenSink broken,
         std::function<void()> done);
  ~Copier();
  Copier(const Copier&) = delete;
  Copier& operator=(const Copier&) = delete;

  // Begins. Descriptors must be non-blocking, except sinks that are regular files.
  Status Start();
  // The other end of a terminal has no more users for good: its hang-up is the end from now on.
  // Before that a hang-up may be a program that closed and reopened its terminal, and is tried
  // again.
  void SourceEnding();
  bool done() const { return !source_.valid(); }
  // Bytes dropped because the sink broke.
  uint64_t discarded() const { return discarded_; }

 private:
  enum class Waiting { kNothing, kSource, kSink };
  enum class Step { kAgain, kWaitSource, kWaitSink, kPark, kFinish };

  void Pump();
  Step SpliceSome(bool progress);
  Step BufferSome();
  Step WritePending();
  Step OnSinkError(int err, size_t lost);
  void WaitFor(Waiting what);
  void Finish();

  Loop& loop_;
  Fd source_;
  Fd sink_;
  Method method_;
  BrokenSink broken_;
  std::function<void()> done_;
  Waiting waiting_ = Waiting::kNothing;
  bool ending_ = false;
  bool discarding_ = false;
  std::string pending_;
  uint64_t discarded_ = 0;
  Loop::TimerId timer_ = 0;
};

}  // namespace corten::shim
