#include "model/digest.h"

namespace corten::model {

Result<Digest> Digest::Parse(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size()) {
    return InvalidArgumentError("invalid checksum digest format");
  }
  const std::string_view algorithm = text.substr(0, colon);
  const std::string_view hex = text.substr(colon + 1);
  const size_t want = algorithm == "sha256"   ? 64
                      : algorithm == "sha384" ? 96
                      : algorithm == "sha512" ? 128
                                              : 0;
  if (want == 0) {
    for (const char c : algorithm) {
      const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '.' ||
                        c == '_' || c == '-';
      if (!word) return InvalidArgumentError("invalid checksum digest format");
    }
    return InvalidArgumentError("unsupported digest algorithm");
  }
  if (hex.size() != want) return InvalidArgumentError("invalid checksum digest length");
  for (const char c : hex) {
    if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
      return InvalidArgumentError("invalid checksum digest format");
  }
  return Digest(std::string(text));
}

}  // namespace corten::model
