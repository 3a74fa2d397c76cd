#include "base/log.h"

#include <unistd.h>

#include <atomic>

#include "base/clock.h"
#include "base/strcat.h"

namespace corten::log {

namespace {

std::atomic<Level> level_now{Level::kInfo};
std::atomic<int> sink_fd{2};
std::atomic<Format> sink_format{Format::kText};

constexpr std::string_view kNames[] = {"trace", "debug", "info", "warning",
                                       "error", "fatal", "panic"};

// logrus quotes a value unless every character is one of these.
bool NeedsQuotes(std::string_view text) {
  if (text.empty()) return true;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '/' || c == '@' || c == '^' ||
                       c == '+';
    if (!plain) return true;
  }
  return false;
}

size_t Utf8Length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const size_t size = lead < 0x80                   ? 1
                      : lead >= 0xc2 && lead < 0xe0 ? 2
                      : lead >= 0xe0 && lead < 0xf0 ? 3
                      : lead >= 0xf0 && lead < 0xf5 ? 4
                                                    : 0;
  if (size == 0 || at + size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  return size;
}

}  // namespace

bool ParseLevel(std::string_view text, Level* level) {
  if (text == "warn") text = "warning";
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == text) {
      *level = static_cast<Level>(i);
      return true;
    }
  }
  return false;
}

std::string_view LevelName(Level level) { return kNames[static_cast<size_t>(level)]; }
void SetLevel(Level level) { level_now.store(level, std::memory_order_relaxed); }
bool Enabled(Level level) { return level >= level_now.load(std::memory_order_relaxed); }

void SetSink(int fd, Format format) {
  sink_fd.store(fd);
  sink_format.store(format);
}

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"' || c == '\\') {
      out += StrCat('\\', c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += StrCat("\\u00", Hex(std::string_view(&c, 1)));
    } else {
      const size_t size = Utf8Length(text, i);
      out += size == 0 ? std::string_view("\\ufffd") : text.substr(i, size);
      i += size == 0 ? 1 : size;
      continue;
    }
    ++i;
  }
  return out + "\"";
}

std::string FormatLine(Format format, Level level, std::string_view time, std::string_view message,
                       std::initializer_list<Field> fields) {
  std::string out;
  if (format == Format::kJson) {
    out = "{";
    for (const auto& [key, value] : fields)
      out += StrCat(JsonString(key), ":", JsonString(value), ",");
    return out + StrCat("\"level\":\"", LevelName(level), "\",\"msg\":", JsonString(message),
                        ",\"time\":\"", time, "\"}");
  }
  out = StrCat("time=\"", time, "\" level=", LevelName(level),
               " msg=", NeedsQuotes(message) ? Quoted(message) : std::string(message));
  for (const auto& [key, value] : fields)
    out += StrCat(" ", key, "=", NeedsQuotes(value) ? Quoted(value) : value);
  return out;
}

void Write(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (!Enabled(level)) return;
  const std::string line =
      FormatLine(sink_format.load(), level, FormatRfc3339(Now()), message, fields) + "\n";
  (void)!write(sink_fd.load(), line.data(),
               line.size());  // a full or closed log must not stop the daemon
}

}  // namespace corten::log
