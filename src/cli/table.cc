#include "cli/table.h"

#include <algorithm>
#include <cstdio>

#include "base/strcat.h"

namespace corten::cli {

namespace {
constexpr size_t kTab = 8;
}

size_t DisplayWidth(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

void Table::Row(std::vector<std::string> cells, bool trailing) {
  if (trailing) cells.emplace_back();
  rows_.push_back(std::move(cells));
}

// A column lives in a run of rows that all have it ended; each run has its own width.
void Table::Format(size_t from, size_t to, std::vector<size_t>& widths, std::string* out) const {
  const size_t column = widths.size();
  size_t written = from;
  for (size_t row = from; row < to; ++row) {
    if (column + 1 >= rows_[row].size()) continue;
    Write(written, row, widths, out);
    size_t width = static_cast<size_t>(style_.min_width);
    size_t end = row;
    for (; end < to && column + 1 < rows_[end].size(); ++end) {
      width =
          std::max(width, DisplayWidth(rows_[end][column]) + static_cast<size_t>(style_.padding));
    }
    if (style_.tabs) width = (width + kTab - 1) / kTab * kTab;
    widths.push_back(width);
    Format(row, end, widths, out);
    widths.pop_back();
    written = end;
    row = end - 1;
  }
  Write(written, to, widths, out);
}

void Table::Write(size_t from, size_t to, const std::vector<size_t>& widths,
                  std::string* out) const {
  for (size_t row = from; row < to; ++row) {
    const std::vector<std::string>& cells = rows_[row];
    for (size_t i = 0; i < cells.size(); ++i) {
      *out += cells[i];
      if (i >= widths.size()) continue;
      const size_t used = DisplayWidth(cells[i]);
      const size_t fill = widths[i] > used ? widths[i] - used : 0;
      out->append(style_.tabs ? (fill + kTab - 1) / kTab : fill, style_.tabs ? '\t' : ' ');
    }
    out->push_back('\n');
  }
}

std::string Table::Render() const {
  std::string out;
  std::vector<size_t> widths;
  Format(0, rows_.size(), widths, &out);
  return out;
}

void Table::Print() const { (void)fputs(Render().c_str(), stdout); }

std::string BinarySize(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char buffer[32];
  (void)snprintf(buffer, sizeof(buffer), "%.1f %s", value, kUnits[unit]);
  return buffer;
}

std::string DecimalSize(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  char buffer[32];
  (void)snprintf(buffer, sizeof(buffer), "%.4g%s", value, kUnits[unit]);
  return buffer;
}

std::string HumanAge(int64_t seconds) {
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return StrCat(seconds, " seconds");
  const int64_t minutes = seconds / 60;
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return StrCat(minutes, " minutes");
  const int64_t hours = (seconds + 1800) / 3600;
  if (hours == 1) return "About an hour";
  if (hours < 48) return StrCat(hours, " hours");
  if (hours < 24 * 7 * 2) return StrCat(hours / 24, " days");
  if (hours < 24 * 30 * 2) return StrCat(hours / 24 / 7, " weeks");
  if (hours < 24 * 365 * 2) return StrCat(hours / 24 / 30, " months");
  return StrCat(hours / 24 / 365, " years");
}

std::string LabelList(const std::vector<std::pair<std::string, std::string>>& sorted) {
  std::string out;
  for (const auto& [key, value] : sorted) out += StrCat(out.empty() ? "" : ",", key, "=", value);
  return out.empty() ? "-" : out;
}

}  // namespace corten::cli
