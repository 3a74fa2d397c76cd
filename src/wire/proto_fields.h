// Protobuf's binary form, field by field, without the protobuf runtime: enough for small envelopes
// coded by hand.
//
// Reading is total: any bytes give fields or an error, never more memory than the input. Groups are
// refused. Source: protobuf encoding, https://protobuf.dev/programming-guides/encoding.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::wire {

// Appends one field; fields with the default value are to be left out by the caller, as proto3
// does.
void AppendVarintField(std::string& out, uint32_t number, uint64_t value);
void AppendBytesField(std::string& out, uint32_t number, std::string_view value);
// Tag and length of a bytes field whose `size` bytes the caller sends itself.
void AppendBytesHeader(std::string& out, uint32_t number, size_t size);

// Walks over the fields of one message. The message must outlive the reader and what it returned.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  // Steps to the next field: true and the accessors below are set, or false at the end and at bytes
  // that are no field.
  bool Next();
  // After Next has returned false: kInvalidArgument if the bytes are no message.
  Status Finish() const;

  uint32_t number() const { return number_; }
  // The field's value if it is of that kind, otherwise 0 or "" (and is_bytes() tells which it is).
  bool is_bytes() const { return is_bytes_; }
  bool is_varint() const { return is_varint_; }
  uint64_t varint() const { return varint_; }
  std::string_view bytes() const { return bytes_; }

 private:
  bool ReadValue(uint64_t wire_type);

  std::string_view rest_;
  uint32_t number_ = 0;
  bool is_bytes_ = false;
  bool is_varint_ = false;
  uint64_t varint_ = 0;
  std::string_view bytes_;
  bool bad_ = false;
};

// `text` if it is valid UTF-8; otherwise a copy in which each bad byte is U+FFFD. Peers refuse
// strings that are not.
std::string ValidUtf8(std::string_view text);
bool IsValidUtf8(std::string_view text);

}  // namespace corten::wire
