// Any bytes as an archive, in pieces of any size: the reader answers or refuses, in bounds, and
// says the same whatever the pieces are.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "diff/chunk_source.h"
#include "diff/tar_reader.h"
#include "diff/tar_writer.h"

namespace {

using corten::diff::MemoryChunks;
using corten::diff::TarEntry;
using corten::diff::TarReader;

class Nowhere final : public corten::diff::ByteSink {
 public:
  corten::Status Write(std::string_view) override { return corten::Ok(); }
};

// What was seen, as a running number.
struct Seen {
  uint64_t hash = 14695981039346656037u;
  void Add(std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    hash = (hash ^ 0x100) * 1099511628211u;
  }
};

void Require(bool good) {
  if (!good) std::abort();
}

Seen ReadAll(std::string_view bytes, size_t piece) {
  Seen seen;
  MemoryChunks chunks(bytes, piece);
  TarReader reader(chunks);
  Nowhere nowhere;
  corten::diff::TarWriter writer(nowhere);
  while (true) {
    const corten::Result<const TarEntry*> entry = reader.Next();
    if (!entry.ok()) {
      seen.Add(entry.error().text());
      return seen;
    }
    if (*entry == nullptr) break;
    seen.Add((*entry)->name);
    seen.Add((*entry)->link_name);
    for (const auto& [key, value] : (*entry)->pax) {
      seen.Add(key);
      seen.Add(value);
    }
    Require((*entry)->size >= 0);
    TarEntry copy = **entry;
    copy.size = 0;
    (void)writer.WriteHeader(copy);  // refuses or writes, but never breaks
    int64_t end = 0;
    std::string data;
    while (true) {
      const corten::Result<TarReader::Piece> run = reader.ReadPiece();
      if (!run.ok()) {
        seen.Add(run.error().text());
        return seen;
      }
      if (run->bytes.empty()) break;
      Require(run->offset >= end);
      end = run->offset + static_cast<int64_t>(run->bytes.size());
      if ((*entry)->has_data()) Require(end <= (*entry)->size);
      data += run->bytes;
    }
    seen.Add(data);
  }
  Require(reader.Drain().ok());
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t piece = bytes[0] == 0 ? 512 : static_cast<unsigned char>(bytes[0]);
  const std::string_view rest = bytes.substr(1);
  Require(ReadAll(rest, piece).hash == ReadAll(rest, SIZE_MAX).hash);
  return 0;
}
