// Any bytes as a compressed layer: both gzip engines and zstd answer or refuse in bounds, and the
// two gzip engines say the same about the bytes of a stream that both accept.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>

#include "diff/decompress.h"

namespace {

using corten::diff::Compression;
using corten::diff::GzipEngine;

constexpr size_t kMaxOutput = 4 << 20;  // enough to tell two engines apart

class Source final : public corten::diff::ByteSource {
 public:
  Source(std::string_view data, size_t piece) : data_(data), piece_(piece) {}
  corten::Result<size_t> Read(std::span<char> buffer) override {
    const std::string_view part = data_.substr(0, std::min(piece_, buffer.size()));
    part.copy(buffer.data(), part.size());
    data_.remove_prefix(part.size());
    return part.size();
  }

 private:
  std::string_view data_;
  size_t piece_;
};

// nullopt: refused.
std::optional<std::string> Inflate(std::string_view data, size_t piece, Compression compression,
                                   GzipEngine engine) {
  Source source(data, piece);
  auto plain = corten::diff::OpenDecompressor(source, compression, engine);
  if (!plain.ok()) std::abort();
  std::string all;
  std::string buffer(16 << 10, '\0');
  while (all.size() < kMaxOutput) {
    const corten::Result<size_t> n = (*plain)->Read(buffer);
    if (!n.ok()) return std::nullopt;
    if (*n == 0) break;
    all.append(buffer, 0, *n);
  }
  all.resize(std::min(all.size(), kMaxOutput));
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = data[0] == 0 ? SIZE_MAX : data[0];
  const auto whole = Inflate(bytes, SIZE_MAX, Compression::kGzip, GzipEngine::kBest);
  const auto pieces = Inflate(bytes, piece, Compression::kGzip, GzipEngine::kBest);
  const auto other = Inflate(bytes, piece, Compression::kGzip, GzipEngine::kZlib);
  if (whole != pieces) std::abort();
  if (whole.has_value() && other.has_value() && *whole != *other) std::abort();
  if (Inflate(bytes, SIZE_MAX, Compression::kZstd, GzipEngine::kBest) !=
      Inflate(bytes, piece, Compression::kZstd, GzipEngine::kBest))
    std::abort();
  return 0;
}
