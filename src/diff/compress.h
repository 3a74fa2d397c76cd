// Layers made smaller. The same input gives the same output for one version of the libraries;
// digests of compressed layers differ between encoders and nobody may rely on them.
#pragma once

#include <memory>

#include "base/error.h"
#include "diff/decompress.h"
#include "diff/differ.h"

namespace corten::diff {

// Life cycle: Write* Finish. Without Finish the stream is cut, which readers notice. One thread.
class Compressor : public ByteSink {
 public:
  // Flushes everything to the sink; nothing may follow.
  virtual Status Finish() = 0;
};

// gzip: zlib level 6, no name and no time in the header. zstd: level 3 with a checksum. kNone
// passes bytes through. `sink` is borrowed for the result's life; it receives pieces of at most 256
// KiB (kNone: as written).
Result<std::unique_ptr<Compressor>> OpenCompressor(ByteSink& sink, Compression compression);

}  // namespace corten::diff
