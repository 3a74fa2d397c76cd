// Rows 21 to 24: a registry on loopback, an empty root for every round, and the same client: pull
// and unpack of many files in gzip and zstd, of one big file, and of busybox.
//
// Wall time includes the client's own start; CPU and peak memory are the daemon's.
#include "journeys.h"

namespace corten::bench {

namespace {

struct Shape {
  const char* row;
  const char* image;
  const char* quick_image;  // of the small set
  std::optional<Goal> wall;
  std::optional<Goal> cpu;
  std::optional<Goal> peak;
  int rounds;
};
const Shape kShapes[] = {
    {"21", "many-gzip", "many-gzip", AtMost(0.40), AtMost(0.60), AtMost(0.40), 3},
    {"22", "many-zstd", "many-zstd", AtMost(0.50), AtMost(0.70), {}, 3},
    {"23", "big", "odd", AtMost(0.60), AtMost(0.85), {}, 3},
    {"24", "busybox", "busybox", AtMost(0.40), {}, {}, 10},
};

void Pull(Run& run, const Candidate& candidate, const Shape& shape, const std::string& image,
          const std::string& what, const std::vector<std::string>& flags) {
  const std::unique_ptr<Daemon> daemon = run.Start(candidate, DaemonConfig::kSame);
  std::vector<std::string> args = {"images", "pull", "--plain-http"};
  args.insert(args.end(), flags.begin(), flags.end());
  args.push_back(StrCat(run.options().registry, "/", image, ":1"));
  const double cpu = daemon->group().UsageMs();
  const auto begin = Now();
  run.Ctr(*daemon, args);
  const double wall = Millis(begin);
  const std::string& name = candidate.name;
  run.report().Add({shape.row, what, "ms", shape.wall}, name, wall);
  const std::string suffix = flags.empty() ? "" : StrCat(", ", flags.back());
  run.report().Add({shape.row, StrCat("  server CPU", suffix), "ms", shape.cpu}, name,
                   daemon->group().UsageMs() - cpu);
  run.report().Add({shape.row, StrCat("  peak RSS", suffix), "KiB", shape.peak}, name,
                   daemon->Facts().peak_rss);
}

}  // namespace

void MeasurePull(Run& run) {
  if (run.options().registry.empty()) Fail("rows 21 to 24 need --registry");
  std::vector<Candidate> candidates = run.options().candidates;
  for (const Shape& shape : kShapes) {
    if (!run.Wants(shape.row) && !run.Wants("pull")) continue;
    const std::string image = run.options().quick ? shape.quick_image : shape.image;
    run.Alternate(run.N(shape.rounds, 1), candidates, [&](const Candidate& candidate) {
      Pull(run, candidate, shape, image, StrCat("pull and unpack ", image), {});
    });
    if (std::string(shape.row) != "21") continue;
    // What is unpacked is flushed before it is committed, on both sides.
    Shape durable = shape;
    durable.wall = AtMost(0.50);
    durable.cpu = durable.peak = std::nullopt;
    run.Alternate(run.N(2, 1), candidates, [&](const Candidate& candidate) {
      Pull(run, candidate, durable, image, StrCat("  with --local --sync-fs, ", image),
           {"--local", "--sync-fs"});
    });
  }
}

}  // namespace corten::bench
