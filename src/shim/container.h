// One container in the shim: its init process, its execs, and everything that may happen to them.
//
// Init: created -> running <-> paused -> stopped -> deleted. Execs: created -> running -> stopped
// -> deleted. An operation that does not fit the state is refused with containerd's words.
// Operations that call the OCI runtime on the whole container (start, pause, resume, update,
// delete) run one after another, in the order of their arrival; execs run beside them, a bounded
// number at once.
//
// Exits (the order that clients rely on): a process's end is noticed at once but announced (state,
// waiters, event) only
//   after its own start has been announced,
//   and for init only after every exec has been announced. Without a PID namespace of its own the
//   container's other processes are killed first. After init has ended no exec starts.
//
// Threads: loop thread only. Ownership: shared by the service's table and by callbacks of what is
// under way. Crash: the container outlives the shim; `delete` of a new shim process cleans up from
// the bundle alone. Source: containerd 2.3 runtime v2 task states and events.
#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/loop.h"
#include "model/mount.h"
#include "os/cgroup.h"
#include "shim/bundle.h"
#include "shim/oci_runtime.h"
#include "shim/process_io.h"
#include "shim/publisher.h"
#include "shim/reaper.h"
#include "shim/task_events.h"

namespace corten::shim {

// A bounded number of runtime processes for execs at once, the rest in line.
class ExecSlots {
 public:
  static constexpr int kAtOnce = 16;  // each is a runtime process of some MB
  static constexpr size_t kInLine = 8192;
  // Runs `task` now or when a slot is free; it must be followed by one Release. False: the line is
  // full.
  [[nodiscard]] bool Acquire(std::function<void()> task);
  void Release();

 private:
  int used_ = 0;
  std::deque<std::function<void()>> line_;
};

// What all containers of a shim share. Outlives them.
struct ShimContext {
  Loop& loop;
  Reaper& reaper;
  Publisher& publisher;
  ExecSlots exec_slots;
  std::string ns;
};

struct ContainerRequest {
  std::string id;
  std::string bundle;
  std::vector<model::Mount> rootfs;
  StdioPlaces places;
  RuntimeSettings settings;
};

enum class Phase { kCreated, kRunning, kPausing, kPaused, kStopped };

struct Process {
  std::string exec_id;  // empty: init
  pid_t pid = 0;
  Phase phase = Phase::kCreated;
  StdioPlaces places;
  std::unique_ptr<ProcessIo> io;
  std::string spec;                 // exec: JSON of the OCI process, until started
  ExitRecord exit;                  // with kStopped
  bool starting = false;            // its create, start or exec call is under way
  bool started = false;             // its start has been announced
  std::optional<ExitRecord> ended;  // noticed, not yet announced
  std::map<uint64_t, std::function<void(const ExitRecord&)>> waiters;
};

class Container : public std::enable_shared_from_this<Container> {
 public:
  using Done = std::function<void(Status)>;
  template <typename T>
  using DoneWith = std::function<void(Result<T>)>;

  // Mounts the rootfs, opens stdio, creates the container. `done` runs once; on error everything is
  // undone before.
  static std::shared_ptr<Container> Create(ShimContext& context, ContainerRequest request,
                                           DoneWith<pid_t> done);
  Container(ShimContext& context, ContainerRequest request, SpecFacts facts);
  ~Container();

  const std::string& id() const { return request_.id; }
  const std::string& bundle() const { return request_.bundle; }
  bool created() const { return created_; }

  // kNotFound `process does not exist ID`. An empty id is init.
  Result<Process*> Find(const std::string& exec_id);
  // The phase that State reports: while the container is paused, that of its running execs too.
  Phase ReportedPhase(const Process& process) const;

  void Start(const std::string& exec_id, DoneWith<pid_t> done);
  // Registers an exec. kAlreadyExists, kInvalidArgument (id), kUnknown (state), kResourceExhausted.
  Status AddExec(const std::string& exec_id, const StdioPlaces& places, std::string spec);
  // kNotFound when it has ended, kFailedPrecondition for an exec that never started.
  void Kill(const std::string& exec_id, uint32_t signal, bool all, Done done);
  void Pause(Done done);
  void Resume(Done done);
  void Update(std::string resources_json, Done done);
  // Deletes a stopped or created process; init takes the container with it (deleted() afterwards).
  struct Deleted {
    pid_t pid = 0;
    ExitRecord exit;
  };
  void Delete(const std::string& exec_id, DoneWith<Deleted> done);
  bool deleted() const { return deleted_; }
  // Calls `done` when the process has stopped; at once if it has. The number is for CancelWait.
  Result<uint64_t> Wait(const std::string& exec_id, std::function<void(const ExitRecord&)> done);
  void CancelWait(const std::string& exec_id, uint64_t number);
  Status ResizePty(const std::string& exec_id, os::WindowSize size);
  Status CloseStdin(const std::string& exec_id);
  void ListPids(DoneWith<std::vector<pid_t>> done);
  // The exec whose process has this pid; "" if none.
  std::string ExecOfPid(pid_t pid) const;
  const os::CgroupPlace& cgroup() const { return cgroup_; }

 private:
  using Operation = std::function<void()>;

  // creation (container_create.cc)
  void MountRootfs(Done done);
  void OpenIoAndCreate();
  void OnRuntimeCreated(Status status);
  void FinishCreate();
  void FailCreate(Error error, OciRuntime::Force force, bool in_runtime);
  void UnmountRootfs(Done done);
  std::string PidFile(const std::string& name) const {
    return StrCat(request_.bundle, "/", name, ".pid");
  }
  std::string rootfs_path() const { return StrCat(request_.bundle, "/rootfs"); }

  // operations in line (container.cc)
  void Enqueue(Operation operation, const std::function<void(Error)>& refuse);
  void NextOperation();
  void StartInit(DoneWith<pid_t> done);
  void DeleteInit(DoneWith<Deleted> done);
  void RemoveInit(DoneWith<Deleted> done);
  void KillInit(uint32_t signal, bool all, Done done);

  // execs (container_exec.cc)
  void StartExec(const std::shared_ptr<Process>& process, DoneWith<pid_t> done);
  void SpawnExec(const std::shared_ptr<Process>& process, DoneWith<pid_t> done);
  void OnExecSpawned(const std::shared_ptr<Process>& process, Status status, DoneWith<pid_t> done);
  void FailExec(const std::shared_ptr<Process>& process, Error error, const DoneWith<pid_t>& done);
  void DeleteExec(const std::shared_ptr<Process>& process, DoneWith<Deleted> done);

  // exits (container_exit.cc)
  Status WatchProcess(const std::shared_ptr<Process>& process, const std::string& pid_file);
  void OnEnded(const std::shared_ptr<Process>& process, ExitStatus status);
  void AnnounceExits();
  void AnnounceExit(Process* process);
  bool ExecsUnderWay() const;
  void WatchOom();
  void CheckOom();
  void StopOomWatch();

  ShimContext& context_;
  const ContainerRequest request_;
  const SpecFacts facts_;
  OciRuntime runtime_;
  std::shared_ptr<Process> init_;
  std::map<std::string, std::shared_ptr<Process>, std::less<>>
      execs_;  // processes are shared with their callbacks
  os::CgroupPlace cgroup_;
  std::optional<os::OomWatch> oom_;
  bool oom_untold_ = false;           // noticed while the init was being started
  std::deque<Operation> operations_;  // the first one is running
  DoneWith<pid_t> create_done_;
  std::optional<Reaper::Hold> create_hold_;
  bool created_ = false;
  bool deleted_ = false;
  bool rest_killed_ = false;  // without a PID namespace: the others have been killed
  Loop::TimerId exit_timer_ = 0;
  uint64_t next_waiter_ = 1;
};

}  // namespace corten::shim
