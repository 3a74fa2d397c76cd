#include "cli/indent.h"

namespace corten::cli {

std::string IndentJson(std::string_view text, std::string_view front, std::string_view step) {
  std::string out;
  int level = 0;
  bool in_text = false;
  bool escaped = false;
  bool opened = false;  // nothing has followed the last bracket yet
  const auto new_line = [&] {
    out += '\n';
    out += front;
    for (int i = 0; i < level; ++i) out += step;
  };
  for (const char c : text) {
    if (in_text) {
      out += c;
      in_text = escaped || c != '"';
      escaped = !escaped && c == '\\';
      continue;
    }
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') continue;
    const bool closing = c == '}' || c == ']';
    if (opened && !closing) {
      ++level;
      new_line();
    }
    if (closing && !opened) {
      if (level > 0) --level;
      new_line();
    }
    opened = c == '{' || c == '[';
    in_text = c == '"';
    out += c;
    if (c == ',') new_line();
    if (c == ':') out += ' ';
  }
  return out;
}

}  // namespace corten::cli
