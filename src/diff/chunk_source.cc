#include "diff/chunk_source.h"

#include <algorithm>

namespace corten::diff {

Result<std::string_view> MemoryChunks::Next() {
  const std::string_view next = data_.substr(0, piece_);
  data_.remove_prefix(next.size());
  return next;
}

BufferedChunks::BufferedChunks(ByteSource& source, size_t size)
    : source_(source), size_(size), buffer_(std::make_unique_for_overwrite<char[]>(size)) {}

Result<std::string_view> BufferedChunks::Next() {
  const size_t n = TRY(source_.Read(std::span<char>(buffer_.get(), size_)));
  return std::string_view(buffer_.get(), n);
}

}  // namespace corten::diff
