#include "daemon/exposition.h"

#include <gtest/gtest.h>

namespace corten::daemon {
namespace {

TEST(Exposition, AFamilyIsItsHelpItsTypeAndItsSamples) {
  Exposition out;
  out.Family("a_total", MetricKind::kCounter, "Counts.");
  out.Sample({{"who", "x"}, {"what", "y"}}, uint64_t{18446744073709551615u});
  out.Sample({}, 0.25);
  out.Family("b", MetricKind::kGauge, "Moves.");
  out.Sample({}, 1e7);
  EXPECT_EQ(out.Take(),
            "# HELP a_total Counts.\n# TYPE a_total counter\n"
            "a_total{who=\"x\",what=\"y\"} 18446744073709551615\na_total 0.25\n"
            "# HELP b Moves.\n# TYPE b gauge\nb 1e+07\n");
}

TEST(Exposition, LabelsCannotBreakOut) {
  Exposition out;
  out.Family("a", MetricKind::kGauge, "One\nline \\ \"quoted\"");
  out.Sample({{"id", "a\"} 1\nevil{x=\"\\"}}, uint64_t{1});
  EXPECT_EQ(out.Take(),
            "# HELP a One\\nline \\\\ \"quoted\"\n# TYPE a gauge\n"
            "a{id=\"a\\\"} 1\\nevil{x=\\\"\\\\\"} 1\n");
}

TEST(Exposition, AHistogramCountsUpwards) {
  Histogram histogram;
  histogram.Observe(std::chrono::milliseconds(5));  // on a bound: it belongs to that bucket
  histogram.Observe(std::chrono::milliseconds(6));
  histogram.Observe(std::chrono::seconds(11));
  Exposition out;
  out.Family("t_seconds", MetricKind::kHistogram, "Time.");
  out.Sample({{"m", "x"}}, histogram);
  const std::string text = out.Take();
  EXPECT_NE(text.find("t_seconds_bucket{m=\"x\",le=\"0.005\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("t_seconds_bucket{m=\"x\",le=\"0.01\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("t_seconds_bucket{m=\"x\",le=\"10\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("t_seconds_bucket{m=\"x\",le=\"+Inf\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("t_seconds_sum{m=\"x\"} 11.011\n"), std::string::npos) << text;
  EXPECT_NE(text.find("t_seconds_count{m=\"x\"} 3\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace corten::daemon
