#include "metadata/db/codec.h"

namespace corten::metadata {

namespace {

void AppendField(std::string& out, char tag, std::string_view value) {
  if (value.empty()) return;
  out += tag;
  AppendUvarint(out, value.size());
  out += value;
}

constexpr char kTypeTag = 0x0A;   // field 1, bytes
constexpr char kValueTag = 0x12;  // field 2, bytes

}  // namespace

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
