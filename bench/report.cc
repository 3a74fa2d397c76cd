#include "report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/strcat.h"

namespace corten::bench {

namespace {

using Json = nlohmann::ordered_json;

// Four significant digits, without an exponent.
std::string Digits(double value) {
  const double size = std::fabs(value);
  const int decimals = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3;
  char buffer[32];
  (void)snprintf(buffer, sizeof(buffer), "%.*f", decimals, value);
  return buffer;
}

std::string Verdict(const std::optional<Goal>& goal, std::optional<double> ratio) {
  if (!goal.has_value()) return "";
  std::string text = StrCat(goal->at_least ? ">= " : "<= ", Digits(goal->bound));
  if (!ratio.has_value()) return text;
  const bool met = goal->at_least ? *ratio >= goal->bound : *ratio <= goal->bound;
  return StrCat(text, met ? "  met" : "  MISSED");
}

}  // namespace

double Percentile(std::vector<double> samples, double share) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const double rank = std::ceil(share * static_cast<double>(samples.size()));
  const size_t index = rank < 1 ? 0 : static_cast<size_t>(rank) - 1;
  return samples[std::min(samples.size() - 1, index)];
}

void Report::Add(const Figure& figure, const std::string& daemon, double value) {
  for (Line& line : lines_) {
    if (line.figure.row == figure.row && line.figure.what == figure.what) {
      line.samples[daemon].push_back(value);
      return;
    }
  }
  lines_.push_back({figure, {{daemon, {value}}}});
}

std::vector<double> Report::Samples(const Figure& figure, const std::string& daemon) const {
  for (const Line& line : lines_) {
    if (line.figure.row != figure.row || line.figure.what != figure.what) continue;
    const auto found = line.samples.find(daemon);
    if (found != line.samples.end()) return found->second;
  }
  return {};
}

bool Report::Has(const std::string& row) const {
  return std::any_of(lines_.begin(), lines_.end(),
                     [&](const Line& line) { return line.figure.row == row; });
}

std::optional<double> Report::RatioOf(const Line& line) const {
  if (daemons_.size() < 2) return std::nullopt;
  const auto first = line.samples.find(daemons_[0]);
  const auto second = line.samples.find(daemons_[1]);
  if (first == line.samples.end() || second == line.samples.end()) return std::nullopt;
  const double below = Percentile(second->second, 0.5);
  if (below == 0) return std::nullopt;
  return Percentile(first->second, 0.5) / below;
}

void Report::PrintTable(FILE* out) const {
  for (const auto& [name, value] : facts_)
    (void)fprintf(out, "# %s: %s\n", name.c_str(), value.c_str());
  (void)fprintf(out, "%-4s %-50s", "row", "what");
  for (const std::string& daemon : daemons_)
    (void)fprintf(out, " %14s %9s", StrCat(daemon, " p50").c_str(), "p99");
  (void)fprintf(out, " %4s %7s  %s\n", "n", "ratio", "goal");
  for (const Line& line : lines_) {
    const std::string unit = line.figure.unit.empty() ? "" : StrCat(" [", line.figure.unit, "]");
    (void)fprintf(out, "%-4s %-50s", line.figure.row.c_str(),
                  StrCat(line.figure.what, unit).c_str());
    size_t n = 0;
    for (const std::string& daemon : daemons_) {
      const auto found = line.samples.find(daemon);
      if (found == line.samples.end()) {
        (void)fprintf(out, " %14s %9s", "-", "-");
        continue;
      }
      n = std::max(n, found->second.size());
      (void)fprintf(out, " %14s %9s", Digits(Percentile(found->second, 0.5)).c_str(),
                    Digits(Percentile(found->second, 0.99)).c_str());
    }
    const std::optional<double> ratio = RatioOf(line);
    (void)fprintf(out, " %4zu %7s  %s\n", n, ratio.has_value() ? Digits(*ratio).c_str() : "-",
                  judge_ ? Verdict(line.figure.goal, ratio).c_str() : "");
  }
  for (const auto& [row, text] : notes_)
    (void)fprintf(out, "# row %s: %s\n", row.c_str(), text.c_str());
  (void)fflush(out);
}

void Report::PrintJson(FILE* out) const {
  const auto print = [&](const Json& json) { (void)fprintf(out, "%s\n", json.dump().c_str()); };
  Json environment = {{"kind", "environment"}};
  for (const auto& [name, value] : facts_) environment[name] = value;
  print(environment);
  for (const Line& line : lines_) {
    for (const auto& [daemon, samples] : line.samples) {
      print({{"kind", "figure"},
             {"row", line.figure.row},
             {"what", line.figure.what},
             {"unit", line.figure.unit},
             {"daemon", daemon},
             {"n", samples.size()},
             {"min", Percentile(samples, 0)},
             {"p50", Percentile(samples, 0.5)},
             {"p90", Percentile(samples, 0.9)},
             {"p99", Percentile(samples, 0.99)},
             {"max", Percentile(samples, 1)}});
    }
    const std::optional<double> ratio = RatioOf(line);
    if (!ratio.has_value()) continue;
    Json json = {{"kind", "ratio"}, {"row", line.figure.row}, {"what", line.figure.what}};
    json["ratio"] = *ratio;
    if (line.figure.goal.has_value()) {
      json["goal"] = line.figure.goal->bound;
      json["at_least"] = line.figure.goal->at_least;
    }
    print(json);
  }
  for (const auto& [row, text] : notes_) print({{"kind", "note"}, {"row", row}, {"text", text}});
  (void)fflush(out);
}

}  // namespace corten::bench
