// Tables as scripts know them: columns aligned with blanks or tabs, byte for byte as ctr prints
// them. One thread. Source: ctr's output (ctr.md), elastic tabstops.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace corten::cli {

struct TableStyle {
  int min_width = 1;  // of a cell, padding included
  int padding = 1;    // blanks after the longest cell
  bool tabs = false;  // fill with tabs of 8 instead of blanks
};
inline constexpr TableStyle kTight{1, 1, false};  // images, leases, namespaces
inline constexpr TableStyle kWide{4, 4, false};   // tasks, containers, plugins
inline constexpr TableStyle kTabbed{1, 0, true};  // content

// Rows of cells; the cells of each row but its last are aligned in blocks of neighbouring rows that
// have the column.
class Table {
 public:
  explicit Table(TableStyle style) : style_(style) {}
  // `trailing`: an empty cell ends the row, so that it ends in fill (as ctr's rows mostly do).
  void Row(std::vector<std::string> cells, bool trailing = true);
  std::string Render() const;
  void Print() const;  // to standard output

 private:
  void Format(size_t from, size_t to, std::vector<size_t>& widths, std::string* out) const;
  void Write(size_t from, size_t to, const std::vector<size_t>& widths, std::string* out) const;
  const TableStyle style_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters, not bytes.
size_t DisplayWidth(std::string_view text);

// "3.9 MiB", "582 B": binary units, one decimal.
std::string BinarySize(int64_t bytes);
// "582B", "4.113MB": decimal units, four significant digits.
std::string DecimalSize(int64_t bytes);
// "Less than a second", "3 hours", "About a minute" ...
std::string HumanAge(int64_t seconds);
// "k=v,k=v" sorted, or "-" for none.
std::string LabelList(const std::vector<std::pair<std::string, std::string>>& sorted);

}  // namespace corten::cli
