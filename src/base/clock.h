// Wall time as the API carries it: nanoseconds since the Unix epoch, UTC. Injected, so that tests
// can tick it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten {

// A point of wall time. Seconds may be negative (before 1970); 0 <= nanos < 1e9.
struct Time {
  int64_t seconds = 0;
  int32_t nanos = 0;
  auto operator<=>(const Time&) const = default;
  int64_t UnixNanos() const { return seconds * 1000000000 + nanos; }
};

// The zero value of Go's time, which containerd uses for "not set": 0001-01-01T00:00:00Z.
inline constexpr Time kZeroTime = {-62135596800, 0};

Time Now();
using WallClock = std::function<Time()>;  // e.g. &Now

// RFC 3339 with as many fractional digits as needed and `Z`: "2026-11-21T01:41:31.058025437Z".
std::string FormatRfc3339(Time time);
// Accepts any offset; the result is UTC. kInvalidArgument otherwise.
Result<Time> ParseRfc3339(std::string_view text);
Time AddNanos(Time time, int64_t nanos);

// Go's duration text: "1h2m3.5s", "300ms", "1.5us", "-2m". Nanoseconds; kInvalidArgument on
// anything else or overflow.
Result<int64_t> ParseDuration(std::string_view text);
// The form that Go prints: "1m0s", "100ms", "0s".
std::string FormatDuration(int64_t nanos);

}  // namespace corten
