#include "wire/ttrpc_codec.h"

#include <algorithm>

#include "base/strcat.h"
#include "wire/proto_fields.h"

namespace corten::wire {

namespace {

// ttrpc.Request
constexpr uint32_t kRequestService = 1;
constexpr uint32_t kRequestMethod = 2;
constexpr uint32_t kRequestPayload = 3;
constexpr uint32_t kRequestTimeout = 4;
constexpr uint32_t kRequestMetadata = 5;
// ttrpc.KeyValue
constexpr uint32_t kPairKey = 1;
constexpr uint32_t kPairValue = 2;
// ttrpc.Response
constexpr uint32_t kResponseStatus = 1;
constexpr uint32_t kResponsePayload = 2;

void PutU32(char* out, uint32_t value) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (24 - 8 * i));
}

uint32_t GetU32(const char* in) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(in[i]);
  return value;
}

Status ReadText(const FieldReader& reader, std::string* out) {
  if (!IsValidUtf8(reader.bytes()))
    return InvalidArgumentError("field ", reader.number(), " contains invalid UTF-8");
  *out = reader.bytes();
  return Ok();
}

Status ReadPair(std::string_view bytes, Metadata* metadata) {
  std::pair<std::string, std::string> pair;
  FieldReader reader(bytes);
  while (reader.Next()) {
    if (reader.number() == kPairKey && reader.is_bytes()) TRY(ReadText(reader, &pair.first));
    if (reader.number() == kPairValue && reader.is_bytes()) TRY(ReadText(reader, &pair.second));
  }
  TRY(reader.Finish());
  metadata->push_back(std::move(pair));
  return Ok();
}

Status ReadRequest(std::string_view bytes, RequestEnvelope* request) {
  FieldReader reader(bytes);
  while (reader.Next()) {
    if (reader.number() == kRequestTimeout && reader.is_varint()) {
      request->timeout = std::chrono::nanoseconds(static_cast<int64_t>(reader.varint()));
    }
    if (!reader.is_bytes()) continue;
    switch (reader.number()) {
      case kRequestService:
        TRY(ReadText(reader, &request->service));
        break;
      case kRequestMethod:
        TRY(ReadText(reader, &request->method));
        break;
      case kRequestPayload:
        request->payload = reader.bytes();
        break;
      case kRequestMetadata:
        TRY(ReadPair(reader.bytes(), &request->metadata));
        break;
      default:
        break;
    }
  }
  return reader.Finish();
}

Status ReadResponse(std::string_view bytes, ResponseEnvelope* response) {
  FieldReader reader(bytes);
  while (reader.Next()) {
    if (!reader.is_bytes()) continue;
    if (reader.number() == kResponseStatus) response->status = TRY(DecodeStatus(reader.bytes()));
    if (reader.number() == kResponsePayload) response->payload = reader.bytes();
  }
  return reader.Finish();
}

}  // namespace

std::array<char, kFrameHeaderSize> EncodeFrameHeader(const FrameHeader& header) {
  std::array<char, kFrameHeaderSize> out;
  PutU32(out.data(), header.length);
  PutU32(out.data() + 4, header.stream);
  out[8] = static_cast<char>(header.type);
  out[9] = static_cast<char>(header.flags);
  return out;
}

FrameHeader DecodeFrameHeader(std::string_view bytes) {
  CHECK(bytes.size() >= kFrameHeaderSize);
  return {GetU32(bytes.data()), GetU32(bytes.data() + 4), static_cast<FrameType>(bytes[8]),
          static_cast<uint8_t>(bytes[9])};
}

Error OversizedError(uint64_t length) {
  return ResourceExhaustedError("message length ", length, " exceed maximum message size of ",
                                kMaxFramePayload);
}

bool FrameParser::Feed(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    if (skip_ > 0) {
      const size_t passed = static_cast<size_t>(std::min<uint64_t>(skip_, bytes.size()));
      skip_ -= passed;
      bytes.remove_prefix(passed);
      continue;
    }
    // The frame lies in `bytes` alone, or its beginning is in pending_.
    if (pending_.size() < kFrameHeaderSize && pending_.size() + bytes.size() < kFrameHeaderSize) {
      pending_.append(bytes);
      return true;
    }
    if (!pending_.empty() && pending_.size() < kFrameHeaderSize) {
      const size_t missing = kFrameHeaderSize - pending_.size();
      pending_.append(bytes.substr(0, missing));
      bytes.remove_prefix(missing);
    }
    const FrameHeader header =
        DecodeFrameHeader(pending_.empty() ? bytes : std::string_view(pending_));
    if (header.length > kMaxFramePayload) {
      if (pending_.empty()) bytes.remove_prefix(kFrameHeaderSize);
      pending_.clear();
      skip_ = header.length;
      if (!sink(header, {}, true)) return false;
      continue;
    }
    const size_t whole = kFrameHeaderSize + header.length;
    if (pending_.empty() && bytes.size() >= whole) {
      const std::string_view payload = bytes.substr(kFrameHeaderSize, header.length);
      bytes.remove_prefix(whole);
      if (!sink(header, payload, false)) return false;
      continue;
    }
    const size_t taken = std::min(whole - pending_.size(), bytes.size());
    pending_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (pending_.size() < whole) return true;
    const std::string frame = std::move(pending_);
    pending_.clear();
    if (!sink(header, std::string_view(frame).substr(kFrameHeaderSize), false)) return false;
  }
  return true;
}

std::string EncodeRequest(const RequestEnvelope& request) {
  std::string out;
  out.reserve(request.service.size() + request.method.size() + request.payload.size() + 64);
  if (!request.service.empty()) AppendBytesField(out, kRequestService, ValidUtf8(request.service));
  if (!request.method.empty()) AppendBytesField(out, kRequestMethod, ValidUtf8(request.method));
  if (!request.payload.empty()) AppendBytesField(out, kRequestPayload, request.payload);
  if (request.timeout.count() != 0) {
    AppendVarintField(out, kRequestTimeout,
                      static_cast<uint64_t>(int64_t{request.timeout.count()}));
  }
  for (const auto& [key, value] : request.metadata) {
    std::string pair;
    if (!key.empty()) AppendBytesField(pair, kPairKey, ValidUtf8(key));
    if (!value.empty()) AppendBytesField(pair, kPairValue, ValidUtf8(value));
    AppendBytesField(out, kRequestMetadata, pair);
  }
  return out;
}

Result<RequestEnvelope> DecodeRequest(std::string_view bytes) {
  RequestEnvelope request;
  TRY(ReadRequest(bytes, &request).Context("unmarshal request error"));
  return request;
}

std::string EncodeResponse(const ResponseEnvelope& response) {
  std::string out;
  if (response.status.code != 0)
    AppendBytesField(out, kResponseStatus, EncodeStatus(response.status));
  if (!response.payload.empty()) AppendBytesField(out, kResponsePayload, response.payload);
  return out;
}

Result<ResponseEnvelope> DecodeResponse(std::string_view bytes) {
  ResponseEnvelope response;
  TRY(ReadResponse(bytes, &response).Context("decode ttrpc response"));
  return response;
}

std::string EncodeResponsePrefix(size_t size) {
  std::string out;
  if (size > 0) AppendBytesHeader(out, kResponsePayload, size);
  return out;
}

}  // namespace corten::wire
