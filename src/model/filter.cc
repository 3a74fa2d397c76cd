#include "model/filter.h"

#include <re2/re2.h>

#include <cstdint>

namespace corten::model {

namespace {

enum class Op : uint8_t { kPresent, kEqual, kNotEqual, kMatches };

constexpr int64_t kRegexpMemory = 1 << 20;  // bytes a compiled pattern may take
constexpr size_t kMaxExpression =
    1 << 20;  // bytes; far above what any client sends, below what hurts

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// The length of the UTF-8 character at `text[at]`; 0 if there is none.
size_t RuneLength(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : (lead & 0xF0) == 0xE0        ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) >= 0xA0)) return 0;
  if ((lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) >= 0x90)) return 0;
  return length;
}

void AppendRune(std::string& out, uint32_t rune) {
  if (rune >= 0xD800 && rune <= 0xDFFF) {  // a lone surrogate has no encoding
    out += kReplacement;
  } else if (rune < 0x80) {
    out += static_cast<char>(rune);
  } else if (rune < 0x800) {
    out += static_cast<char>(0xC0 | (rune >> 6));
    out += static_cast<char>(0x80 | (rune & 0x3F));
  } else if (rune < 0x10000) {
    out += static_cast<char>(0xE0 | (rune >> 12));
    out += static_cast<char>(0x80 | ((rune >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (rune & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (rune >> 18));
    out += static_cast<char>(0x80 | ((rune >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((rune >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (rune & 0x3F));
  }
}

// Valid UTF-8 whatever the bytes are: error texts travel as strings.
std::string Printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t length = RuneLength(text, i);
    out += length == 0 ? kReplacement : text.substr(i, length);
    i += length == 0 ? 1 : length;
  }
  return out;
}

bool IsFieldChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool IsOperatorChar(char c) { return c == '=' || c == '!' || c == '~'; }
bool IsQuote(char c) { return c == '"' || c == '/' || c == '|'; }

int DigitValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

}  // namespace

struct Filter::Selector {
  std::vector<std::string> path;
  Op op = Op::kPresent;
  std::string value;
  std::shared_ptr<const re2::RE2>
      pattern;  // of kMatches; null: it does not compile, so nothing matches
};

namespace {

// One pass over one expression. Which characters are taken together depends on what may stand
// there, so the scanner and the grammar are one.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<Filter::Selector>> Parse() {
    if (text_.size() > kMaxExpression)
      return InvalidArgumentError("filters: parse error: longer than ", kMaxExpression, " bytes");
    TRY(CheckCharacters());
    std::vector<Filter::Selector> selectors;
    for (;;) {
      Filter::Selector selector = TRY(ParseSelector());
      selectors.push_back(std::move(selector));
      if (at_ == text_.size()) return selectors;
      if (text_[at_] != ',')
        return Fail(at_, StrCat("unexpected input: ", text_.substr(at_, RuneLength(text_, at_))));
      ++at_;
    }
  }

 private:
  Error Fail(size_t at, std::string_view why) const {
    if (at >= text_.size())
      return InvalidArgumentError("filters: parse error: [", Printable(text_), "]: ", why);
    return InvalidArgumentError("filters: parse error: [", Printable(text_.substr(0, at)), " >|",
                                Printable(text_.substr(at, 1)), "|< ",
                                Printable(text_.substr(at + 1)), "]: ", why);
  }

  Status CheckCharacters() const {
    for (size_t i = 0; i < text_.size();) {
      if (text_[i] == '\0') return Fail(i, "unexpected null");
      const size_t length = RuneLength(text_, i);
      if (length == 0) return Fail(i, "invalid utf-8");
      i += length;
    }
    return Ok();
  }

  size_t SpaceLength(size_t at) const {  // as Unicode has it
    const std::string_view rest = text_.substr(at);
    if (rest.empty()) return 0;
    if (rest[0] == ' ' || (rest[0] >= '\t' && rest[0] <= '\r')) return 1;
    for (const std::string_view space : {"\xC2\x85", "\xC2\xA0"}) {
      if (rest.starts_with(space)) return 2;
    }
    if (rest.starts_with("\xE2\x80") && rest.size() > 2) {
      const auto last = static_cast<unsigned char>(rest[2]);
      if ((last >= 0x80 && last <= 0x8A) || last == 0xA8 || last == 0xA9 || last == 0xAF) return 3;
    }
    for (const std::string_view space : {"\xE1\x9A\x80", "\xE2\x81\x9F", "\xE3\x80\x80"}) {
      if (rest.starts_with(space)) return 3;
    }
    return 0;
  }
  void SkipSpace() {
    while (const size_t length = SpaceLength(at_)) at_ += length;
  }

  Result<Filter::Selector> ParseSelector() {
    Filter::Selector selector;
    for (;;) {
      std::string field = TRY(ParseField());
      selector.path.push_back(std::move(field));
      if (at_ == text_.size() || text_[at_] != '.') break;
      ++at_;
    }
    if (at_ == text_.size() || text_[at_] == ',') return selector;  // presence
    selector.op = TRY(ParseOperator());
    selector.value = TRY(ParseValue(selector.op == Op::kMatches));
    if (selector.op == Op::kMatches) {
      re2::RE2::Options options;
      options.set_log_errors(false);
      options.set_max_mem(kRegexpMemory);
      auto pattern = std::make_shared<const re2::RE2>(selector.value, options);
      if (pattern->ok()) selector.pattern = std::move(pattern);
    }
    return selector;
  }

  Result<std::string> ParseField() {
    SkipSpace();
    if (at_ < text_.size() && IsQuote(text_[at_])) return ParseQuoted(/*any_quote=*/false);
    const size_t begin = at_;
    while (at_ < text_.size() && IsFieldChar(text_[at_])) ++at_;
    if (at_ == begin) return Fail(at_, "expected field or quoted");
    return std::string(text_.substr(begin, at_ - begin));
  }

  Result<Op> ParseOperator() {
    SkipSpace();
    const size_t begin = at_;
    while (at_ < text_.size() && IsOperatorChar(text_[at_])) ++at_;
    const std::string_view word = text_.substr(begin, at_ - begin);
    if (word == "==") return Op::kEqual;
    if (word == "!=") return Op::kNotEqual;
    if (word == "~=") return Op::kMatches;
    if (!word.empty()) return Fail(begin, StrCat("unsupported operator ", Quoted(word)));
    if (at_ < text_.size() && IsQuote(text_[at_])) TRY(ScanQuoted());
    return Fail(begin, R"(expected an operator ("=="|"!="|"~="))");
  }

  Result<std::string> ParseValue(bool any_quote) {
    SkipSpace();
    if (at_ < text_.size() && IsQuote(text_[at_])) return ParseQuoted(any_quote);
    const size_t begin = at_;
    if (at_ == text_.size() || text_[at_] == ',' || text_[at_] == '.' ||
        IsOperatorChar(text_[at_])) {
      return Fail(at_, "expected value or quoted");
    }
    while (at_ < text_.size() && text_[at_] != ',' && SpaceLength(at_) == 0) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  // The text between the quotes at at_, escapes still in it; moves behind it.
  Result<std::string_view> ScanQuoted() {
    const size_t begin = at_;
    const char quote = text_[at_++];
    while (at_ < text_.size() && text_[at_] != '\n') {
      const char c = text_[at_++];
      if (c == quote) return text_.substr(begin + 1, at_ - begin - 2);
      if (c != '\\') continue;
      if (at_ == text_.size()) return Fail(begin, "illegal escape sequence");
      const char escape = text_[at_++];
      if (escape == quote || std::string_view("abfnrtv\\").find(escape) != std::string_view::npos)
        continue;
      const bool octal = escape >= '0' && escape <= '7';
      const size_t digits = octal           ? 2
                            : escape == 'x' ? 2
                            : escape == 'u' ? 4
                            : escape == 'U' ? 8
                                            : 0;
      if (digits == 0) return Fail(begin, "illegal escape sequence");
      for (size_t i = 0; i < digits; ++i, ++at_) {
        if (at_ == text_.size() || DigitValue(text_[at_]) >= (octal ? 8 : 16))
          return Fail(begin, "illegal numeric escape sequence");
      }
    }
    return Fail(begin, "quoted literal not terminated");
  }

  Result<std::string> ParseQuoted(bool any_quote) {
    const size_t begin = at_;
    const char quote = text_[at_];
    const std::string_view raw = TRY(ScanQuoted());
    if (quote != '"' && !any_quote) return Fail(begin, "invalid quote encountered");
    std::string out;
    for (size_t i = 0; i < raw.size();) {
      if (raw[i] != '\\') {
        out += raw[i++];
      } else if (!Unescape(raw, &i, out)) {
        return Fail(begin, "unquoting failed: quote syntax error");
      }
    }
    return out;
  }

  // Takes one escape that ScanQuoted has let pass; false if its number means no character.
  static bool Unescape(std::string_view raw, size_t* at, std::string& out) {
    const char escape = raw[*at + 1];
    *at += 2;
    constexpr std::string_view kLetters = "abfnrtv";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v";
    if (const size_t letter = kLetters.find(escape); letter != std::string_view::npos) {
      out += kMeanings[letter];
      return true;
    }
    const bool octal = escape >= '0' && escape <= '7';
    if (!octal && escape != 'x' && escape != 'u' &&
        escape != 'U') {  // a backslash or the quote itself
      out += escape;
      return true;
    }
    uint64_t number = octal ? static_cast<uint64_t>(escape - '0') : 0;
    const size_t digits = octal || escape == 'x' ? 2 : escape == 'u' ? 4 : 8;
    for (size_t i = 0; i < digits; ++i)
      number = number * (octal ? 8 : 16) + static_cast<uint64_t>(DigitValue(raw[(*at)++]));
    if (octal || escape == 'x') {
      if (number > 0xFF) return false;
      out += static_cast<char>(number);
      return true;
    }
    if (number > 0x10FFFF) return false;
    AppendRune(out, static_cast<uint32_t>(number));
    return true;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

bool MatchesOne(const Filter::Selector& selector, const FieldLookup& lookup) {
  const std::optional<std::string> value = lookup(selector.path);
  switch (selector.op) {
    case Op::kPresent:
      return value.has_value();
    case Op::kEqual:
      return value.has_value() && *value == selector.value;
    case Op::kNotEqual:
      return !value.has_value() || *value != selector.value;
    case Op::kMatches:
      return value.has_value() && selector.pattern != nullptr &&
             re2::RE2::PartialMatch(*value, *selector.pattern);
  }
  return false;
}

}  // namespace

Result<Filter> Filter::Parse(const std::vector<std::string>& expressions) {
  Filter filter;
  filter.all_ = expressions.empty();
  for (const std::string& expression : expressions) {
    if (expression.empty()) {
      filter.all_ = true;
      continue;
    }
    std::vector<Selector> selectors = TRY(Parser(expression).Parse());
    filter.expressions_.push_back(
        std::make_shared<const std::vector<Selector>>(std::move(selectors)));
  }
  return filter;
}

bool Filter::Matches(const FieldLookup& lookup) const {
  if (all_) return true;
  for (const auto& selectors : expressions_) {
    bool every = true;
    for (const Selector& selector : *selectors) {
      if (!MatchesOne(selector, lookup)) {
        every = false;
        break;
      }
    }
    if (every) return true;
  }
  return false;
}

}  // namespace corten::model
