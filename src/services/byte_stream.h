// Bytes over a stream of the streaming service, with the receiver's window.
//
// The receiver grants credit (WindowUpdate), the sender sends Data of at most 32 KiB within it.
// There is no error message in the protocol: a source that breaks just ends. Messages of unknown
// types are skipped. Threads: one for each object. Source: WIRE notes, byte streams.
#pragma once

#include <memory>
#include <string>

#include "diff/differ.h"
#include "services/stream_table.h"

namespace corten::services {

class StreamSource final : public diff::ByteSource {
 public:
  StreamSource(std::shared_ptr<Stream> stream, Canceled canceled)
      : stream_(std::move(stream)), canceled_(std::move(canceled)) {}
  // kUnavailable: the client is gone; kCanceled.
  Result<size_t> Read(std::span<char> buffer) override;

 private:
  const std::shared_ptr<Stream> stream_;
  const Canceled canceled_;
  int64_t window_ = 0;  // bytes that the client may still send
  std::string data_;
  size_t at_ = 0;
};

class StreamSink final : public diff::ByteSink {
 public:
  StreamSink(std::shared_ptr<Stream> stream, Canceled canceled)
      : stream_(std::move(stream)), canceled_(std::move(canceled)) {}
  // Waits for the client's window. kUnavailable, kCanceled.
  Status Write(std::string_view data) override;
  // Without waiting; what there is no window for is dropped.
  void WriteOrDrop(std::string_view data);

 private:
  void Grant(const model::Any& message);
  const std::shared_ptr<Stream> stream_;
  const Canceled canceled_;
  int64_t window_ = 0;
};

}  // namespace corten::services
