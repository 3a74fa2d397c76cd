#include "diff/decompress.h"

#include <zlib.h>
#include <zstd.h>
#ifdef CORTEN_HAVE_ISAL
#include <isa-l/igzip_lib.h>
#endif

#include <algorithm>
#include <optional>

#include "base/strcat.h"
#include "diff/input_buffer.h"

namespace corten::diff {

namespace {

constexpr int kMaxWindowLog =
    27;  // 128 MiB: the largest window that the zstd program writes unless asked twice

Error UnexpectedEnd(std::string_view format) {
  return InvalidArgumentError(format, ": unexpected EOF");
}

class Plain final : public ByteSource {
 public:
  explicit Plain(InputBuffer input) : input_(std::move(input)) {}
  Result<size_t> Read(std::span<char> buffer) override { return input_.Read(buffer); }

 private:
  InputBuffer input_;
};

// The members of a gzip stream by zlib.
class ZlibGunzip final : public ByteSource {
 public:
  explicit ZlibGunzip(InputBuffer input) : input_(std::move(input)) {}
  ~ZlibGunzip() override {
    if (ready_) inflateEnd(&stream_);
  }
  Status Init() {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK)
      return ResourceExhaustedError("gzip: out of memory");
    ready_ = true;
    return Ok();
  }
  Result<size_t> Read(std::span<char> buffer) override {
    if (buffer.size() > UINT32_MAX) buffer = buffer.first(UINT32_MAX);
    stream_.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream_.avail_out = static_cast<uInt>(buffer.size());
    while (stream_.avail_out == buffer.size()) {
      const bool more = TRY(input_.Refill());
      if (!more && between_members_) return size_t{0};
      if (between_members_ && inflateReset(&stream_) != Z_OK)
        return InternalError("gzip: reset failed");
      between_members_ = false;
      const std::string_view in = input_.bytes();
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
      stream_.avail_in = static_cast<uInt>(in.size());
      const int code = inflate(&stream_, Z_NO_FLUSH);
      input_.Consume(in.size() - stream_.avail_in);
      if (code == Z_STREAM_END) {
        between_members_ = true;
      } else if (code == Z_BUF_ERROR && !more) {
        return UnexpectedEnd("gzip");
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return InvalidArgumentError("gzip: ",
                                    stream_.msg != nullptr ? stream_.msg : "damaged data");
      }
    }
    return buffer.size() - stream_.avail_out;
  }

 private:
  InputBuffer input_;
  z_stream stream_ = {};
  bool ready_ = false;
  bool between_members_ = false;
};

#ifdef CORTEN_HAVE_ISAL
constexpr size_t kMaxGzipHeader =
    128 << 10;  // the extra field alone may have 64 KiB; name and comment know no limit
static_assert(kMaxGzipHeader < InputBuffer::kSize);

// Length of the gzip header at the front of `bytes` (RFC 1952, 2.3); 0: more bytes are needed;
// nullopt: not a header.
std::optional<size_t> GzipHeaderSize(std::string_view bytes) {
  constexpr unsigned kHeaderCrc = 2;
  constexpr unsigned kExtra = 4;
  constexpr unsigned kName = 8;
  constexpr unsigned kComment = 16;
  const auto byte = [bytes](size_t at) {
    return static_cast<unsigned>(static_cast<unsigned char>(bytes[at]));
  };
  if (!bytes.starts_with(std::string_view("\x1f\x8b\x08").substr(0, bytes.size())))
    return std::nullopt;
  if (bytes.size() < 10) return 0;
  const unsigned flags = byte(3);
  if ((flags & 0xe0) != 0) return std::nullopt;
  size_t size = 10;
  if ((flags & kExtra) != 0) {
    if (bytes.size() < size + 2) return 0;
    size += 2 + byte(size) + (byte(size + 1) << 8);
  }
  for (const unsigned text : {kName, kComment}) {
    if ((flags & text) == 0) continue;
    const size_t end = size < bytes.size() ? bytes.find('\0', size) : std::string_view::npos;
    if (end == std::string_view::npos) return 0;
    size = end + 1;
  }
  if ((flags & kHeaderCrc) != 0) {
    if (bytes.size() < size + 2) return 0;
    const auto crc =
        crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(size)) & 0xffff;
    if (crc != (byte(size) | byte(size + 1) << 8)) return std::nullopt;
    size += 2;
  }
  return size <= bytes.size() ? size : 0;
}

// The members of a gzip stream by ISA-L. It stops after each member, answers OK for ever when input
// is missing, and (2.30) loses its place in headers with optional fields that come in pieces:
// headers are read here.
class IsalGunzip final : public ByteSource {
 public:
  explicit IsalGunzip(InputBuffer input)
      : input_(std::move(input)), state_(std::make_unique<inflate_state>()) {}
  Result<size_t> Read(std::span<char> buffer) override {
    if (buffer.size() > UINT32_MAX) buffer = buffer.first(UINT32_MAX);
    state_->next_out = reinterpret_cast<uint8_t*>(buffer.data());
    state_->avail_out = static_cast<uint32_t>(buffer.size());
    while (state_->avail_out > 0) {
      const bool more = TRY(input_.Refill());
      if (between_members_) {
        if (!more && !first_) break;
        TRY(BeginMember());
        continue;
      }
      const std::string_view in = input_.bytes();
      const uint32_t room = state_->avail_out;
      state_->next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(in.data()));
      state_->avail_in = static_cast<uint32_t>(in.size());
      const int code = isal_inflate(state_.get());
      input_.Consume(in.size() - state_->avail_in);
      if (code == ISAL_INCORRECT_CHECKSUM) return InvalidArgumentError("gzip: invalid checksum");
      if (code < ISAL_DECOMP_OK || code == ISAL_NEED_DICT)
        return InvalidArgumentError("gzip: damaged data");
      if (state_->block_state == ISAL_BLOCK_FINISH) {
        between_members_ = true;
      } else if (!more && state_->avail_out == room) {
        return UnexpectedEnd("gzip");
      }
    }
    return buffer.size() - state_->avail_out;
  }

 private:
  // Reads a header and makes ready for the data behind it.
  Status BeginMember() {
    for (size_t want = 10;; want = input_.bytes().size() + 1) {
      TRY(input_.Peek(want));
      const std::optional<size_t> size = GzipHeaderSize(input_.bytes());
      if (!size.has_value()) return InvalidArgumentError("gzip: invalid header");
      if (*size > 0) {
        input_.Consume(*size);
        break;
      }
      if (input_.bytes().size() < want) return UnexpectedEnd("gzip");
      if (want > kMaxGzipHeader) return InvalidArgumentError("gzip: invalid header");
    }
    uint8_t* const next_out = state_->next_out;
    const uint32_t room = state_->avail_out;
    isal_inflate_init(state_.get());
    state_->crc_flag = ISAL_GZIP_NO_HDR_VER;
    state_->next_out = next_out;
    state_->avail_out = room;
    between_members_ = false;
    first_ = false;
    return Ok();
  }

  InputBuffer input_;
  std::unique_ptr<inflate_state> state_;
  bool between_members_ = true;
  bool first_ = true;
};
#endif

class Unzstd final : public ByteSource {
 public:
  explicit Unzstd(InputBuffer input) : input_(std::move(input)), stream_(ZSTD_createDCtx()) {}
  ~Unzstd() override { ZSTD_freeDCtx(stream_); }
  Status Init() {
    if (stream_ == nullptr ||
        ZSTD_isError(ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kMaxWindowLog)) != 0) {
      return ResourceExhaustedError("zstd: out of memory");
    }
    return Ok();
  }
  Result<size_t> Read(std::span<char> buffer) override {
    ZSTD_outBuffer out = {buffer.data(), buffer.size(), 0};
    while (out.pos == 0 && !buffer.empty()) {
      const bool more = TRY(input_.Refill());
      if (between_frames_) {
        if (!more) return size_t{0};
        TRY(CheckMagic());
      }
      const std::string_view bytes = input_.bytes();
      ZSTD_inBuffer in = {bytes.data(), bytes.size(), 0};
      const size_t code = ZSTD_decompressStream(stream_, &out, &in);
      input_.Consume(in.pos);
      if (ZSTD_isError(code) != 0) return InvalidArgumentError("zstd: ", ZSTD_getErrorName(code));
      between_frames_ = code == 0;  // and all of the frame has been given out
      if (!more && out.pos == 0 && !between_frames_) return UnexpectedEnd("zstd");
    }
    return out.pos;
  }

 private:
  // Debian's library also reads the formats from before 1.0, whose decoders take less care: they
  // are no layers.
  Status CheckMagic() {
    TRY(input_.Peek(4));
    const std::string_view magic = input_.bytes().substr(0, 4);
    if (magic.size() < 4) return UnexpectedEnd("zstd");
    const bool skippable = (magic[0] & 0xf0) == 0x50 && magic.substr(1) == "\x2a\x4d\x18";
    if (!skippable && magic != "\x28\xb5\x2f\xfd")
      return InvalidArgumentError("zstd: invalid header");
    return Ok();
  }

  InputBuffer input_;
  ZSTD_DCtx* stream_;
  bool between_frames_ = true;
};

Result<std::unique_ptr<ByteSource>> Open(InputBuffer input, Compression compression,
                                         GzipEngine engine) {
  if (compression == Compression::kNone)
    return std::unique_ptr<ByteSource>(std::make_unique<Plain>(std::move(input)));
  if (compression == Compression::kZstd) {
    auto unzstd = std::make_unique<Unzstd>(std::move(input));
    TRY(unzstd->Init());
    return std::unique_ptr<ByteSource>(std::move(unzstd));
  }
#ifdef CORTEN_HAVE_ISAL
  if (engine != GzipEngine::kZlib)
    return std::unique_ptr<ByteSource>(std::make_unique<IsalGunzip>(std::move(input)));
#else
  if (engine == GzipEngine::kIsal) return UnimplementedError("gzip: this build has no ISA-L");
#endif
  auto gunzip = std::make_unique<ZlibGunzip>(std::move(input));
  TRY(gunzip->Init());
  return std::unique_ptr<ByteSource>(std::move(gunzip));
}

}  // namespace

Compression Sniff(std::string_view first_bytes) {
  if (first_bytes.starts_with("\x1f\x8b\x08")) return Compression::kGzip;
  if (first_bytes.starts_with("\x28\xb5\x2f\xfd")) return Compression::kZstd;
  const bool skippable = first_bytes.size() >= 8 && (first_bytes[0] & 0xf0) == 0x50 &&
                         first_bytes.substr(1, 3) == "\x2a\x4d\x18";
  return skippable ? Compression::kZstd : Compression::kNone;
}

Result<std::unique_ptr<ByteSource>> OpenDecompressor(ByteSource& source, Compression compression,
                                                     GzipEngine engine) {
  return Open(InputBuffer(source), compression, engine);
}

Result<std::unique_ptr<ByteSource>> OpenSniffed(ByteSource& source, Compression* found,
                                                GzipEngine engine) {
  InputBuffer input(source);
  TRY(input.Peek(kSniffBytes));
  const Compression compression = Sniff(input.bytes());
  if (found != nullptr) *found = compression;
  return Open(std::move(input), compression, engine);
}

}  // namespace corten::diff
