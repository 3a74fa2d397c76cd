#include "wire/status.h"

#include "base/strcat.h"
#include "wire/proto_fields.h"

namespace corten::wire {

namespace {

// google.rpc.Status
constexpr uint32_t kCode = 1;
constexpr uint32_t kMessage = 2;
constexpr uint32_t kDetails = 3;

constexpr std::string_view kCut = " ... ";
constexpr size_t kKeptEnd = 1024;  // enough for the innermost cause and the marker

// A cut may fall into a character; callers mend it afterwards.
std::string Shorten(const std::string& text) {
  if (text.size() <= kMaxStatusText) return text;
  const std::string_view view = text;
  return StrCat(view.substr(0, kMaxStatusText - kKeptEnd - kCut.size()), kCut,
                view.substr(view.size() - kKeptEnd));
}

Code CodeOfNumber(int32_t code) {
  const bool known = code > 0 && code <= static_cast<int32_t>(Code::kUnauthenticated);
  return known ? static_cast<Code>(code) : Code::kUnknown;
}

}  // namespace

RpcStatus StatusFromError(const Error& error) {
  return {static_cast<int32_t>(error.code()), ValidUtf8(Shorten(error.WireText())), {}};
}

Error ErrorFromStatus(int32_t number, std::string_view message) {
  CHECK(number != 0);
  const Code code = CodeOfNumber(number);
  const std::string_view marker = CodeMarker(code);
  // WireText adds no marker to kUnknown, so none may be taken away.
  if (code != Code::kUnknown && message.size() > marker.size() + 2 && message.ends_with(marker) &&
      message.substr(message.size() - marker.size() - 2, 2) == ": ") {
    message.remove_suffix(marker.size() + 2);
  }
  return Error(code, std::string(message));
}

std::string EncodeStatus(const RpcStatus& status) {
  std::string out;
  // int32 travels sign-extended.
  if (status.code != 0) AppendVarintField(out, kCode, static_cast<uint64_t>(int64_t{status.code}));
  if (!status.message.empty()) AppendBytesField(out, kMessage, ValidUtf8(status.message));
  for (const std::string& detail : status.details) AppendBytesField(out, kDetails, detail);
  return out;
}

Result<RpcStatus> DecodeStatus(std::string_view bytes) {
  RpcStatus status;
  FieldReader reader(bytes);
  while (reader.Next()) {
    if (reader.number() == kCode && reader.is_varint())
      status.code = static_cast<int32_t>(reader.varint());
    if (reader.number() == kMessage && reader.is_bytes()) status.message = reader.bytes();
    if (reader.number() == kDetails && reader.is_bytes())
      status.details.emplace_back(reader.bytes());
  }
  TRY(reader.Finish().Context("decode google.rpc.Status"));
  return status;
}

}  // namespace corten::wire
