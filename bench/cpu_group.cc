#include "cpu_group.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "must.h"

namespace corten::bench {

namespace {

bool Unified() {
  struct stat st = {};
  return stat("/sys/fs/cgroup/cgroup.controllers", &st) == 0;
}

std::string PathOf(const std::string& name) {
  return StrCat(Unified() ? "/sys/fs/cgroup/" : "/sys/fs/cgroup/cpuacct/", name);
}

// Version 1 moves a thread, version 2 only the whole process.
void MoveTo(const std::string& name) {
  const std::string file = StrCat(PathOf(name), Unified() ? "/cgroup.procs" : "/tasks");
  FILE* out = fopen(file.c_str(), "we");
  const long id = Unified() ? getpid() : syscall(SYS_gettid);
  if (out == nullptr || fprintf(out, "%ld", id) < 0 || fclose(out) != 0)
    Fail(StrCat(file, ": ", strerror(errno)));
}

}  // namespace

double GroupUsageMs(const std::string& name) {
  if (!Unified()) {
    double nanoseconds = 0;
    std::ifstream(PathOf(name) + "/cpuacct.usage") >> nanoseconds;
    return nanoseconds / 1e6;
  }
  std::ifstream file(PathOf(name) + "/cpu.stat");
  std::string key;
  double value = 0;
  while (file >> key >> value) {
    if (key == "usage_usec") return value / 1e3;
  }
  return 0;
}

void CpuGroup::Make() const {
  for (const char* part : {"", "/daemon"}) {
    const std::string path = PathOf(name_) + part;
    if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
      Fail(StrCat(path, ": ", strerror(errno), " (bench/run.sh makes the group above it)"));
  }
}

void CpuGroup::Enter() const { MoveTo(name_ + "/daemon"); }

void CpuGroup::Leave(const std::string& home) { MoveTo(home); }

double CpuGroup::UsageMs() const { return GroupUsageMs(name_); }

std::vector<pid_t> CpuGroup::Pids() const {
  std::ifstream file(PathOf(name_) + "/daemon/cgroup.procs");
  std::vector<pid_t> pids;
  for (pid_t pid = 0; file >> pid;) pids.push_back(pid);
  return pids;
}

}  // namespace corten::bench
