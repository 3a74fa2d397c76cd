// A content digest, `algorithm:hex`.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::model {

// Either empty or valid: sha256, sha384 or sha512 with lower-case hex of the right length. Value
// type.
class Digest {
 public:
  Digest() = default;
  // kInvalidArgument with the text that containerd's clients know ("invalid checksum digest
  // format", "unsupported digest algorithm", "invalid checksum digest length").
  static Result<Digest> Parse(std::string_view text);

  bool empty() const { return text_.empty(); }
  const std::string& str() const { return text_; }
  std::string_view algorithm() const { return std::string_view(text_).substr(0, text_.find(':')); }
  std::string_view hex() const {
    return text_.empty() ? std::string_view() : std::string_view(text_).substr(text_.find(':') + 1);
  }
  auto operator<=>(const Digest&) const = default;

 private:
  explicit Digest(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace corten::model

template <>
struct std::hash<corten::model::Digest> {
  size_t operator()(const corten::model::Digest& digest) const {
    return std::hash<std::string>()(digest.str());
  }
};
