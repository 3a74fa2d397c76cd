// A streaming reader of tar archives: v7, ustar, star, pax, GNU, and the sparse forms of GNU tar.
//
// Life cycle: Next -> ReadPiece* -> Next ... until Next returns nullptr. Data that was not read is
// skipped. File data is lent from the source's pieces, never copied; only what straddles two pieces
// of the source is (headers).
//
// What is accepted is what Go's archive/tar accepts (containerd's reader, as of Go 1.26), because
// layers in the wild were made against it:
//   - checksums by signed and unsigned bytes; numbers in octal or base 256;
//   - pax local headers; global headers are entries of their own (kPaxGlobal) and change nothing
//   else;
//   - GNU long names and long links; old GNU sparse files, pax sparse 0.0, 0.1 and 1.0;
//   - an archive that ends without the two zero blocks, or without the padding of the last member.
// One addition: old GNU sparse files may be applied (Go reads them, containerd then refuses their
// type).
//
// Limits (kInvalidArgument beyond): extension headers 1 MiB each, sparse maps 1 Mi entries.
// Errors: kInvalidArgument (`archive: ...`) for every malformed input; the source's own errors pass
// through. After an error no further call is allowed. Threads: one.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "diff/chunk_source.h"
#include "diff/tar_entry.h"

namespace corten::diff {

class TarReader {
 public:
  static constexpr size_t kBlockSize = 512;
  static constexpr int64_t kMaxExtension = 1 << 20;  // bytes of one extension header
  static constexpr size_t kMaxSparseEntries = 1 << 20;

  // `source` is borrowed for the reader's life.
  explicit TarReader(ChunkSource& source) : source_(source) {}
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  // The next member, or nullptr at the end of the archive. Valid until the next call.
  Result<const TarEntry*> Next();

  // A run of the present member's data. Empty: there is no more. Runs come in order of offset and
  // do not overlap; what lies between them and up to entry.size is zeros (only if entry.sparse).
  struct Piece {
    int64_t offset = 0;
    std::string_view bytes;  // valid until the next call
  };
  Result<Piece> ReadPiece();

  // Reads what follows the archive's end up to the end of the source. REQUIRES: Next has returned
  // nullptr.
  Status Drain();

 private:
  struct Extent {
    int64_t offset = 0;
    int64_t length = 0;
  };
  enum class Format { kV7, kUstar, kStar, kGnu };
  struct Extensions;

  // The next `want` bytes (at most) of the source, lent; empty at the end.
  Result<std::string_view> Take(uint64_t want);
  // A whole block, or nullptr at the end; kInvalidArgument if the source ends within it.
  Result<const char*> ReadBlock();
  Result<bool> SkipMember();
  Result<const char*> ReadHeaderBlock();
  Status ParseHeader(const char* block, Format format);
  Status ReadExtension(std::string* out);
  Result<std::vector<Extent>> ReadOldSparseMap(const char* block, Format format);
  Result<std::vector<Extent>> ReadSparseMap10();
  Status SetUpData(const char* block, Format format);
  Status SetUpPaxSparse(bool* found, std::vector<Extent>* map);
  Status StartExtents(std::vector<Extent> map);

  ChunkSource& source_;
  std::string_view chunk_;        // rest of the source's present piece
  char bounce_[kBlockSize] = {};  // a block that straddled two pieces
  TarEntry entry_;
  uint64_t left_ = 0;            // bytes of the present member still in the stream
  uint32_t padding_ = 0;         // after them
  int64_t offset_ = 0;           // within the file, of the next data byte
  std::vector<Extent> extents_;  // sparse files: the data runs; empty otherwise
  size_t extent_ = 0;
  bool ended_ = false;
};

}  // namespace corten::diff
