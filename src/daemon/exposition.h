// Numbers as text in Prometheus' exposition format, and the counters and histograms behind them.
//
// An Exposition is built for one scrape: families in any order, each with all its samples; values
// of one thread. Counter and Histogram are updated from any thread without locks. Source:
// Prometheus text format 0.0.4; buckets are its customary ones, as containerd's.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corten::daemon {

inline constexpr std::string_view kExpositionType = "text/plain; version=0.0.4; charset=utf-8";

using MetricLabels = std::vector<std::pair<std::string_view, std::string_view>>;

enum class MetricKind { kCounter, kGauge, kHistogram };

class Histogram {
 public:
  static constexpr std::array<double, 11> kBounds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                     0.5,   1,    2.5,   5,    10};  // seconds
  void Observe(std::chrono::nanoseconds took);

  struct Reading {
    std::array<uint64_t, kBounds.size() + 1> counts;  // of each bucket by itself; last: above all
    double sum_seconds = 0;
  };
  Reading Read() const;

 private:
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> counts_ = {};
  std::atomic<int64_t> sum_nanos_{0};
};

class Exposition {
 public:
  // Begins a family; the samples that follow belong to it. `name` must be new.
  void Family(std::string_view name, MetricKind kind, std::string_view help);
  void Sample(const MetricLabels& labels, double value);
  void Sample(const MetricLabels& labels, uint64_t value);
  void Sample(const MetricLabels& labels, const Histogram& histogram);
  std::string Take() { return std::move(text_); }

 private:
  void Line(std::string_view suffix, const MetricLabels& labels, std::string_view bound,
            std::string_view value);
  std::string name_;
  std::string text_;
};

}  // namespace corten::daemon
