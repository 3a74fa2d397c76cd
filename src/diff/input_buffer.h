// What the decompressors share: a buffer before a ByteSource. Internal. One thread.
#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "diff/differ.h"

namespace corten::diff {

class InputBuffer {
 public:
  // Holds the longest gzip header that is taken (decompress.cc), which has to be seen as a whole.
  static constexpr size_t kSize = 136 << 10;
  explicit InputBuffer(ByteSource& source)
      : source_(&source), buffer_(std::make_unique_for_overwrite<char[]>(kSize)) {}

  std::string_view bytes() const { return {buffer_.get() + begin_, end_ - begin_}; }
  void Consume(size_t n) { begin_ += n; }

  // Reads more when everything is consumed. False: the source has ended.
  Result<bool> Refill() {
    if (begin_ < end_) return true;
    begin_ = end_ = 0;
    return ReadMore();
  }
  // Reads until `want` bytes (at most kSize) are there or the source ends.
  Status Peek(size_t want) {
    if (end_ - begin_ >= want) return Ok();
    if (begin_ > 0) std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    while (end_ < want) {
      const bool more = TRY(ReadMore());
      if (!more) break;
    }
    return Ok();
  }
  // Up to buffer.size() bytes: what is buffered first, then straight from the source.
  Result<size_t> Read(std::span<char> buffer) {
    if (begin_ == end_) return source_->Read(buffer);
    const size_t n = std::min(buffer.size(), end_ - begin_);
    std::memcpy(buffer.data(), buffer_.get() + begin_, n);
    begin_ += n;
    return n;
  }

 private:
  Result<bool> ReadMore() {
    if (ended_) return false;
    const size_t n = TRY(source_->Read(std::span<char>(buffer_.get() + end_, kSize - end_)));
    end_ += n;
    ended_ = n == 0;
    return n > 0;
  }

  ByteSource* source_;
  std::unique_ptr<char[]> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool ended_ = false;
};

}  // namespace corten::diff
