// What was measured: samples by row and daemon, printed as a table and as JSON lines.
//
// A row's ratio is first daemon / second daemon of the medians; its goal bounds that ratio.
// Threads: one.
#pragma once

#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace corten::bench {

// A bound of a ratio. `at_least` is for rates and other figures of which more is better.
struct Goal {
  double bound = 0;
  bool at_least = false;
};
constexpr Goal AtMost(double bound) { return {bound, false}; }
constexpr Goal AtLeast(double bound) { return {bound, true}; }

// A line of the table. `row` is the number in the project's list of goals (docs/BENCHMARKS.md).
struct Figure {
  std::string row;
  std::string what;
  std::string unit;  // "ms", "/s", "MB/s", "KiB", "" for a count
  std::optional<Goal> goal;
};

// `share` of the samples are at or below the answer (nearest rank); 0 for none.
double Percentile(std::vector<double> samples, double share);

class Report {
 public:
  // `daemons`: the columns, at most two of which the ratio is made.
  explicit Report(std::vector<std::string> daemons) : daemons_(std::move(daemons)) {}

  void Add(const Figure& figure, const std::string& daemon, double value);
  // A line under the table and a JSON line of kind "note".
  void Note(const std::string& row, const std::string& text) { notes_.emplace_back(row, text); }
  // A fact about machine or programs: printed before the table, and in the first JSON line.
  void Fact(const std::string& name, const std::string& value) { facts_.emplace_back(name, value); }

  // Figures of a run that proves nothing are not judged.
  void WithoutVerdicts() { judge_ = false; }

  // What this row's samples are so far; empty if none.
  std::vector<double> Samples(const Figure& figure, const std::string& daemon) const;

  // Facts, table, notes.
  void PrintTable(FILE* out) const;
  // One line of kind "environment", then one per row and daemon, then notes and ratios.
  void PrintJson(FILE* out) const;
  bool Has(const std::string& row) const;

 private:
  struct Line {
    Figure figure;
    std::map<std::string, std::vector<double>> samples;  // by daemon
  };
  std::optional<double> RatioOf(const Line& line) const;
  const std::vector<std::string> daemons_;
  bool judge_ = true;
  std::vector<Line> lines_;  // in order of appearance
  std::vector<std::pair<std::string, std::string>> notes_;
  std::vector<std::pair<std::string, std::string>> facts_;
};

}  // namespace corten::bench
