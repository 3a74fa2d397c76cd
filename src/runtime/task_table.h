// What the daemon knows of its tasks, in memory: one entry per task, fed by replies and events,
// read by everybody.
//
// Life cycle of an entry: Reserve -> Attach -> Created (or Adopt) -> TakeForRemoval or ShimLost ->
// Remove. Rules:
//  * A status only moves forward: created, running, stopped. What arrives late (a reply after the
//  exit event, an event of
//    an earlier process with the same id) changes nothing; processes are told apart by pid and
//    generation.
//  * One exit per process (I6): the first report fixes status and time; Admit lets one exit event
//  through, whoever made it.
//  * A departed task is remembered for a while, so that its late events are neither lost nor
//  doubled.
//  * So is an exit that was told before its process was entered: shims tell what ended while no
//  daemon ran as soon as one listens, recovery is still under way then.
// The table knows shims only as pointers to compare; it calls nobody except waiters.
//
// Threads: thread-safe. Waiters run on the thread that brought the news, outside the lock, and must
// not block. Bounds: kMaxExecs per task, kMaxWaiters in all, kMaxDeparted remembered.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "os/cgroup.h"
#include "runtime/bundle.h"
#include "runtime/keys.h"
#include "runtime/process_state.h"
#include "runtime/task_event.h"

namespace corten::runtime {

class ShimClient;

// What a task's calls need.
struct TaskLink {
  std::shared_ptr<ShimClient> shim;  // shared with the pool and the other tasks of the pod
  std::string binary;                // shim program, for `delete`; empty: joined by sandbox
  std::string runtime;               // runtime name or path as asked for
  bool joined_sandbox = false;       // the shim belongs to a sandbox: never shut down with a task
  bool keeps_events = false;         // the shim sends each event until it is acknowledged
};

class TaskTable {
 public:
  static constexpr size_t kMaxExecs = 8192;
  static constexpr size_t kMaxWaiters = 65536;
  static constexpr size_t kMaxDeparted = 1024;

  using Waiter = std::function<void(Result<ExitInfo>)>;
  using WaitId = uint64_t;  // 0 is never a wait

  // --- creation ---
  // Takes the key. kAlreadyExists: `task ID: already exists`.
  Status Reserve(const TaskKey& key);
  // Gives it back after a failed creation.
  void Abandon(const TaskKey& key);
  // REQUIRES: reserved.
  void Attach(const TaskKey& key, TaskLink link, const Stdio& io);
  void Created(const TaskKey& key, uint32_t pid);
  // Enters a task that was found running (or stopped). REQUIRES: reserved.
  void Adopt(const TaskKey& key, TaskLink link, const ProcessState& init);

  // --- lookups; an entry under creation, removal or with a dead shim is not found ---
  // kNotFound: `task ID not found`.
  Result<TaskLink> Find(const TaskKey& key) const;
  // nullopt: no such process here, or its state is not known for certain: ask the shim and Merge
  // the answer.
  std::optional<ProcessState> State(const ProcessKey& process) const;
  std::vector<ProcessState> List(const model::Namespace& ns) const;
  // A live task whose figures are wanted, and where they stand, if that is known.
  struct Metered {
    TaskLink link;
    ProcessState init;
    std::shared_ptr<const os::CgroupPlace> cgroup;  // shared with whoever is reading there
  };
  std::vector<Metered> Meter(const model::Namespace& ns) const;
  // Remembers the cgroup of a task while it lives. False, and nothing is remembered, unless its
  // init still has this pid and has not ended: only then was the pid surely its own when `place`
  // was read.
  bool SetCgroup(const TaskKey& key, uint32_t pid, std::shared_ptr<const os::CgroupPlace> place);
  // Every live task, of all namespaces.
  std::vector<std::pair<TaskKey, ProcessState>> ListAll() const;

  // --- transitions by replies ---
  // kNotFound, kResourceExhausted. `io` is what Exec was asked for.
  Status ExecAdded(const ProcessKey& process, const Stdio& io);
  void Starting(const ProcessKey& process);
  void Started(const ProcessKey& process, uint32_t pid);
  void StartFailed(const ProcessKey& process);
  void SetPause(const TaskKey& key,
                ProcessStatus status);  // kPausing, kPaused or kRunning; ignored once stopped
  // A call had an unknown outcome: State answers nullopt until Merge.
  void Doubt(const TaskKey& key);
  void Merge(const ProcessKey& process, const ProcessState& state);
  void ExecDeleted(const ProcessKey& process);

  // --- exits ---
  // The generation of a process that nobody watches yet (then it counts as watched), or 0.
  uint64_t BeginWatch(const ProcessKey& process);
  // The shim said so in an answer. generation 0: whatever process has the name now.
  void Exited(const ProcessKey& process, uint64_t generation, const ExitInfo& exit);
  // The shim answered a wait without an exit: the start failed. Waiters get that answer, the status
  // stays as it is.
  void NeverRan(const ProcessKey& process, uint64_t generation, const ExitInfo& answer);
  // Calls `waiter` once when the process has exited (inside this call if it has already): its exit,
  // or kNotFound when it went without one. Returns 0 if called already. Errors: kNotFound `task ID
  // not found`, or kNotFound without that text for an unknown exec; kResourceExhausted.
  Result<WaitId> Wait(const ProcessKey& process, Waiter waiter);
  // Takes the waiter back; false: it has been called or is being called.
  bool CancelWait(WaitId wait);
  bool KnowsProcess(const ProcessKey& process) const;

  // --- events ---
  // Applies an event that a shim sent. False: it was published before and must not be again.
  bool Admit(const TaskEvent& event);

  // --- the end ---
  // Ends the life of a task; its entry keeps the key until Remove. False: somebody else does that
  // already.
  bool TakeForRemoval(const TaskKey& key);
  // What has not been told yet about a task, in the order of telling; told counts as published.
  struct Untold {
    TaskKey key;
    std::vector<std::pair<ProcessKey, ExitInfo>> exits;
    std::optional<ExitInfo> deleted;
  };
  // The connection to `shim` is gone: its live tasks, now without a life.
  std::vector<std::pair<TaskKey, TaskLink>> ShimLost(const ShimClient* shim);
  // Of a task whose shim died: fixes the exits of everything that still ran (execs: 255) and hands
  // out what is untold, init last. `exit` is what `delete` said.
  Untold Bury(const TaskKey& key, const ExitInfo& exit);
  // Drops the entry: waiters get their exit (`exit`, if none was known and it says something), or
  // kNotFound. The shim may still tell exit and delete; the task is remembered as departed until
  // then.
  void Remove(const TaskKey& key, const ExitInfo& exit);
  // Departed tasks of a shim that will tell nothing more: what it left out. Counts as told. Exits
  // that an earlier daemon may have told are left out by shims that keep no events only.
  std::vector<Untold> LeftOut(const ShimClient* shim);
  // Fails every waiter, e.g. at shutdown of the daemon.
  void FailWaiters(const Error& why);

 private:
  enum class Phase : uint8_t { kCreating, kLive, kLeaving };
  struct Process {
    ProcessState state;
    uint64_t generation = 0;
    bool io_known = true;
    bool starting = false;
    bool watched = false;
    bool exit_told = false;
    bool shim_tells = false;  // found stopped: its shim has told the exit, or still will
    bool certain = true;
    std::map<WaitId, Waiter> waiters;
  };
  struct Task {
    Phase phase = Phase::kCreating;
    TaskLink link;
    Process init;
    std::map<std::string, Process> execs;
    bool delete_told = false;
    std::shared_ptr<const os::CgroupPlace> cgroup;  // null until somebody wanted figures
  };
  struct Departed {
    ProcessKey process;
    ExitInfo exit;
    bool exit_told = false;
    bool ended = false;                // exit is known
    bool delete_told = false;          // init only; execs start told
    const ShimClient* shim = nullptr;  // compared, never used
    bool shim_tells = false;           // as in Process
  };
  using Calls = std::vector<std::pair<Waiter, Result<ExitInfo>>>;

  const Process* FindProcess(const ProcessKey& process) const;
  Process* FindProcess(const ProcessKey& process);
  bool Fix(Process& process, const ExitInfo& exit, Calls* calls);
  static ProcessState View(const Task& task, const Process& process);
  Departed* FindDeparted(const ProcessKey& process, uint32_t pid);
  void Depart(Departed departed);
  void Enter(const TaskLink& link, const ProcessKey& process, Process* entered);
  bool TakeTold(const ProcessKey& process, uint32_t pid);
  void Drop(Process& process, Calls* calls);
  bool AdmitExit(const TaskEvent& event, Calls* calls);

  mutable std::mutex mutex_;  // guards everything below; never held while a waiter runs
  std::map<TaskKey, Task> tasks_;
  std::map<WaitId, ProcessKey> waits_;
  std::deque<Departed> departed_;
  WaitId next_wait_ = 1;
  uint64_t next_generation_ = 1;
};

}  // namespace corten::runtime
