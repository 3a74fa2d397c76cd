// One run of the bench: which daemons, which rows, how many repeats, and where the samples go.
//
// A journey (journeys.h) measures one or more rows. It either uses the daemons that are shared by
// all calls-only journeys, or starts fresh ones. Threads: one.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "report.h"
#include "target.h"

namespace corten::bench {

struct RunOptions {
  std::vector<Candidate> candidates;
  std::string work_dir;   // scratch on the disk under test
  std::string group;      // CPU group that bench/run.sh made; the bench is in GROUP/client
  std::string ctr;        // a containerd client: imports and pulls
  std::string archive;    // the busybox image as an archive
  std::string reference;  // its name
  std::string registry;   // loopback registry that holds the image shapes; empty: rows 21-24 fail
  std::string crun;       // empty: no crun rows
  std::set<std::string> rows;  // numbers or journeys; empty: all
  bool quick = false;          // tiny counts: proves that the code runs, the figures say nothing
};

class Run {
 public:
  explicit Run(RunOptions options);

  const RunOptions& options() const { return options_; }
  Report& report() { return report_; }
  // How often: `full`, or `quick` in a quick run.
  int N(int full, int quick) const { return options_.quick ? quick : full; }
  bool Wants(const std::string& row_or_journey) const;

  // A daemon on an empty root, or on the given one.
  std::unique_ptr<Daemon> Start(const Candidate& candidate, DaemonConfig config,
                                const std::string& root = "");
  std::string FreshRoot(const Candidate& candidate);
  // Runs `ctr` against a daemon and ends the program if it fails.
  void Ctr(const Daemon& daemon, const std::vector<std::string>& args) const;
  void Import(Target& target) const;

  // Daemons that live until the run ends, with the busybox image in them. Started at first use.
  std::vector<Target*> Shared();
  void StopShared();

  // Calls work(each) `rounds` times for each, beginning with another one each round.
  template <typename Each, typename Work>
  void Alternate(int rounds, std::vector<Each>& all, const Work& work) {
    for (int round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < all.size(); ++i)
        work(all[(i + static_cast<size_t>(round)) % all.size()]);
    }
  }
  // A name that nobody has had in this run: OCI runtimes know a container by namespace and id, and
  // both daemons' containers live on one machine.
  std::string Unique(const std::string& prefix) { return StrCat(prefix, "-", turn_++); }

 private:
  const RunOptions options_;
  Report report_;
  std::atomic<int> turn_{0};
  std::vector<std::unique_ptr<Daemon>> shared_daemons_;
  std::vector<std::unique_ptr<Target>> shared_;
};

// Milliseconds since `from`.
double Millis(std::chrono::steady_clock::time_point from);
inline std::chrono::steady_clock::time_point Now() { return std::chrono::steady_clock::now(); }

}  // namespace corten::bench
