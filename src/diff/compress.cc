#include "diff/compress.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>

#include "base/strcat.h"

namespace corten::diff {

namespace {

constexpr size_t kOutSize = 256 << 10;
constexpr int kGzipLevel = 6;
constexpr int kZstdLevel = 3;

class PassThrough final : public Compressor {
 public:
  explicit PassThrough(ByteSink& sink) : sink_(sink) {}
  Status Write(std::string_view data) override { return sink_.Write(data); }
  Status Finish() override { return Ok(); }

 private:
  ByteSink& sink_;
};

class Gzip final : public Compressor {
 public:
  explicit Gzip(ByteSink& sink)
      : sink_(sink), out_(std::make_unique_for_overwrite<char[]>(kOutSize)) {}
  ~Gzip() override {
    if (ready_) deflateEnd(&stream_);
  }
  Status Init() {
    if (deflateInit2(&stream_, kGzipLevel, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
      return ResourceExhaustedError("gzip: out of memory");
    }
    ready_ = true;
    header_.os = 255;  // unknown: the same on every system
    CHECK(deflateSetHeader(&stream_, &header_) == Z_OK);
    return Ok();
  }
  Status Write(std::string_view data) override {
    while (!data.empty()) {
      const std::string_view part = data.substr(0, UINT32_MAX);
      TRY(Run(part, Z_NO_FLUSH));
      data.remove_prefix(part.size());
    }
    return Ok();
  }
  Status Finish() override { return Run({}, Z_FINISH); }

 private:
  Status Run(std::string_view data, int flush) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
    stream_.avail_in = static_cast<uInt>(data.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(out_.get());
      stream_.avail_out = static_cast<uInt>(kOutSize);
      const int code = deflate(&stream_, flush);
      if (code == Z_STREAM_ERROR) return InternalError("gzip: bad state");
      const size_t made = kOutSize - stream_.avail_out;
      if (made > 0) TRY(sink_.Write({out_.get(), made}));
    } while (stream_.avail_out == 0);
    return Ok();
  }

  ByteSink& sink_;
  std::unique_ptr<char[]> out_;
  z_stream stream_ = {};
  gz_header header_ = {};
  bool ready_ = false;
};

class Zstd final : public Compressor {
 public:
  explicit Zstd(ByteSink& sink)
      : sink_(sink),
        out_(std::make_unique_for_overwrite<char[]>(kOutSize)),
        stream_(ZSTD_createCCtx()) {}
  ~Zstd() override { ZSTD_freeCCtx(stream_); }
  Status Init() {
    if (stream_ == nullptr ||
        ZSTD_isError(ZSTD_CCtx_setParameter(stream_, ZSTD_c_compressionLevel, kZstdLevel)) != 0 ||
        ZSTD_isError(ZSTD_CCtx_setParameter(stream_, ZSTD_c_checksumFlag, 1)) != 0) {
      return ResourceExhaustedError("zstd: out of memory");
    }
    return Ok();
  }
  Status Write(std::string_view data) override {
    ZSTD_inBuffer in = {data.data(), data.size(), 0};
    while (in.pos < in.size) (void)TRY(Run(in, ZSTD_e_continue));
    return Ok();
  }
  Status Finish() override {
    ZSTD_inBuffer in = {nullptr, 0, 0};
    while (true) {
      const size_t left = TRY(Run(in, ZSTD_e_end));
      if (left == 0) return Ok();
    }
  }

 private:
  Result<size_t> Run(ZSTD_inBuffer& in, ZSTD_EndDirective mode) {
    ZSTD_outBuffer out = {out_.get(), kOutSize, 0};
    const size_t left = ZSTD_compressStream2(stream_, &out, &in, mode);
    if (ZSTD_isError(left) != 0) return InternalError("zstd: ", ZSTD_getErrorName(left));
    if (out.pos > 0) TRY(sink_.Write({out_.get(), out.pos}));
    return left;
  }

  ByteSink& sink_;
  std::unique_ptr<char[]> out_;
  ZSTD_CCtx* stream_;
};

template <typename T>
Result<std::unique_ptr<Compressor>> Make(ByteSink& sink) {
  auto made = std::make_unique<T>(sink);
  TRY(made->Init());
  return std::unique_ptr<Compressor>(std::move(made));
}

}  // namespace

Result<std::unique_ptr<Compressor>> OpenCompressor(ByteSink& sink, Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return Make<Gzip>(sink);
    case Compression::kZstd:
      return Make<Zstd>(sink);
    case Compression::kNone:
      break;
  }
  return std::unique_ptr<Compressor>(std::make_unique<PassThrough>(sink));
}

}  // namespace corten::diff
