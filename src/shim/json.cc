#include "shim/json.h"

#include <charconv>

namespace corten::shim {

namespace {

constexpr int kMaxDepth = 64;

// Steps over tokens. All methods return false at the first thing that is not JSON.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}
  size_t offset() const { return at_; }
  bool AtEnd() const { return at_ == text_.size(); }

  void Space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }
  bool Take(char c) {
    Space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool Value(int depth, std::string_view* out) {
    Space();
    const size_t start = at_;
    if (!SkipValue(depth)) return false;
    *out = text_.substr(start, at_ - start);
    return true;
  }
  bool Text(std::string_view* out) {
    Space();
    const size_t start = at_;
    if (!SkipString()) return false;
    *out = text_.substr(start, at_ - start);
    return true;
  }

 private:
  bool SkipValue(int depth) {
    if (depth > kMaxDepth || at_ >= text_.size()) return false;
    switch (text_[at_]) {
      case '{':
        return SkipObject(depth);
      case '[':
        return SkipArray(depth);
      case '"':
        return SkipString();
      case 't':
        return SkipWord("true");
      case 'f':
        return SkipWord("false");
      case 'n':
        return SkipWord("null");
      default:
        return SkipNumber();
    }
  }
  bool SkipObject(int depth) {
    ++at_;
    if (Take('}')) return true;
    do {
      std::string_view ignored;
      if (!Text(&ignored) || !Take(':') || !Value(depth + 1, &ignored)) return false;
    } while (Take(','));
    return Take('}');
  }
  bool SkipArray(int depth) {
    ++at_;
    if (Take(']')) return true;
    do {
      std::string_view ignored;
      if (!Value(depth + 1, &ignored)) return false;
    } while (Take(','));
    return Take(']');
  }
  bool SkipString() {
    if (at_ >= text_.size() || text_[at_] != '"') return false;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') continue;
      if (++at_ >= text_.size()) return false;
      if (text_[at_] == 'u') {
        for (int i = 0; i < 4; ++i) {
          if (++at_ >= text_.size() || !IsHex(text_[at_])) return false;
        }
      } else if (std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos) {
        return false;
      }
    }
    return false;
  }
  bool SkipWord(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  bool SkipDigits() {
    const size_t start = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ > start;
  }
  bool SkipNumber() {
    if (text_[at_] == '-') ++at_;
    const size_t first = at_;
    if (!SkipDigits() || (text_[first] == '0' && at_ - first > 1)) return false;
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      if (!SkipDigits()) return false;
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      if (!SkipDigits()) return false;
    }
    return true;
  }
  static bool IsHex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  }

  std::string_view text_;
  size_t at_ = 0;
};

uint32_t HexValue(std::string_view digits) {
  uint32_t out = 0;
  (void)std::from_chars(digits.data(), digits.data() + digits.size(), out,
                        16);  // checked by the scanner
  return out;
}

void AppendUtf8(std::string& out, uint32_t rune) {
  if (rune >= 0xd800 && rune < 0xe000) rune = 0xfffd;  // half of a pair
  if (rune < 0x80) {
    out.push_back(static_cast<char>(rune));
  } else if (rune < 0x800) {
    out.push_back(static_cast<char>(0xc0 | rune >> 6));
    out.push_back(static_cast<char>(0x80 | (rune & 0x3f)));
  } else if (rune < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | rune >> 12));
    out.push_back(static_cast<char>(0x80 | (rune >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (rune & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | rune >> 18));
    out.push_back(static_cast<char>(0x80 | (rune >> 12 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (rune >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (rune & 0x3f)));
  }
}

// `quoted` is a scanned string with its quotes.
std::string Unquote(std::string_view quoted) {
  const std::string_view body = quoted.substr(1, quoted.size() - 2);
  std::string out;
  out.reserve(body.size());
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i] != '\\') {
      out.push_back(body[i]);
      continue;
    }
    switch (body[++i]) {
      case 'b':
        out.push_back('\b');
        break;
      case 'f':
        out.push_back('\f');
        break;
      case 'n':
        out.push_back('\n');
        break;
      case 'r':
        out.push_back('\r');
        break;
      case 't':
        out.push_back('\t');
        break;
      case 'u': {
        uint32_t rune = HexValue(body.substr(i + 1, 4));
        i += 4;
        if (rune >= 0xd800 && rune < 0xdc00 && body.substr(i + 1, 2) == "\\u") {
          const uint32_t low = HexValue(body.substr(i + 3, 4));
          if (low >= 0xdc00 && low < 0xe000) {
            rune = 0x10000 + ((rune - 0xd800) << 10) + (low - 0xdc00);
            i += 6;
          }
        }
        AppendUtf8(out, rune);
        break;
      }
      default:
        out.push_back(body[i]);
    }
  }
  return out;
}

}  // namespace

Result<JsonView> JsonView::Parse(std::string_view text) {
  Scanner scanner(text);
  std::string_view value;
  if (!scanner.Value(0, &value))
    return InvalidArgumentError("json: unexpected input at byte ", scanner.offset());
  scanner.Space();
  if (!scanner.AtEnd()) return InvalidArgumentError("json: more input at byte ", scanner.offset());
  return JsonView(value);
}

JsonView::Kind JsonView::kind() const {
  switch (text_[0]) {
    case '{':
      return Kind::kObject;
    case '[':
      return Kind::kArray;
    case '"':
      return Kind::kString;
    case 't':
    case 'f':
      return Kind::kBool;
    case 'n':
      return Kind::kNull;
    default:
      return Kind::kNumber;
  }
}

std::optional<JsonView> JsonView::Find(std::string_view name) const {
  if (kind() != Kind::kObject) return std::nullopt;
  Scanner scanner(text_);
  std::optional<JsonView> found;
  (void)scanner.Take('{');
  do {
    std::string_view key;
    std::string_view value;
    if (!scanner.Text(&key) || !scanner.Take(':') || !scanner.Value(0, &value))
      break;  // the empty object
    const bool plain = key.find('\\') == std::string_view::npos;
    if (plain ? key.substr(1, key.size() - 2) == name : Unquote(key) == name)
      found = JsonView(value);
  } while (scanner.Take(','));
  return found;
}

void JsonView::ForEach(const std::function<bool(const JsonView& element)>& visit) const {
  if (kind() != Kind::kArray) return;
  Scanner scanner(text_);
  (void)scanner.Take('[');
  do {
    std::string_view value;
    if (!scanner.Value(0, &value)) return;  // the empty array
    if (!visit(JsonView(value))) return;
  } while (scanner.Take(','));
}

void JsonView::ForEachMember(
    const std::function<bool(const std::string& name, const JsonView& value)>& visit) const {
  if (kind() != Kind::kObject) return;
  Scanner scanner(text_);
  (void)scanner.Take('{');
  do {
    std::string_view key;
    std::string_view value;
    if (!scanner.Text(&key) || !scanner.Take(':') || !scanner.Value(0, &value))
      return;  // the empty object
    if (!visit(Unquote(key), JsonView(value))) return;
  } while (scanner.Take(','));
}

std::optional<std::string> JsonView::String() const {
  if (kind() != Kind::kString) return std::nullopt;
  return Unquote(text_);
}

std::optional<bool> JsonView::Bool() const {
  if (kind() != Kind::kBool) return std::nullopt;
  return text_[0] == 't';
}

std::optional<int64_t> JsonView::Integer() const {
  if (kind() != Kind::kNumber) return std::nullopt;
  int64_t value = 0;
  const auto parsed = std::from_chars(text_.data(), text_.data() + text_.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text_.data() + text_.size()) return std::nullopt;
  return value;
}

}  // namespace corten::shim
