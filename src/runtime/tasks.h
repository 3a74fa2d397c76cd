// Tasks: the processes of containers, through their shims. The entry header of this room.
//
// A task is made by Create from a container's record, lives in a shim process of its own (or its
// pod's), survives this daemon, and ends with Delete. What clients ask most often (State, List,
// Wait) is answered from memory; memory is fed by the shims' replies and events, and a shim that
// dies is noticed by its connection (task_table.h has the rules).
//
// Results come by callback, exactly once: on the `control` executor as a rule, inside the call when
// nothing has to be waited for, on the shim loop when the executor is full. A callback must not
// block. Whoever waits holds no thread.
//
// Deadlines: CallOptions::deadline bounds the shim call; without one kCallLimit does. A call that
// ran out leaves the shim working; the table then asks the shim for its state again.
//
// A dead shim: its `delete` program runs for each of its containers, one exit and one delete event
// are published for each, rootfs is unmounted and the bundle removed (runtime.md 4).
//
// Threads: all methods from any thread; none blocks except Recover and the destructor. The
// destructor leaves containers and shims alone. Crash: see bundle.h and shim_start.h; recovery.h
// puts everything right again. Error texts are containerd's, because clients match on them; golden
// in tests/integration. Source: containerd API 2.3 tasks service and runtime v2.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/executor.h"
#include "base/fd.h"
#include "events/exchange.h"
#include "metadata/stores.h"
#include "model/labels.h"
#include "model/mount.h"
#include "runtime/keys.h"
#include "runtime/process_state.h"
#include "runtime/recovery.h"
#include "runtime/shim_start.h"

namespace corten::runtime {

// Longest wait for one shim call when the client set no deadline (Wait has none).
inline constexpr std::chrono::minutes kCallLimit{10};

template <typename T>
using Done = std::function<void(Result<T>)>;

struct CallOptions {
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

struct CreateRequest {
  TaskKey task;  // the container's record must exist
  std::vector<model::Mount> rootfs;
  Stdio io;
  std::string checkpoint;  // not empty: kUnimplemented
  std::optional<model::Any>
      options;                   // wins over the container's runtime options when it has a value
  std::string runtime_path;      // wins over the container's runtime name
  std::string task_api_address;  // "ttrpc+unix:///...": join this shim, start none
  uint32_t task_api_version = 0;
};

struct ExecRequest {
  ProcessKey process;
  Stdio io;
  std::optional<model::Any> spec;  // JSON of an OCI process, opaque
};

struct PidInfo {
  uint32_t pid = 0;
  std::optional<model::Any> info;
};

struct Metric {
  Time timestamp;
  model::ContainerId id;
  model::Any data;  // opaque: whatever the shim's metrics type is
};

// Turns mounts that need the daemon's help (formatted, fs-verity...) into plain ones. Implemented
// by the mounts room's owner in the daemon; without one, mounts reach the shim as they are.
class RootfsMounts {
 public:
  virtual ~RootfsMounts() = default;
  // kAlreadyExists is not an error for Tasks: the existing activation is used.
  virtual Result<std::vector<model::Mount>> Activate(const TaskKey& task,
                                                     std::vector<model::Mount> mounts) = 0;
  virtual Status Deactivate(const TaskKey& task) = 0;  // missing is success
};

class Tasks {
 public:
  struct Settings {
    std::string root;  // plugin directories, "…/io.containerd.runtime.v2.task"
    std::string state;
    ShimSettings shim;
    std::vector<std::string> shim_dirs;                 // sought before PATH
    std::chrono::milliseconds load_deadline{5000};      // io.containerd.timeout.shim.load
    std::chrono::milliseconds shutdown_deadline{3000};  // io.containerd.timeout.shim.shutdown
    std::chrono::milliseconds state_deadline{2000};     // io.containerd.timeout.task.state
    int log_fd = 2;                                     // shims' logs are copied here; not owned
  };
  // Borrowed for life.
  struct Links {
    metadata::ContainerStore* containers = nullptr;  // required
    metadata::SandboxStore* sandboxes = nullptr;     // may be null: no sandbox is known
    events::Exchange* exchange = nullptr;            // required
    Executor* control = nullptr;                     // required; shim starts, bundles, completions
    RootfsMounts* mounts = nullptr;                  // may be null
  };
  // Makes directories and starts the shim loop. Takes over nothing yet: call ListenEvents, then
  // Recover.
  static Result<std::unique_ptr<Tasks>> Open(Settings settings, Links links);
  ~Tasks();
  Tasks(const Tasks&) = delete;
  Tasks& operator=(const Tasks&) = delete;

  // Serves the event socket (Settings::shim.ttrpc_address) on `listener`.
  Status ListenEvents(Fd listener);
  // Takes over what an earlier daemon left (recovery.h). Blocks; once, before the first client.
  Result<RecoveryReport> Recover();

  // Errors: kNotFound (container), kAlreadyExists `task ID: already exists`, kUnimplemented
  // (checkpoint), kUnknown `failed to start shim: ...`, `failed to create shim task: ...` with the
  // code of the cause. On error nothing is left.
  void Create(const CallOptions& call, CreateRequest request, Done<uint32_t> pid);
  void Start(const CallOptions& call, const ProcessKey& process, Done<uint32_t> pid);
  // Deletes the task and its bundle. A shim that says NOT_FOUND or is gone does not stop that; its
  // error is returned.
  void Delete(const CallOptions& call, const TaskKey& task, Done<ExitInfo> done);
  void DeleteProcess(const CallOptions& call, const ProcessKey& process, Done<ExitInfo> done);
  // Registers a process; Start runs it. kInvalidArgument (exec id), kAlreadyExists (from the shim).
  void Exec(const CallOptions& call, ExecRequest request, Done<void> done);
  void Kill(const CallOptions& call, const ProcessKey& process, uint32_t signal, bool all,
            Done<void> done);
  void Pause(const CallOptions& call, const TaskKey& task, Done<void> done);
  void Resume(const CallOptions& call, const TaskKey& task, Done<void> done);
  void ResizePty(const CallOptions& call, const ProcessKey& process, uint32_t width,
                 uint32_t height, Done<void> done);
  void CloseIo(const CallOptions& call, const ProcessKey& process, bool input, Done<void> done);
  void Update(const CallOptions& call, const TaskKey& task, std::optional<model::Any> resources,
              std::map<std::string, std::string> annotations, Done<void> done);
  void Pids(const CallOptions& call, const TaskKey& task, Done<std::vector<PidInfo>> done);

  // Parks `done` until the process has exited; works before Start and across Delete. Returns a
  // ticket for CancelWait (0: nothing to take back: done was called, or is on its way).
  uint64_t Wait(const ProcessKey& process, Done<ExitInfo> done);
  // Drops a parked wait; false: `done` has run or is about to.
  bool CancelWait(uint64_t ticket);

  // Errors: kNotFound; kDeadlineExceeded when the shim had to be asked.
  void State(const CallOptions& call, const ProcessKey& process, Done<ProcessState> done);
  // All live tasks of the namespace, from memory, by id.
  std::vector<ProcessState> List(const model::Namespace& ns) const;
  // Namespaces that have live tasks, sorted.
  std::vector<model::Namespace> Namespaces() const;
  // Metrics of the tasks of a namespace that `wanted` accepts, by id; those that fail are left out.
  void Metrics(const model::Namespace& ns, std::function<bool(const model::ContainerId&)> wanted,
               Done<std::vector<Metric>> done);

  // Serialised containerd.types.RuntimeInfo of a runtime name or path, from its shim's `-info`;
  // remembered. Blocks. Errors: as RuntimeResolver; kUnknown with the shim's words.
  Result<std::string> RuntimeInfo(const std::string& runtime,
                                  const std::optional<model::Any>& options);

  struct Core;  // shared by the sources of this room

 private:
  Tasks() = default;
  std::unique_ptr<class LoopThread> loop_;  // outlives every callback of core_
  std::unique_ptr<class EventsForward> events_;
  std::shared_ptr<Core> core_;  // shared with callbacks in flight
};

}  // namespace corten::runtime
