#include "metadata/db/codec.h"

namespace corten::metadata {

namespace {

constexpr int64_t kYearOne = 62135596800;  // seconds from 0001-01-01 to 1970-01-01

void AppendUvarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(0x80 | (value & 0x7F));
    value >>= 7;
  }
  out += static_cast<char>(value);
}

// Takes a number from the front of `bytes`; false if it ends early or is longer than 64 bits.
bool TakeUvarint(std::string_view* bytes, uint64_t* value) {
  *value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes->empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes->front());
    bytes->remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

uint64_t BigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

void AppendField(std::string& out, char tag, std::string_view value) {
  if (value.empty()) return;
  out += tag;
  AppendUvarint(out, value.size());
  out += value;
}

constexpr char kTypeTag = 0x0A;   // field 1, bytes
constexpr char kValueTag = 0x12;  // field 2, bytes

}  // namespace

std::string EncodeTime(Time time) {
  std::string out(15, '\0');
  out[0] = 1;
  const auto seconds = static_cast<uint64_t>(time.seconds + kYearOne);
  for (unsigned i = 0; i < 8; ++i) out[1 + i] = static_cast<char>(seconds >> (56 - 8 * i));
  const auto nanos = static_cast<uint32_t>(time.nanos);
  for (unsigned i = 0; i < 4; ++i) out[9 + i] = static_cast<char>(nanos >> (24 - 8 * i));
  out[13] = out[14] = static_cast<char>(0xFF);
  return out;
}

Result<Time> DecodeTime(std::string_view bytes) {
  const bool known = (bytes.size() == 15 && bytes[0] == 1) || (bytes.size() == 16 && bytes[0] == 2);
  if (!known) return DataLossError("a time of ", bytes.size(), " bytes");
  const Time time = {static_cast<int64_t>(BigEndian(bytes.substr(1, 8))) - kYearOne,
                     static_cast<int32_t>(BigEndian(bytes.substr(9, 4)))};
  if (time.nanos < 0 || time.nanos >= 1000000000)
    return DataLossError("a time with ", time.nanos, " nanoseconds");
  return time;
}

std::string EncodeVarint(int64_t value) {
  std::string out;
  AppendUvarint(out, (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  return out;
}

Result<int64_t> DecodeVarint(std::string_view bytes) {
  uint64_t raw = 0;
  if (!TakeUvarint(&bytes, &raw)) return DataLossError("a number that has no end");
  return static_cast<int64_t>(raw >> 1) ^ -static_cast<int64_t>(raw & 1);
}

std::string EncodeAny(const model::Any& any) {
  std::string out;
  out.reserve(any.type_url.size() + any.value.size() + 12);
  AppendField(out, kTypeTag, any.type_url);
  AppendField(out, kValueTag, any.value);
  return out;
}

Result<model::Any> DecodeAny(std::string_view bytes) {
  model::Any any;
  while (!bytes.empty()) {
    uint64_t tag = 0;
    uint64_t number = 0;
    if (!TakeUvarint(&bytes, &tag)) return DataLossError("an Any with a damaged tag");
    size_t skip = 0;
    switch (tag & 7) {
      case 0:
        if (!TakeUvarint(&bytes, &number)) return DataLossError("an Any with a damaged number");
        continue;
      case 1:
        skip = 8;
        break;
      case 5:
        skip = 4;
        break;
      case 2:
        if (!TakeUvarint(&bytes, &number) || number > bytes.size())
          return DataLossError("an Any that is cut short");
        if (tag >> 3 == 1) any.type_url = bytes.substr(0, number);
        if (tag >> 3 == 2) any.value = bytes.substr(0, number);
        skip = number;
        break;
      default:
        return DataLossError("an Any with wire type ", tag & 7);
    }
    if (skip > bytes.size()) return DataLossError("an Any that is cut short");
    bytes.remove_prefix(skip);
  }
  return any;
}

}  // namespace corten::metadata
