#include "diff/tar_fields.h"

#include <charconv>
#include <cstring>

#include "base/strcat.h"

namespace corten::diff::tar {

namespace {

std::string_view Trim(std::string_view raw) {
  const auto blank = [](char c) { return c == ' ' || c == '\0'; };
  while (!raw.empty() && blank(raw.front())) raw.remove_prefix(1);
  while (!raw.empty() && blank(raw.back())) raw.remove_suffix(1);
  return raw;
}

// Two's complement, big endian, below a marker bit.
std::optional<int64_t> ParseBase256(std::string_view raw) {
  const bool negative = (static_cast<unsigned char>(raw[0]) & 0x40) != 0;
  const unsigned char invert = negative ? 0xff : 0x00;
  uint64_t value = 0;
  for (size_t i = 0; i < raw.size(); ++i) {
    unsigned char byte = static_cast<unsigned char>(static_cast<unsigned char>(raw[i]) ^ invert);
    if (i == 0) byte &= 0x7f;
    if ((value >> 56) != 0) return std::nullopt;
    value = value << 8 | byte;
  }
  if ((value >> 63) != 0) return std::nullopt;
  return negative ? static_cast<int64_t>(~value) : static_cast<int64_t>(value);
}

}  // namespace

std::optional<int64_t> ParseOctal(std::string_view raw) {
  const std::string_view text = Text(Trim(raw));
  if (text.empty()) return 0;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc() || end != text.data() + text.size() || (value >> 63) != 0)
    return std::nullopt;
  return static_cast<int64_t>(value);
}

std::optional<int64_t> ParseNumber(std::string_view raw) {
  if (!raw.empty() && (static_cast<unsigned char>(raw[0]) & 0x80) != 0) return ParseBase256(raw);
  return ParseOctal(raw);
}

std::optional<int64_t> ParseDecimal(std::string_view text) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  if (text.empty() || text.front() == '+') return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 10);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Time> ParsePaxTime(std::string_view text) {
  const size_t dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  const std::optional<int64_t> seconds = ParseDecimal(whole);
  if (!seconds.has_value()) return std::nullopt;
  Time time = {*seconds, 0};
  if (dot == std::string_view::npos || dot + 1 == text.size()) return time;
  const std::string_view fraction = text.substr(dot + 1);
  int32_t nanos = 0;
  for (size_t i = 0; i < fraction.size(); ++i) {
    if (fraction[i] < '0' || fraction[i] > '9') return std::nullopt;
    if (i < 9) nanos = nanos * 10 + (fraction[i] - '0');
  }
  for (size_t i = fraction.size(); i < 9; ++i) nanos *= 10;
  if (whole.front() == '-' && nanos > 0) {  // -1.25 is -2 seconds and 0.75
    if (time.seconds == INT64_MIN) return std::nullopt;
    time.seconds -= 1;
    nanos = 1000000000 - nanos;
  }
  time.nanos = nanos;
  return time;
}

std::string FormatPaxTime(Time time) {
  if (time.nanos == 0) return StrCat(time.seconds);
  std::string sign;
  int64_t seconds = time.seconds;
  int32_t nanos = time.nanos;
  if (seconds < 0) {
    sign = "-";
    seconds = -(seconds + 1);
    nanos = 1000000000 - nanos;
  }
  std::string fraction = StrCat(nanos);
  fraction.insert(0, 9 - fraction.size(), '0');
  fraction.resize(fraction.find_last_not_of('0') + 1);
  return StrCat(sign, seconds, '.', fraction);
}

bool IsZeroBlock(const char* block) {
  static constexpr char kZero[kBlock] = {};
  return std::memcmp(block, kZero, kBlock) == 0;
}

Checksums ComputeChecksums(const char* block) {
  uint32_t plain = 0;
  uint32_t high = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const auto byte = static_cast<unsigned char>(block[i]);
    plain += byte;
    high += byte >> 7;
  }
  for (size_t i = kChecksum.offset; i < kChecksum.offset + kChecksum.size; ++i) {
    const auto byte = static_cast<unsigned char>(block[i]);
    plain -= byte;
    high -= byte >> 7;
  }
  plain += static_cast<uint32_t>(' ') * kChecksum.size;
  return {plain, static_cast<int64_t>(plain) - 256 * static_cast<int64_t>(high)};
}

bool ValidPaxRecord(std::string_view key, std::string_view value) {
  if (key.empty() || key.find('=') != std::string_view::npos) return false;
  if (key == "path" || key == "linkpath" || key == "uname" || key == "gname") {
    return value.find('\0') == std::string_view::npos;
  }
  return key.find('\0') == std::string_view::npos;
}

Result<PaxRecords> ParsePax(std::string_view data) {
  static const char* const kBad = "archive: damaged pax record";
  PaxRecords records;
  std::string sparse_map;
  size_t sparse_numbers = 0;
  while (!data.empty()) {
    const size_t space = data.find(' ');
    uint64_t length = 0;
    if (space == std::string_view::npos || !ParseU64(data.substr(0, space), &length))
      return InvalidArgumentError(kBad);
    if (length < 5 || length > data.size() || length < space + 2) return InvalidArgumentError(kBad);
    std::string_view record = data.substr(space + 1, length - space - 1);
    data.remove_prefix(length);
    if (record.back() != '\n') return InvalidArgumentError(kBad);
    record.remove_suffix(1);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos) return InvalidArgumentError(kBad);
    const std::string_view key = record.substr(0, equals);
    const std::string_view value = record.substr(equals + 1);
    if (!ValidPaxRecord(key, value)) return InvalidArgumentError(kBad);
    if (key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes") {
      const std::string_view expected =
          sparse_numbers % 2 == 0 ? "GNU.sparse.offset" : "GNU.sparse.numbytes";
      if (key != expected || value.find(',') != std::string_view::npos)
        return InvalidArgumentError(kBad);
      if (sparse_numbers > 0) sparse_map += ',';
      sparse_map += value;
      ++sparse_numbers;
    } else {
      records.insert_or_assign(std::string(key), std::string(value));
    }
  }
  if (sparse_numbers > 0) records.insert_or_assign("GNU.sparse.map", std::move(sparse_map));
  return records;
}

std::string FormatPaxRecord(std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;  // ' ', '=', '\n'
  size_t length = rest + StrCat(rest).size();
  if (StrCat(length).size() + rest != length) length = rest + StrCat(length).size();
  return StrCat(length, ' ', key, '=', value, '\n');
}

}  // namespace corten::diff::tar
