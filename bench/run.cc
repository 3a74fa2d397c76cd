#include "run.h"

#include <filesystem>

#include "base/spawn.h"

namespace corten::bench {

namespace {

constexpr std::chrono::milliseconds kClientLimit{300000};

std::vector<std::string> Names(const std::vector<Candidate>& candidates) {
  std::vector<std::string> names;
  for (const Candidate& candidate : candidates) names.push_back(candidate.name);
  return names;
}

}  // namespace

double Millis(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration<double, std::milli>(Now() - from).count();
}

Run::Run(RunOptions options) : options_(std::move(options)), report_(Names(options_.candidates)) {}

bool Run::Wants(const std::string& row_or_journey) const {
  return options_.rows.empty() || options_.rows.contains(row_or_journey);
}

std::string Run::FreshRoot(const Candidate& candidate) {
  return StrCat(options_.work_dir, "/", Unique(candidate.name));
}

std::unique_ptr<Daemon> Run::Start(const Candidate& candidate, DaemonConfig config,
                                   const std::string& root) {
  if (!candidate.socket.empty())
    Fail(StrCat(candidate.name, ": this row needs a daemon that the bench starts itself"));
  Daemon::Places places;
  places.root = root.empty() ? FreshRoot(candidate) : root;
  places.group = StrCat(options_.group, "/", Unique(candidate.name));
  places.home = options_.group + "/client";
  return std::make_unique<Daemon>(candidate, places, config);
}

void Run::Ctr(const Daemon& daemon, const std::vector<std::string>& args) const {
  SpawnOptions spawn;
  spawn.args = {options_.ctr, "--address", daemon.socket(), "--namespace", kNamespace};
  spawn.args.insert(spawn.args.end(), args.begin(), args.end());
  const RunOutput output = Must(RunProgram(spawn, "", kClientLimit), "ctr");
  if (!output.status.ok()) Fail(StrCat("ctr ", args[0], " ", args[1], ": ", output.err));
}

void Run::Import(Target& target) const {
  Ctr(target.daemon(), {"images", "import", "--local", options_.archive});
  target.UseImage(options_.reference);
}

std::vector<Target*> Run::Shared() {
  if (shared_.empty()) {
    for (const Candidate& candidate : options_.candidates) {
      shared_daemons_.push_back(
          candidate.socket.empty()
              ? Start(candidate, DaemonConfig::kSame)
              : std::make_unique<Daemon>(candidate, StrCat(options_.group, "/", candidate.name)));
      shared_.push_back(std::make_unique<Target>(*shared_daemons_.back()));
      Import(*shared_.back());
    }
  }
  std::vector<Target*> out;
  for (const std::unique_ptr<Target>& each : shared_) out.push_back(each.get());
  return out;
}

void Run::StopShared() {
  shared_.clear();
  shared_daemons_.clear();
}

}  // namespace corten::bench
