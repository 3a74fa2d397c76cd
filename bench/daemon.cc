#include "daemon.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/fd.h"
#include "must.h"
#include "version_probe.h"

namespace corten::bench {

namespace {

constexpr std::chrono::milliseconds kStartLimit{60000};
constexpr std::chrono::milliseconds kStopLimit{20000};

// The same file for both. Fixed places outside the scratch directory are moved into it.
std::string ConfigText(const std::string& root, DaemonConfig config) {
  std::string text = "version = 3\n";
  if (config == DaemonConfig::kSame) {
    text +=
        "disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', "
        "'io.containerd.cri.v1.runtime', 'io.containerd.podsandbox.controller.v1.podsandbox', "
        "'io.containerd.nri.v1.nri']\n";
  }
  return StrCat(text, "[plugins.'io.containerd.internal.v1.opt']\n  path = '", root, "/opt'\n");
}

// Its own directory first, then where a build tree keeps the shim, then ours.
std::string PathFor(const std::string& program) {
  const std::string dir = program.substr(0, program.rfind('/'));
  const char* path = getenv("PATH");
  return StrCat("PATH=", dir, ":", dir, "/../shim:", path == nullptr ? "/usr/bin:/bin" : path);
}

std::vector<std::string> Environment(const std::string& program) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (strncmp(*entry, "PATH=", 5) != 0) out.emplace_back(*entry);
  }
  out.push_back(PathFor(program));
  return out;
}

double CountEntries(const std::string& path) {
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) return 0;
  double count = 0;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') ++count;
  }
  (void)closedir(dir);
  return count;
}

}  // namespace

ProcessFacts FactsOf(pid_t pid) {
  ProcessFacts facts;
  const std::string proc = StrCat("/proc/", pid);
  const auto read = [&](const char* name, const std::map<std::string, double*>& wanted) {
    std::ifstream file(proc + name);
    std::string line;
    while (std::getline(file, line)) {
      const size_t colon = line.find(':');
      const auto found = wanted.find(line.substr(0, colon));
      if (colon != std::string::npos && found != wanted.end())
        *found->second = strtod(line.c_str() + colon + 1, nullptr);
    }
  };
  read("/smaps_rollup", {{"Rss", &facts.rss}, {"Private_Dirty", &facts.private_dirty}});
  read("/status", {{"VmHWM", &facts.peak_rss}, {"Threads", &facts.threads}});
  facts.fds = CountEntries(proc + "/fd");
  return facts;
}

Daemon::Daemon(const Candidate& candidate, const Places& places, DaemonConfig config)
    : candidate_(candidate), group_(places.group) {
  group_.Make();
  std::filesystem::create_directories(places.root);
  // As shipped, the state lives in /run, which is in memory.
  const std::string state = StrCat("/run/", places.group);
  std::filesystem::create_directories(state);
  socket_ = state + "/c.sock";
  (void)unlink(socket_.c_str());
  const std::string config_file = state + "/config.toml";
  std::ofstream(config_file) << ConfigText(places.root, config);
  const std::string log_file = places.root + ".log";
  const Fd log(open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log.valid()) Fail(StrCat(log_file, ": ", strerror(errno)));

  SpawnOptions options;
  options.args = {candidate_.program, "--config",   config_file, "--root", places.root,
                  "--state",          state + "/s", "--address", socket_};
  options.env = Environment(candidate_.program);
  options.fds = {{log, 1}, {log, 2}};
  options.new_session = true;
  group_.Enter();
  const auto begin = std::chrono::steady_clock::now();
  Result<Child> child = Spawn(options);
  const bool answered = child.ok() && AnswersVersion(socket_, kStartLimit);
  start_ms_ =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  CpuGroup::Leave(places.home);
  child_ = Must(std::move(child), candidate_.program);
  if (!answered) Fail(StrCat(candidate_.program, " does not answer; see ", log_file));
}

Daemon::Daemon(const Candidate& candidate, const std::string& group)
    : candidate_(candidate), group_(group), socket_(candidate.socket) {}

void Daemon::Stop() {
  if (child_.pid() < 0) return;
  (void)child_.Kill(SIGTERM);
  (void)child_.WaitFor(kStopLimit);  // the destructor of the old child kills what is still there
  child_ = Child();
}

std::vector<pid_t> Daemon::Shims() const {
  std::vector<pid_t> shims;
  for (const pid_t each : group_.Pids()) {
    if (each != pid()) shims.push_back(each);
  }
  return shims;
}

}  // namespace corten::bench
