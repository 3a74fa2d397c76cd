// Layers as they were before compression.
//
// Nothing that comes out may be published before Read has answered 0: gzip and zstd deliver damaged
// data first and notice at the end of the member or frame. A damaged or cut stream is an error of
// some Read, never a silent end. Errors: kInvalidArgument (`gzip: ...`, `zstd: ...`); the
// underlying source's errors pass through. One thread.
#pragma once

#include <memory>
#include <string_view>

#include "base/error.h"
#include "diff/differ.h"

namespace corten::diff {

enum class Compression { kNone, kGzip, kZstd };

// What the first bytes say: gzip with deflate (1f 8b 08), a zstd frame or skippable frame, else
// kNone.
inline constexpr size_t kSniffBytes = 10;
Compression Sniff(std::string_view first_bytes);

// ISA-L is several times faster than zlib, but it is a library for a few architectures: builds
// without it (CORTEN_ISAL=OFF) use zlib, and both are tested.
enum class GzipEngine { kBest, kIsal, kZlib };

// Reads ahead in `source` (borrowed for the result's life) by up to 256 KiB. Several gzip members
// or zstd frames in a row are one stream; anything else behind a member is an error. Windows of
// zstd frames beyond 128 MiB are refused. kUnimplemented: the engine is not in this build.
Result<std::unique_ptr<ByteSource>> OpenDecompressor(ByteSource& source, Compression compression,
                                                     GzipEngine engine = GzipEngine::kBest);

// Decides by Sniff; `found` (may be null) tells what it was.
Result<std::unique_ptr<ByteSource>> OpenSniffed(ByteSource& source, Compression* found = nullptr,
                                                GzipEngine engine = GzipEngine::kBest);

}  // namespace corten::diff
