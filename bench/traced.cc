// Execs, flushes, processes, mounts and system calls per operation, counted by strace: what no
// clock decides. The daemon and everything it starts are followed, containers too (whose own
// program is one of the execs, on both sides).
#include <algorithm>
#include <csignal>
#include <fstream>

#include "base/hash.h"
#include "base/spawn.h"
#include "journeys.h"
#include "oci/spec.h"

namespace corten::bench {

namespace {

// What comes after the last answer, such as a shim's end, belongs to the operation too.
constexpr std::chrono::milliseconds kAfterwards{400};
constexpr std::chrono::seconds kAttachLimit{30};

struct Counts {
  int execs = 0;      // that succeeded
  int flushes = 0;    // fsync, fdatasync, syncfs, sync
  int processes = 0;  // forks of every kind, no threads
  int mounts = 0;     // mounts and unmounts
  int calls = 0;      // system calls, all of them
};

// The part of a trace between two moments of the realtime clock, in seconds.
struct Window {
  std::string operation;
  double begin = 0;
  double end = 0;
  Counts counts;
};

double RealTime() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// One line of `strace -f -ttt -o`: PID SECONDS CALL. A call that others interrupt has two lines,
// the second of which begins with `<... NAME resumed>`.
void CountLine(std::string_view call, Counts* counts) {
  const bool resumed = call.starts_with("<... ");
  if (call.starts_with("---") || call.starts_with("+++")) return;
  const std::string_view name =
      resumed ? call.substr(5, call.find(' ', 5) - 5) : call.substr(0, call.find('('));
  const auto is = [&](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (is({"execve", "execveat"}) && call.ends_with(" = 0")) ++counts->execs;
  if (resumed) return;  // counted when it began
  ++counts->calls;
  if (is({"fsync", "fdatasync", "syncfs", "sync"})) ++counts->flushes;
  if (is({"clone", "clone3", "fork", "vfork"}) &&
      call.find("CLONE_THREAD") == std::string_view::npos)
    ++counts->processes;
  if (is({"mount", "umount2", "fsmount", "move_mount"})) ++counts->mounts;
}

void CountTrace(const std::string& file, std::vector<Window>* windows) {
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    char* rest = nullptr;
    (void)strtol(line.c_str(), &rest, 10);
    const double when = strtod(rest, &rest);
    while (*rest == ' ') ++rest;
    for (Window& window : *windows) {
      if (when >= window.begin && when < window.end) CountLine(rest, &window.counts);
    }
  }
}

// strace on a running daemon.
class Trace {
 public:
  Trace(const Daemon& daemon, std::string file) : file_(std::move(file)) {
    SpawnOptions options;
    options.args = {"strace",      "-f", "-ttt", "-qq", "-e",
                    "signal=none", "-o", file_,  "-p",  StrCat(daemon.pid())};
    child_ = Must(Spawn(options), "strace");
    const auto end = Now() + kAttachLimit;
    while (!Attached(daemon.pid())) {
      if (Now() > end) Fail("strace does not attach");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::this_thread::sleep_for(kAfterwards);  // to the other threads as well
  }
  // Lets the daemon go; the file is whole then.
  void End() {
    (void)child_.Kill(SIGINT);
    (void)Must(child_.Wait(), "strace");
  }
  const std::string& file() const { return file_; }

 private:
  static bool Attached(pid_t pid) {
    std::ifstream in(StrCat("/proc/", pid, "/status"));
    std::string line;
    while (std::getline(in, line)) {
      if (line.starts_with("TracerPid:")) return strtol(line.c_str() + 10, nullptr, 10) != 0;
    }
    return false;
  }
  const std::string file_;
  Child child_;
};

// Every operation once, each in a window of its own.
class Operations {
 public:
  Operations(Run& run, Target& target, std::vector<Window>* windows)
      : run_(run), target_(target), windows_(windows) {}

  void Pull(const std::string& reference) {
    Watch("pull busybox",
          [&] { run_.Ctr(target_.daemon(), {"images", "pull", "--plain-http", reference}); });
  }
  void Metadata() {
    const model::Scope scope = PlainScope();
    const metadata::Container row = target_.MakeContainer(run_.Unique("traced"), {"/bin/true"}, {});
    Watch("Containers.Create",
          [&] { Must(target_.containers().Create(scope, row), "create container"); });
    Watch("Containers.Delete",
          [&] { Must(target_.containers().Delete(scope, row.id), "delete container"); });
    const std::string key = run_.Unique("traced");
    const auto snapshots = target_.Snapshots(scope);
    Watch("Snapshots.Prepare",
          [&] { Must(snapshots->Prepare(key, target_.chain_id(), kRoot), "prepare"); });
    Watch("Snapshots.Remove", [&] { Must(snapshots->Remove(key), "remove"); });
    const std::string data = run_.Unique("a small blob");
    model::Descriptor descriptor;
    descriptor.digest = Must(model::Digest::Parse(Sha256Digest(data)), "digest");
    descriptor.size = static_cast<int64_t>(data.size());
    Watch("write a small blob", [&] {
      const auto content = target_.stores().Content(scope);
      Must(content::WriteBlob(*content, data, data, descriptor, kRoot), "write blob");
    });
  }
  void Cycle() {
    const std::string id = run_.Unique("traced");
    model::ContainerId kept;
    Watch("run a container", [&] { kept = target_.Keep(id, {}); });
    const metadata::Container row =
        Must(target_.containers().Get(PlainScope().ns, kept), "get container");
    const std::string process =
        Must(oci::MakeExecProcess(row.spec->value, {"/bin/true"}, {}, /*terminal=*/false, ""),
             "process");
    Watch("exec", [&] {
      const model::ExecId exec(run_.Unique("exec"));
      Must(target_.tasks().Exec(kept, exec, {std::string(oci::kProcessType), process}, {}), "exec");
      Must(target_.tasks().Start(kept, exec), "start exec");
      Must(target_.tasks().Wait(kept, exec), "wait exec");
      Must(target_.tasks().Delete(kept, exec), "delete exec");
    });
    Watch("kill and remove a container", [&] { target_.Drop(kept); });
  }

 private:
  template <typename Work>
  void Watch(const std::string& operation, const Work& work) {
    const double begin = RealTime();
    work();
    std::this_thread::sleep_for(kAfterwards);
    windows_->push_back({operation, begin, RealTime(), {}});
  }
  Run& run_;
  Target& target_;
  std::vector<Window>* windows_;  // borrowed
};

void TraceOne(Run& run, const Candidate& candidate) {
  const std::unique_ptr<Daemon> daemon = run.Start(candidate, DaemonConfig::kSame);
  Target target(*daemon);
  Trace trace(*daemon, run.FreshRoot(candidate) + ".trace");
  std::vector<Window> windows;
  Operations operations(run, target, &windows);
  const std::string reference = run.options().registry + "/busybox:1";
  operations.Pull(reference);
  target.UseImage(reference);
  for (int round = 0; round < run.N(3, 1); ++round) {
    operations.Metadata();
    operations.Cycle();
  }
  trace.End();
  CountTrace(trace.file(), &windows);
  for (const Window& window : windows) {
    const auto add = [&](const char* what, int value) {
      run.report().Add({"ops", StrCat(window.operation, ": ", what), "", {}}, candidate.name,
                       value);
    };
    add("execs", window.counts.execs);
    add("flushes", window.counts.flushes);
    add("processes", window.counts.processes);
    add("mounts and unmounts", window.counts.mounts);
    add("system calls", window.counts.calls);
  }
}

}  // namespace

void MeasureTraced(Run& run) {
  if (run.options().registry.empty()) Fail("ops need --registry");
  for (const Candidate& candidate : run.options().candidates) TraceOne(run, candidate);
}

}  // namespace corten::bench
