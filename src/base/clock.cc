#include "base/clock.h"

#include <time.h>

#include <array>
#include <cmath>
#include <cstdio>

namespace corten {

namespace {

constexpr int64_t kNanosPerSecond = 1000000000;

bool Digits(std::string_view text, size_t at, size_t count, int* value) {
  if (at + count > text.size()) return false;
  *value = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    *value = *value * 10 + (text[i] - '0');
  }
  return true;
}

// Days since 1970-01-01 of a proleptic Gregorian date.
int64_t DaysFromCivil(int64_t year, int month, int day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719468;
}

std::string Trimmed(std::string digits) {
  while (!digits.empty() && digits.back() == '0') digits.pop_back();
  return digits;
}

}  // namespace

Time Now() {
  timespec now = {};
  (void)clock_gettime(CLOCK_REALTIME, &now);  // cannot fail for this clock
  return {now.tv_sec, static_cast<int32_t>(now.tv_nsec)};
}

std::string FormatRfc3339(Time time) {
  const time_t seconds = time.seconds;
  tm parts = {};
  (void)gmtime_r(&seconds, &parts);
  char buffer[48];
  (void)snprintf(buffer, sizeof(buffer), "%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900,
                 parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  std::string out = buffer;
  if (time.nanos != 0) {
    (void)snprintf(buffer, sizeof(buffer), "%09d", time.nanos);
    out += StrCat(".", Trimmed(buffer));
  }
  return out + "Z";
}

Result<Time> ParseRfc3339(std::string_view text) {
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  const bool shape = Digits(text, 0, 4, &year) && Digits(text, 5, 2, &month) &&
                     Digits(text, 8, 2, &day) && Digits(text, 11, 2, &hour) &&
                     Digits(text, 14, 2, &minute) && Digits(text, 17, 2, &second) &&
                     text[4] == '-' && text[7] == '-' && (text[10] == 'T' || text[10] == 't') &&
                     text[13] == ':' && text[16] == ':';
  if (!shape || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
      second > 60) {
    return InvalidArgumentError("time ", Quoted(text), ": not in RFC 3339 form");
  }
  size_t at = 19;
  int64_t nanos = 0;
  if (at < text.size() && text[at] == '.') {
    int64_t scale = kNanosPerSecond / 10;
    size_t digits = 0;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
      nanos += (text[at] - '0') * scale;
      scale /= 10;
    }
    if (digits == 0) return InvalidArgumentError("time ", Quoted(text), ": not in RFC 3339 form");
  }
  int64_t offset = 0;
  if (at + 1 == text.size() && (text[at] == 'Z' || text[at] == 'z')) {
    // UTC
  } else {
    int hours = 0;
    int minutes = 0;
    if (at + 6 != text.size() || (text[at] != '+' && text[at] != '-') ||
        !Digits(text, at + 1, 2, &hours) || text[at + 3] != ':' ||
        !Digits(text, at + 4, 2, &minutes)) {
      return InvalidArgumentError("time ", Quoted(text), ": not in RFC 3339 form");
    }
    offset = (hours * 60 + minutes) * 60 * (text[at] == '-' ? -1 : 1);
  }
  return Time{DaysFromCivil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset,
              static_cast<int32_t>(nanos)};
}

Time AddNanos(Time time, int64_t nanos) {
  int64_t seconds = time.seconds + nanos / kNanosPerSecond;
  int64_t rest = time.nanos + nanos % kNanosPerSecond;
  if (rest < 0) {
    rest += kNanosPerSecond;
    --seconds;
  } else if (rest >= kNanosPerSecond) {
    rest -= kNanosPerSecond;
    ++seconds;
  }
  return {seconds, static_cast<int32_t>(rest)};
}

Result<int64_t> ParseDuration(std::string_view text) {
  const auto bad = [&] {
    return InvalidArgumentError("duration ", Quoted(text),
                                ": want a form such as 10s, 1m30s or 250ms");
  };
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  if (rest == "0") return int64_t{0};
  if (rest.empty()) return bad();
  static constexpr std::array<std::pair<std::string_view, int64_t>, 8> kUnits = {
      {{"ns", 1},
       {"us", 1000},
       {"\u00b5s", 1000},
       {"\u03bcs", 1000},
       {"ms", 1000000},
       {"s", kNanosPerSecond},
       {"m", 60 * kNanosPerSecond},
       {"h", 3600 * kNanosPerSecond}}};
  long double total = 0;
  while (!rest.empty()) {
    size_t size = 0;
    while (size < rest.size() && ((rest[size] >= '0' && rest[size] <= '9') || rest[size] == '.'))
      ++size;
    const std::string number(rest.substr(0, size));
    if (number.empty() || number == "." || number.find('.') != number.rfind('.')) return bad();
    rest.remove_prefix(size);
    size = 0;
    while (size < rest.size() && rest[size] != '.' && (rest[size] < '0' || rest[size] > '9'))
      ++size;
    const std::string_view unit = rest.substr(0, size);
    rest.remove_prefix(size);
    int64_t scale = 0;
    for (const auto& [name, value] : kUnits) {
      if (name == unit) scale = value;
    }
    if (scale == 0) return bad();
    total += strtold(number.c_str(), nullptr) * static_cast<long double>(scale);
    if (total > 9.2e18L) return bad();
  }
  const int64_t nanos = llroundl(total);
  return negative ? -nanos : nanos;
}

std::string FormatDuration(int64_t nanos) {
  if (nanos == 0) return "0s";
  std::string out = nanos < 0 ? "-" : "";
  uint64_t rest =
      nanos < 0 ? uint64_t{0} - static_cast<uint64_t>(nanos) : static_cast<uint64_t>(nanos);
  const auto fraction = [](uint64_t whole, uint64_t part, int digits) {
    char buffer[24];
    (void)snprintf(buffer, sizeof(buffer), "%0*llu", digits, static_cast<unsigned long long>(part));
    const std::string tail = Trimmed(buffer);
    return tail.empty() ? StrCat(whole) : StrCat(whole, ".", tail);
  };
  if (rest < 1000) return StrCat(out, rest, "ns");
  if (rest < 1000000) return StrCat(out, fraction(rest / 1000, rest % 1000, 3), "\u00b5s");
  if (rest < 1000000000) return StrCat(out, fraction(rest / 1000000, rest % 1000000, 6), "ms");
  const uint64_t seconds = rest / 1000000000;
  if (seconds >= 3600) out += StrCat(seconds / 3600, "h");
  if (seconds >= 60) out += StrCat(seconds / 60 % 60, "m");
  return StrCat(out, fraction(seconds % 60, rest % 1000000000, 9), "s");
}

}  // namespace corten
