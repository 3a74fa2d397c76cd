// ttrpc frames and envelopes.
//
// A frame is a header of 10 bytes (length, stream, type, flags; big endian) and `length` bytes of
// payload, at most 4 MiB. There is no handshake, ping or flow control. Envelopes are protobuf
// messages, coded by hand here, so that this room needs no protobuf runtime. Unknown fields are
// skipped; unknown frame types are the caller's to ignore.
//
// Threads: plain values; a FrameParser belongs to one thread.
// Source: ttrpc 1.2.8 protocol.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "wire/metadata.h"
#include "wire/status.h"

namespace corten::wire {

inline constexpr size_t kFrameHeaderSize = 10;
inline constexpr uint32_t kMaxFramePayload = 4u << 20;  // inclusive; fixed by the protocol

// Values off the wire may be others.
enum class FrameType : uint8_t { kRequest = 1, kResponse = 2, kData = 3 };

inline constexpr uint8_t kFlagRemoteClosed =
    0x01;  // request, data: the sender sends no more on this stream
inline constexpr uint8_t kFlagRemoteOpen = 0x02;  // request: data of the sender follows
inline constexpr uint8_t kFlagNoData = 0x04;      // data: not even an empty message is in it

struct FrameHeader {
  uint32_t length = 0;
  uint32_t stream = 0;
  FrameType type = FrameType::kRequest;
  uint8_t flags = 0;

  bool operator==(const FrameHeader&) const = default;
};

std::array<char, kFrameHeaderSize> EncodeFrameHeader(const FrameHeader& header);
// REQUIRES: bytes.size() >= kFrameHeaderSize. Any bytes are a header.
FrameHeader DecodeFrameHeader(std::string_view bytes);

// kResourceExhausted, in the words of the Go implementation.
Error OversizedError(uint64_t length);

// Cuts a byte stream into frames. Never holds more than one frame; a frame over the limit is
// skipped unread.
class FrameParser {
 public:
  // `payload` is valid during the call only. For an oversized frame it is empty and `oversized` is
  // true; it is reported when its header is complete, before its bytes have passed. Return false to
  // stop feeding.
  using Sink =
      std::function<bool(const FrameHeader& header, std::string_view payload, bool oversized)>;

  // Takes `bytes` and reports each frame that is complete, in order. False if the sink stopped (the
  // parser is then not to be fed again).
  bool Feed(std::string_view bytes, const Sink& sink);

  // True if the stream may end here without cutting a frame.
  bool AtBoundary() const { return pending_.empty() && skip_ == 0; }

 private:
  std::string pending_;  // an incomplete frame, header included
  uint64_t skip_ = 0;    // bytes of an oversized payload still to come
};

// The payload of a request frame. `timeout` is what was left until the caller's deadline: 0 none,
// negative expired.
struct RequestEnvelope {
  std::string service;
  std::string method;
  std::string payload;
  std::chrono::nanoseconds timeout{0};
  Metadata metadata;

  bool operator==(const RequestEnvelope&) const = default;
};

// The payload of a response frame. An empty response is zero bytes and means: success, empty
// message.
struct ResponseEnvelope {
  RpcStatus status;  // code 0: success
  std::string payload;

  bool operator==(const ResponseEnvelope&) const = default;
};

// Strings that are not UTF-8 are mended (U+FFFD), since Go refuses whole messages for them.
std::string EncodeRequest(const RequestEnvelope& request);
// kInvalidArgument: not such a message, or a service, method or metadata that is no UTF-8.
Result<RequestEnvelope> DecodeRequest(std::string_view bytes);

std::string EncodeResponse(const ResponseEnvelope& response);
Result<ResponseEnvelope> DecodeResponse(std::string_view bytes);
// All of a successful response but its payload, whose `size` bytes follow it: for sending large
// ones without a copy.
std::string EncodeResponsePrefix(size_t size);

}  // namespace corten::wire
