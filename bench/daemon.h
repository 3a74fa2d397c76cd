// A daemon that the bench starts, watches from outside and stops; or one that somebody else runs.
//
// Life cycle: the constructor starts it and returns when it has answered; Stop (or the destructor)
// ends it. One that was running already is only called, never stopped. Root and state directory
// stay: nothing is deleted while figures are taken, since ext4 is slow where a big tree has just
// been removed. Threads: one.
#pragma once

#include <string>
#include <vector>

#include "base/spawn.h"
#include "cpu_group.h"

namespace corten::bench {

// A daemon under test: what it is called, and its program or (of one that runs already) its socket.
struct Candidate {
  std::string name;
  std::string program;
  std::string socket;
};

// In KiB, of /proc/PID/smaps_rollup and /proc/PID/status.
struct ProcessFacts {
  double rss = 0;
  double private_dirty = 0;
  double peak_rss = 0;
  double threads = 0;
  double fds = 0;
};
ProcessFacts FactsOf(pid_t pid);

enum class DaemonConfig {
  kSame,      // what both daemons have: no CRI, no NRI
  kDefaults,  // nothing disabled
};

class Daemon {
 public:
  struct Places {
    std::string root;   // made if missing; an existing one is served again
    std::string group;  // CPU group, see CpuGroup
    std::string home;   // the group that the bench itself is in
  };
  Daemon(const Candidate& candidate, const Places& places, DaemonConfig config);
  // Of a candidate with a socket: calls only.
  Daemon(const Candidate& candidate, const std::string& group);
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon() { Stop(); }

  // SIGTERM and wait; SIGKILL after 20 s. Its containers and shims go on.
  void Stop();

  const std::string& name() const { return candidate_.name; }
  const std::string& socket() const { return socket_; }
  pid_t pid() const { return child_.pid(); }
  // Whether memory and CPU time can be told: not of a daemon that was running already.
  bool ours() const { return candidate_.socket.empty(); }
  // From just before the spawn to the first answer.
  double start_ms() const { return start_ms_; }
  const CpuGroup& group() const { return group_; }
  ProcessFacts Facts() const { return FactsOf(pid()); }
  std::vector<pid_t> Shims() const;

 private:
  const Candidate candidate_;
  CpuGroup group_;
  std::string socket_;
  Child child_;
  double start_ms_ = 0;
};

}  // namespace corten::bench
