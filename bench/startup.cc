// Rows 1 and 3: from spawn to the first answer on an empty root, and what an idle daemon holds.
#include <thread>

#include "journeys.h"

namespace corten::bench {

namespace {

constexpr std::chrono::seconds kSettle{5};
const Figure kStart{"1", "cold start, empty store", "ms", AtMost(0.10)};
const Figure kStartDefaults{"1", "  every plugin on (CRI and NRI too)", "ms", {}};
const char* const kDefaultsSuffix = "  every plugin on: ";

void ColdStart(Run& run, const Candidate& candidate, DaemonConfig config, const Figure& figure) {
  const std::unique_ptr<Daemon> daemon = run.Start(candidate, config);
  run.report().Add(figure, daemon->name(), daemon->start_ms());
  run.report().Add(
      {figure.row,
       StrCat("  CPU until then, ", figure.what.substr(figure.what.find_first_not_of(' '))),
       "ms",
       {}},
      daemon->name(), daemon->group().UsageMs());
}

void AddIdle(Run& run, const Daemon& daemon, const std::string& prefix, bool with_goal) {
  const ProcessFacts facts = daemon.Facts();
  const auto add = [&](const char* what, const char* unit, double value, std::optional<Goal> goal) {
    run.report().Add({"3", StrCat(prefix, what), unit, with_goal ? goal : std::nullopt},
                     daemon.name(), value);
  };
  add("RSS", "KiB", facts.rss, AtMost(0.40));
  add("private dirty", "KiB", facts.private_dirty, AtMost(0.25));
  add("threads", "", facts.threads, {});
  add("descriptors", "", facts.fds, {});
}

}  // namespace

void MeasureStartup(Run& run) {
  std::vector<Candidate> candidates = run.options().candidates;
  if (run.Wants("1") || run.Wants("startup")) {
    run.Alternate(run.N(20, 1), candidates, [&](const Candidate& candidate) {
      ColdStart(run, candidate, DaemonConfig::kSame, kStart);
      ColdStart(run, candidate, DaemonConfig::kDefaults, kStartDefaults);
    });
  }
  if (!run.Wants("3") && !run.Wants("startup")) return;
  for (int round = 0; round < run.N(3, 1); ++round) {
    std::vector<std::unique_ptr<Daemon>> same;
    std::vector<std::unique_ptr<Daemon>> defaults;
    for (const Candidate& candidate : candidates) {
      same.push_back(run.Start(candidate, DaemonConfig::kSame));
      defaults.push_back(run.Start(candidate, DaemonConfig::kDefaults));
    }
    std::this_thread::sleep_for(run.options().quick ? std::chrono::seconds(0) : kSettle);
    for (const auto& daemon : same) AddIdle(run, *daemon, "idle daemon: ", true);
    for (const auto& daemon : defaults) AddIdle(run, *daemon, kDefaultsSuffix, false);
  }
}

}  // namespace corten::bench
