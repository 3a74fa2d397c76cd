// The program's log: containerd's line formats (text as logfmt, or JSON) on one descriptor.
//
// Only program code logs (daemon, facades, shim); library rooms return errors. Thread-safe: each
// line is one write(2). The level and the sink are process-wide, set once at start (the level may
// change at any time).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace corten::log {

enum class Level : uint8_t { kTrace, kDebug, kInfo, kWarn, kError, kFatal, kPanic };
enum class Format : uint8_t { kText, kJson };

// "trace".."panic", also "warning"; false if unknown.
bool ParseLevel(std::string_view text, Level* level);
std::string_view LevelName(Level level);

void SetLevel(Level level);
bool Enabled(Level level);
// `fd` stays open for the process's life; default: 2, text.
void SetSink(int fd, Format format);

using Field = std::pair<std::string_view, std::string>;
void Write(Level level, std::string_view message, std::initializer_list<Field> fields = {});

inline void Debug(std::string_view message, std::initializer_list<Field> fields = {}) {
  if (Enabled(Level::kDebug)) Write(Level::kDebug, message, fields);
}
inline void Info(std::string_view message, std::initializer_list<Field> fields = {}) {
  Write(Level::kInfo, message, fields);
}
inline void Warn(std::string_view message, std::initializer_list<Field> fields = {}) {
  Write(Level::kWarn, message, fields);
}
inline void Error(std::string_view message, std::initializer_list<Field> fields = {}) {
  Write(Level::kError, message, fields);
}

// The line without its end, for tests: time is given.
std::string FormatLine(Format format, Level level, std::string_view time, std::string_view message,
                       std::initializer_list<Field> fields);

// JSON string literal of `text` (quotes included); invalid UTF-8 becomes U+FFFD.
std::string JsonString(std::string_view text);

}  // namespace corten::log
