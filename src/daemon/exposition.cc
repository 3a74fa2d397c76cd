#include "daemon/exposition.h"

#include <charconv>
#include <cmath>

#include "base/strcat.h"

namespace corten::daemon {

namespace {

std::string Number(double value) {
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, end.ptr);
}

void AppendEscaped(std::string_view text, bool quotes, std::string* out) {
  for (const char c : text) {
    if (c == '\n') {
      *out += "\\n";
    } else if (c == '\\' || (quotes && c == '"')) {
      *out += '\\';
      *out += c;
    } else {
      *out += c;
    }
  }
}

}  // namespace

void Histogram::Observe(std::chrono::nanoseconds took) {
  const double seconds = std::chrono::duration<double>(took).count();
  size_t bucket = 0;
  while (bucket < kBounds.size() && seconds > kBounds[bucket]) ++bucket;
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_nanos_.fetch_add(took.count(), std::memory_order_relaxed);
}

Histogram::Reading Histogram::Read() const {
  Reading reading;
  for (size_t i = 0; i < counts_.size(); ++i)
    reading.counts[i] = counts_[i].load(std::memory_order_relaxed);
  reading.sum_seconds = static_cast<double>(sum_nanos_.load(std::memory_order_relaxed)) / 1e9;
  return reading;
}

void Exposition::Family(std::string_view name, MetricKind kind, std::string_view help) {
  name_ = name;
  text_ += StrCat("# HELP ", name, " ");
  AppendEscaped(help, /*quotes=*/false, &text_);
  text_ += StrCat("\n# TYPE ", name, " ",
                  kind == MetricKind::kCounter ? "counter"
                  : kind == MetricKind::kGauge ? "gauge"
                                               : "histogram",
                  "\n");
}

void Exposition::Sample(const MetricLabels& labels, double value) {
  Line("", labels, "", Number(value));
}

void Exposition::Sample(const MetricLabels& labels, uint64_t value) {
  Line("", labels, "", StrCat(value));
}

void Exposition::Sample(const MetricLabels& labels, const Histogram& histogram) {
  const Histogram::Reading reading = histogram.Read();
  uint64_t total = 0;
  for (size_t i = 0; i < reading.counts.size(); ++i) {
    total += reading.counts[i];
    const bool last = i == Histogram::kBounds.size();
    Line("_bucket", labels, last ? "+Inf" : Number(Histogram::kBounds[i]), StrCat(total));
  }
  Line("_sum", labels, "", Number(reading.sum_seconds));
  Line("_count", labels, "", StrCat(total));
}

void Exposition::Line(std::string_view suffix, const MetricLabels& labels, std::string_view bound,
                      std::string_view value) {
  text_ += name_;
  text_ += suffix;
  bool first = true;
  const auto add = [&](std::string_view key, std::string_view content) {
    text_ += first ? "{" : ",";
    first = false;
    text_ += key;
    text_ += "=\"";
    AppendEscaped(content, /*quotes=*/true, &text_);
    text_ += "\"";
  };
  for (const auto& [key, content] : labels) add(key, content);
  if (!bound.empty()) add("le", bound);
  text_ += first ? " " : "} ";
  text_ += value;
  text_ += "\n";
}

}  // namespace corten::daemon
