// Two threads on one layer: the caller's inflates, a second one unpacks, and whoever would wait
// hashes.
//
// The producer (the caller's thread, the only one that touches the source and the caller's
// callbacks) fills a ring of buffers; the consumer reads them in order as a ChunkSource. Every
// buffer is hashed once, in order, by the producer when the ring is full or else by the consumer
// when it gives the buffer back, so both sides stay busy whichever is slower. Bounds: kBuffers of
// kBufferSize bytes; a side that waits wakes every 100 ms to ask for cancellation.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/hash.h"
#include "diff/chunk_source.h"
#include "diff/differ.h"

namespace corten::diff {

// What is known about the uncompressed stream when it has been read to its end.
struct StreamSummary {
  std::string digest;  // sha256:...
  int64_t size = 0;    // bytes
};

// Uncompressed bytes with the checks that belong to every read. One thread.
class StreamReader {
 public:
  // `source` and `options` are borrowed.
  StreamReader(ByteSource& source, const ApplyOptions& options)
      : source_(source), options_(options) {}
  // Fills the whole buffer unless the source ends; 0 is the end. kCanceled; kResourceExhausted
  // beyond max_bytes.
  Result<size_t> Fill(std::span<char> buffer);
  Status CheckCanceled() const;
  int64_t size() const { return size_; }

 private:
  ByteSource& source_;
  const ApplyOptions& options_;
  int64_t size_ = 0;
};

// The whole of it on the caller's thread.
class SerialStream final : public ChunkSource {
 public:
  explicit SerialStream(StreamReader& reader);
  Result<std::string_view> Next() override;
  StreamSummary Summary() const { return {hasher_.Digest(), reader_.size()}; }

 private:
  StreamReader& reader_;
  std::unique_ptr<char[]> buffer_;
  Hasher hasher_;
};

class Pipeline final : public ChunkSource {
 public:
  static constexpr size_t kBuffers = 6;
  static constexpr size_t kBufferSize = 128 << 10;

  explicit Pipeline(StreamReader& reader);

  // Producer: runs `consume` (with this as its source) on a second thread and feeds it until both
  // have ended. Returns the reader's error if there was one, else what `consume` returned.
  // kResourceExhausted and !started(): there was no thread to be had, nothing was read or run, and
  // the caller may do it alone.
  Status Run(const std::function<Status(ChunkSource&)>& consume);
  bool started() const { return started_; }
  // After Run has returned Ok.
  StreamSummary Summary() const { return {hasher_.Digest(), reader_.size()}; }

  // Consumer.
  Result<std::string_view> Next() override;

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Buffer {
    std::unique_ptr<char[]> bytes;
    size_t size = 0;
  };
  void Produce();
  // Waits until a buffer is free, hashing meanwhile. False: the consumer is gone, or canceled
  // (error_ is set).
  bool AwaitFree(Lock& lock);
  // Hashes the oldest buffer that nobody has hashed. REQUIRES: there is one and !hashing_.
  void HashOne(Lock& lock);
  void Release(Lock& lock);

  StreamReader& reader_;
  bool started_ = false;
  std::array<Buffer, kBuffers> buffers_;
  Hasher hasher_;  // used by whoever has set hashing_

  mutable std::mutex mutex_;  // guards what follows; never held while reading, hashing or unpacking
  std::condition_variable changed_;
  uint64_t filled_ = 0;  // counts of buffers, ever growing: released_ <= hashed_ <= filled_ <=
                         // released_ + kBuffers
  uint64_t hashed_ = 0;
  uint64_t released_ = 0;
  bool lent_ = false;  // the consumer works in buffer released_
  bool hashing_ = false;
  bool ended_ = false;  // nothing more will be filled
  bool consumer_gone_ = false;
  std::optional<Error> error_;  // of the reader
};

}  // namespace corten::diff
