// A control group that counts the CPU time of a daemon and everything it starts.
//
// Layout below the machine's root: NAME/daemon (the daemon, its shims and runtimes), NAME/c/ID (the
// containers, put there by their spec). Works with cpuacct of version 1 and with version 2.
// Threads: one thread enters and leaves; reading is free for all.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace corten::bench {

class CpuGroup {
 public:
  explicit CpuGroup(std::string name) : name_(std::move(name)) {}
  // Makes NAME and NAME/daemon; ends the program when there is no such hierarchy.
  void Make() const;

  // What the calling thread spawns until Leave is born inside NAME/daemon. Leave goes to `home`.
  void Enter() const;
  static void Leave(const std::string& home);

  // CPU time used so far by everything in it, in milliseconds.
  double UsageMs() const;
  // Processes in NAME/daemon: the daemon and its shims, and runtimes while they run.
  std::vector<pid_t> Pids() const;
  // What a spec names as parent of its container, without the leading slash.
  std::string containers() const { return name_ + "/c"; }

 private:
  std::string name_;
};

// Of any group: CPU time in milliseconds, 0 if it is not there.
double GroupUsageMs(const std::string& name);

}  // namespace corten::bench
