// Bytes in pieces that stay where they are: what stands between a decompressor and the tar reader.
//
// A piece is lent, not copied: it is valid until the next call of Next. One thread.
#pragma once

#include <memory>
#include <string_view>

#include "base/error.h"
#include "diff/differ.h"

namespace corten::diff {

class ChunkSource {
 public:
  virtual ~ChunkSource() = default;
  // The next piece, never empty before the end; empty at the end and ever after.
  virtual Result<std::string_view> Next() = 0;
};

// One buffer of memory as one or more pieces of at most `piece` bytes (tests, fuzzing: pieces of
// any size).
class MemoryChunks final : public ChunkSource {
 public:
  explicit MemoryChunks(std::string_view data, size_t piece = SIZE_MAX)
      : data_(data), piece_(piece) {}
  Result<std::string_view> Next() override;

 private:
  std::string_view data_;
  size_t piece_;
};

// Reads a ByteSource through one buffer of `size` bytes.
class BufferedChunks final : public ChunkSource {
 public:
  BufferedChunks(ByteSource& source, size_t size);
  Result<std::string_view> Next() override;

 private:
  ByteSource& source_;
  const size_t size_;
  const std::unique_ptr<char[]> buffer_;
};

}  // namespace corten::diff
