#include "base/binary_values.h"

namespace corten {

namespace {

constexpr size_t kTimeSize = 15;
constexpr auto kYearOne = static_cast<uint64_t>(kZeroTime.seconds);

void AppendBigEndian(std::string& out, uint64_t value, unsigned bytes) {
  for (unsigned i = bytes; i-- > 0;) out.push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t BigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

}  // namespace

void AppendUvarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

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

std::string EncodeUvarint(uint64_t value) {
  std::string out;
  AppendUvarint(out, value);
  return out;
}

Result<uint64_t> DecodeUvarint(std::string_view bytes) {
  uint64_t value = 0;
  if (!TakeUvarint(&bytes, &value))
    return DataLossError("a number without end or of more than 64 bits");
  return value;
}

std::string EncodeVarint(int64_t value) {
  return EncodeUvarint(static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}

Result<int64_t> DecodeVarint(std::string_view bytes) {
  const uint64_t raw = TRY(DecodeUvarint(bytes));
  return static_cast<int64_t>(raw >> 1) ^ -static_cast<int64_t>(raw & 1);
}

std::string EncodeTime(Time time) {
  std::string out(1, '\1');
  AppendBigEndian(out, static_cast<uint64_t>(time.seconds) - kYearOne, 8);
  AppendBigEndian(out, static_cast<uint64_t>(time.nanos), 4);
  out += "\xff\xff";
  return out;
}

Result<Time> DecodeTime(std::string_view bytes) {
  const bool known = (bytes.size() == kTimeSize && bytes[0] == 1) ||
                     (bytes.size() == kTimeSize + 1 && bytes[0] == 2);
  if (!known) return DataLossError("a time of ", bytes.size(), " bytes");
  const Time time = {static_cast<int64_t>(BigEndian(bytes.substr(1, 8)) + kYearOne),
                     static_cast<int32_t>(BigEndian(bytes.substr(9, 4)))};
  if (time.nanos < 0 || time.nanos >= 1000000000)
    return DataLossError("a time with ", time.nanos, " nanoseconds");
  return time;
}

}  // namespace corten
