#include "wire/proto_fields.h"

#include "base/binary_values.h"

namespace corten::wire {

namespace {

constexpr uint32_t kWireVarint = 0;
constexpr uint32_t kWireFixed64 = 1;
constexpr uint32_t kWireBytes = 2;
constexpr uint32_t kWireFixed32 = 5;
constexpr uint64_t kMaxFieldNumber = (1u << 29) - 1;

// Length of the UTF-8 sequence at the start of `text`, 0 if there is none. Refuses overlong forms
// and surrogates.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return follows(1) ? 2 : 0;
  if (lead < 0xf0) {
    if (!follows(1) || !follows(2)) return 0;
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;
    if (lead == 0xed && byte(1) >= 0xa0) return 0;
    return 3;
  }
  if (lead > 0xf4 || !follows(1) || !follows(2) || !follows(3)) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) >= 0x90) return 0;
  return 4;
}

}  // namespace

void AppendVarintField(std::string& out, uint32_t number, uint64_t value) {
  AppendUvarint(out, uint64_t{number} << 3 | kWireVarint);
  AppendUvarint(out, value);
}

void AppendBytesHeader(std::string& out, uint32_t number, size_t size) {
  AppendUvarint(out, uint64_t{number} << 3 | kWireBytes);
  AppendUvarint(out, size);
}

void AppendBytesField(std::string& out, uint32_t number, std::string_view value) {
  AppendBytesHeader(out, number, value.size());
  out.append(value);
}

bool FieldReader::Next() {
  if (rest_.empty() || bad_) return false;
  uint64_t key = 0;
  number_ = 0;
  if (!TakeUvarint(&rest_, &key) || key >> 3 == 0 || key >> 3 > kMaxFieldNumber) {
    bad_ = true;
    return false;
  }
  number_ = static_cast<uint32_t>(key >> 3);
  bad_ = !ReadValue(key & 7);
  return !bad_;
}

bool FieldReader::ReadValue(uint64_t wire_type) {
  varint_ = 0;
  bytes_ = {};
  is_varint_ = wire_type == kWireVarint;
  is_bytes_ = wire_type == kWireBytes;
  uint64_t size = 0;
  switch (wire_type) {
    case kWireVarint:
      return TakeUvarint(&rest_, &varint_);
    case kWireFixed64:
      size = 8;
      break;
    case kWireFixed32:
      size = 4;
      break;
    case kWireBytes:
      if (!TakeUvarint(&rest_, &size)) return false;
      break;
    default:
      return false;
  }
  if (size > rest_.size()) return false;
  if (is_bytes_) bytes_ = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return true;
}

Status FieldReader::Finish() const {
  if (!bad_) return Ok();
  if (number_ == 0) return InvalidArgumentError("bad field key");
  return InvalidArgumentError("bad value of field ", number_);
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string ValidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    out.append(length == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(0, length));
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

}  // namespace corten::wire
