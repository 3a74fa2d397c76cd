#include "runtime/task_table.h"

#include <algorithm>
#include <utility>

namespace corten::runtime {

namespace {

constexpr uint32_t kLostStatus = 255;  // I6: the shim is gone and nobody saw the end

Error TaskNotFound(const TaskKey& key) {
  return NotFoundError("task ", key.id.str(), " not found");
}
Error GoneWithoutExit(const ProcessKey& process) {
  return NotFoundError("process ",
                       process.exec.empty() ? process.task.id.str() : process.exec.str(),
                       " went without an exit");
}

}  // namespace

// --- creation ---

Status TaskTable::Reserve(const TaskKey& key) {
  const std::lock_guard lock(mutex_);
  const auto [entry, fresh] = tasks_.try_emplace(key);
  // Wire: ctr and nerdctl show this text; tests/integration/runtime holds it.
  if (!fresh) return AlreadyExistsError("task ", key.id.str(), ": already exists");
  entry->second.init.generation = next_generation_++;
  entry->second.init.state.container = key.id;
  return Ok();
}

void TaskTable::Abandon(const TaskKey& key) { Remove(key, ExitInfo{}); }

void TaskTable::Attach(const TaskKey& key, TaskLink link, const Stdio& io) {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(key);
  CHECK(found != tasks_.end());
  found->second.link = std::move(link);
  found->second.init.state.io = io;
}

void TaskTable::Created(const TaskKey& key, uint32_t pid) {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(key);
  if (found == tasks_.end() || found->second.phase != Phase::kCreating) return;
  found->second.phase = Phase::kLive;
  ProcessState& state = found->second.init.state;
  state.pid = pid;
  if (state.status == ProcessStatus::kUnknown) state.status = ProcessStatus::kCreated;
}

void TaskTable::Adopt(const TaskKey& key, TaskLink link, const ProcessState& init) {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(key);
  CHECK(found != tasks_.end());
  Task& task = found->second;
  task.link = std::move(link);
  task.phase = Phase::kLive;
  task.init.certain = init.status != ProcessStatus::kUnknown;
  if (task.init.state.status == ProcessStatus::kStopped) return;  // its exit event was quicker
  task.init.state = init;
  task.init.state.container = key.id;
  task.init.state.exec = model::ExecId();
  Enter(task.link, {key, {}}, &task.init);
}

// What an earlier daemon, or this one before it knew the process, has told of it.
void TaskTable::Enter(const TaskLink& link, const ProcessKey& process, Process* entered) {
  if (TakeTold(process, entered->state.pid)) entered->exit_told = true;
  entered->shim_tells = link.keeps_events && entered->state.status == ProcessStatus::kStopped;
}

// --- lookups ---

Result<TaskLink> TaskTable::Find(const TaskKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(key);
  if (found == tasks_.end() || found->second.phase != Phase::kLive) return TaskNotFound(key);
  return found->second.link;
}

const TaskTable::Process* TaskTable::FindProcess(const ProcessKey& process) const {
  const auto task = tasks_.find(process.task);
  if (task == tasks_.end()) return nullptr;
  if (process.exec.empty()) return &task->second.init;
  const auto exec = task->second.execs.find(process.exec.str());
  return exec == task->second.execs.end() ? nullptr : &exec->second;
}

TaskTable::Process* TaskTable::FindProcess(const ProcessKey& process) {
  return const_cast<Process*>(
      std::as_const(*this).FindProcess(process));  // this object is not const
}

ProcessState TaskTable::View(const Task& task, const Process& process) {
  ProcessState state = process.state;
  const ProcessStatus whole = task.init.state.status;
  // While a container is frozen, so is every exec in it.
  if (state.status == ProcessStatus::kRunning &&
      (whole == ProcessStatus::kPaused || whole == ProcessStatus::kPausing)) {
    state.status = whole;
  }
  return state;
}

std::optional<ProcessState> TaskTable::State(const ProcessKey& process) const {
  const std::lock_guard lock(mutex_);
  const auto task = tasks_.find(process.task);
  if (task == tasks_.end() || task->second.phase != Phase::kLive) return std::nullopt;
  const Process* found = FindProcess(process);
  if (found == nullptr || !found->io_known || !found->certain) return std::nullopt;
  return View(task->second, *found);
}

bool TaskTable::KnowsProcess(const ProcessKey& process) const {
  const std::lock_guard lock(mutex_);
  return FindProcess(process) != nullptr;
}

std::vector<ProcessState> TaskTable::List(const model::Namespace& ns) const {
  std::vector<ProcessState> list;
  const std::lock_guard lock(mutex_);
  for (auto task = tasks_.lower_bound({ns, model::ContainerId()});
       task != tasks_.end() && task->first.ns == ns; ++task) {
    if (task->second.phase == Phase::kLive) list.push_back(View(task->second, task->second.init));
  }
  return list;
}

std::vector<std::pair<TaskKey, ProcessState>> TaskTable::ListAll() const {
  std::vector<std::pair<TaskKey, ProcessState>> list;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, task] : tasks_) {
    if (task.phase == Phase::kLive) list.emplace_back(key, View(task, task.init));
  }
  return list;
}

std::vector<TaskTable::Metered> TaskTable::Meter(const model::Namespace& ns) const {
  std::vector<Metered> list;
  const std::lock_guard lock(mutex_);
  for (auto at = tasks_.lower_bound({ns, model::ContainerId()});
       at != tasks_.end() && at->first.ns == ns; ++at) {
    const Task& task = at->second;
    if (task.phase == Phase::kLive) list.push_back({task.link, View(task, task.init), task.cgroup});
  }
  return list;
}

bool TaskTable::SetCgroup(const TaskKey& key, uint32_t pid,
                          std::shared_ptr<const os::CgroupPlace> place) {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(key);
  if (found == tasks_.end() || found->second.phase != Phase::kLive) return false;
  const ProcessState& init = found->second.init.state;
  if (init.pid != pid || init.status == ProcessStatus::kStopped ||
      init.status == ProcessStatus::kUnknown)
    return false;
  found->second.cgroup = std::move(place);
  return true;
}

// --- transitions by replies ---

Status TaskTable::ExecAdded(const ProcessKey& process, const Stdio& io) {
  const std::lock_guard lock(mutex_);
  const auto task = tasks_.find(process.task);
  if (task == tasks_.end()) return TaskNotFound(process.task);
  if (task->second.execs.size() >= kMaxExecs)
    return ResourceExhaustedError("task ", process.task.id.str(), " has ", kMaxExecs, " execs");
  const auto [entry, fresh] = task->second.execs.try_emplace(process.exec.str());
  Process& exec = entry->second;
  if (fresh) {
    exec.generation = next_generation_++;
    exec.state.container = process.task.id;
    exec.state.exec = process.exec;
    exec.state.status = ProcessStatus::kCreated;
  }
  exec.state.io = io;
  exec.io_known = true;
  return Ok();
}

void TaskTable::Starting(const ProcessKey& process) {
  const std::lock_guard lock(mutex_);
  if (Process* found = FindProcess(process)) found->starting = true;
}

void TaskTable::Started(const ProcessKey& process, uint32_t pid) {
  const std::lock_guard lock(mutex_);
  Process* found = FindProcess(process);
  if (found == nullptr) return;
  found->starting = false;
  if (found->state.pid == 0) found->state.pid = pid;
  if (found->state.status == ProcessStatus::kCreated) found->state.status = ProcessStatus::kRunning;
}

void TaskTable::StartFailed(const ProcessKey& process) {
  const std::lock_guard lock(mutex_);
  Process* found = FindProcess(process);
  if (found == nullptr) return;
  found->starting = false;
  // The shim may have ended the process or not: ask it when somebody wants to know.
  if (found->state.status != ProcessStatus::kStopped) found->certain = false;
}

void TaskTable::SetPause(const TaskKey& key, ProcessStatus status) {
  const std::lock_guard lock(mutex_);
  Process* init = FindProcess({key, {}});
  if (init == nullptr || init->state.status == ProcessStatus::kStopped) return;
  init->state.status = status;
}

void TaskTable::Doubt(const TaskKey& key) {
  const std::lock_guard lock(mutex_);
  Process* init = FindProcess({key, {}});
  if (init != nullptr && init->state.status != ProcessStatus::kStopped) init->certain = false;
}

void TaskTable::Merge(const ProcessKey& process, const ProcessState& state) {
  Calls calls;
  {
    const std::lock_guard lock(mutex_);
    const auto task = tasks_.find(process.task);
    if (task == tasks_.end()) return;
    Process* found = FindProcess(process);
    const bool fresh = found == nullptr;
    if (fresh) {
      if (task->second.execs.size() >= kMaxExecs) return;
      found = &task->second.execs[process.exec.str()];
      found->generation = next_generation_++;
    }
    found->io_known = true;
    found->certain = state.status != ProcessStatus::kUnknown;
    found->state.io = state.io;
    if (found->state.status != ProcessStatus::kStopped) {
      found->state.pid = state.pid;
      found->state.container = process.task.id;
      found->state.exec = process.exec;
      if (state.status != ProcessStatus::kStopped) {
        found->state.status = state.status;
      } else {
        (void)Fix(*found, {state.pid, state.exit_status, state.exited_at},
                  &calls);  // had no exit: checked above
      }
    }
    if (fresh) Enter(task->second.link, process, found);
  }
  for (auto& [waiter, result] : calls) waiter(std::move(result));
}

void TaskTable::ExecDeleted(const ProcessKey& process) {
  Calls calls;
  {
    const std::lock_guard lock(mutex_);
    const auto task = tasks_.find(process.task);
    if (task == tasks_.end()) return;
    const auto exec = task->second.execs.find(process.exec.str());
    if (exec == task->second.execs.end()) return;
    Drop(exec->second, &calls);
    const ProcessState& state = exec->second.state;
    if (state.pid != 0) {
      Depart({process,
              {state.pid, state.exit_status, state.exited_at},
              exec->second.exit_told,
              state.status == ProcessStatus::kStopped,
              /*delete_told=*/true,
              task->second.link.shim.get(),
              exec->second.shim_tells});
    }
    task->second.execs.erase(exec);
  }
  for (auto& [waiter, result] : calls) waiter(std::move(result));
}

// --- exits ---

// The first report counts. Collects the waiters of the process.
bool TaskTable::Fix(Process& process, const ExitInfo& exit, Calls* calls) {
  if (process.state.status == ProcessStatus::kStopped) return false;
  process.state.status = ProcessStatus::kStopped;
  process.starting = false;
  process.certain = true;
  if (exit.pid != 0) process.state.pid = exit.pid;
  process.state.exit_status = exit.status;
  process.state.exited_at = exit.at;
  const ExitInfo known{process.state.pid, exit.status, exit.at};
  for (auto& [id, waiter] : process.waiters) {
    waits_.erase(id);
    calls->emplace_back(std::move(waiter), known);
  }
  process.waiters.clear();
  return true;
}

uint64_t TaskTable::BeginWatch(const ProcessKey& process) {
  const std::lock_guard lock(mutex_);
  Process* found = FindProcess(process);
  if (found == nullptr || found->watched || found->state.status == ProcessStatus::kStopped)
    return 0;
  found->watched = true;
  return found->generation;
}

void TaskTable::Exited(const ProcessKey& process, uint64_t generation, const ExitInfo& exit) {
  Calls calls;
  {
    const std::lock_guard lock(mutex_);
    Process* found = FindProcess(process);
    if (found == nullptr || (generation != 0 && found->generation != generation)) return;
    (void)Fix(*found, exit, &calls);  // false: the event was quicker
  }
  for (auto& [waiter, result] : calls) waiter(std::move(result));
}

void TaskTable::NeverRan(const ProcessKey& process, uint64_t generation, const ExitInfo& answer) {
  Calls calls;
  {
    const std::lock_guard lock(mutex_);
    Process* found = FindProcess(process);
    if (found == nullptr || found->generation != generation ||
        found->state.status == ProcessStatus::kStopped)
      return;
    found->watched = false;  // it may be started again
    for (auto& [id, waiter] : found->waiters) {
      waits_.erase(id);
      calls.emplace_back(std::move(waiter), answer);
    }
    found->waiters.clear();
  }
  for (auto& [waiter, result] : calls) waiter(std::move(result));
}

Result<TaskTable::WaitId> TaskTable::Wait(const ProcessKey& process, Waiter waiter) {
  std::unique_lock lock(mutex_);
  const auto task = tasks_.find(process.task);
  if (task == tasks_.end() || task->second.phase == Phase::kCreating)
    return TaskNotFound(process.task);
  Process* found = FindProcess(process);
  if (found == nullptr) return NotFoundError("process does not exist ", process.exec.str());
  if (found->state.status == ProcessStatus::kStopped) {
    const ExitInfo exit{found->state.pid, found->state.exit_status, found->state.exited_at};
    lock.unlock();
    waiter(exit);
    return WaitId{0};
  }
  if (waits_.size() >= kMaxWaiters)
    return ResourceExhaustedError(kMaxWaiters, " waits are parked already");
  const WaitId id = next_wait_++;
  found->waiters.emplace(id, std::move(waiter));
  waits_.emplace(id, process);
  return id;
}

bool TaskTable::CancelWait(WaitId wait) {
  Waiter dropped;  // destroyed outside the lock
  const std::lock_guard lock(mutex_);
  const auto found = waits_.find(wait);
  if (found == waits_.end()) return false;
  Process* process = FindProcess(found->second);
  waits_.erase(found);
  if (process == nullptr) return false;
  const auto waiter = process->waiters.find(wait);
  if (waiter == process->waiters.end()) return false;
  dropped = std::move(waiter->second);
  process->waiters.erase(waiter);
  return true;
}

// --- events ---

TaskTable::Departed* TaskTable::FindDeparted(const ProcessKey& process, uint32_t pid) {
  for (auto entry = departed_.rbegin(); entry != departed_.rend(); ++entry) {
    if (entry->exit.pid == pid && entry->process == process) return &*entry;
  }
  return nullptr;
}

bool TaskTable::TakeTold(const ProcessKey& process, uint32_t pid) {
  return std::erase_if(departed_, [&](const Departed& departed) {
           return departed.exit_told && departed.exit.pid == pid && departed.process == process;
         }) != 0;
}

void TaskTable::Depart(Departed departed) {
  if (departed_.size() >= kMaxDeparted) departed_.pop_front();
  departed_.push_back(std::move(departed));
}

bool TaskTable::AdmitExit(const TaskEvent& event, Calls* calls) {
  Process* found = FindProcess(event.process);
  const bool same = found != nullptr &&
                    (found->state.pid == event.pid || (found->state.pid == 0 && found->starting));
  if (!same) {
    Departed* departed = FindDeparted(event.process, event.pid);
    if (departed != nullptr) return !std::exchange(departed->exit_told, true);
    Depart({event.process, event.exit, /*exit_told=*/true, /*ended=*/true, /*delete_told=*/false});
    return true;
  }
  (void)Fix(*found, event.exit, calls);  // false: an answer was quicker
  return !std::exchange(found->exit_told, true);
}

bool TaskTable::Admit(const TaskEvent& event) {
  Calls calls;
  bool publish = true;
  {
    const std::lock_guard lock(mutex_);
    const auto task = tasks_.find(event.process.task);
    Process* found = FindProcess(event.process);
    switch (event.kind) {
      case TaskEvent::Kind::kCreate:
        if (found != nullptr && task->second.phase == Phase::kCreating && found->state.pid == 0)
          found->state.pid = event.pid;
        break;
      case TaskEvent::Kind::kStart:
        if (found != nullptr && found->state.pid == event.pid &&
            found->state.status == ProcessStatus::kCreated) {
          found->state.status = ProcessStatus::kRunning;
        }
        break;
      case TaskEvent::Kind::kExecAdded:
        // Ours are entered by the reply; this one was added by an earlier daemon.
        break;
      case TaskEvent::Kind::kExecStarted:
        if (found != nullptr && found->state.status == ProcessStatus::kCreated &&
            (found->starting || found->state.pid == event.pid)) {
          found->state.pid = event.pid;
          found->state.status = ProcessStatus::kRunning;
        }
        break;
      case TaskEvent::Kind::kExit:
        publish = AdmitExit(event, &calls);
        break;
      case TaskEvent::Kind::kDelete: {
        if (!event.process.exec.empty()) break;
        Departed* departed = FindDeparted(event.process, event.pid);
        if (departed != nullptr) {
          publish = !std::exchange(departed->delete_told, true);
        } else if (task != tasks_.end() && found->state.pid == event.pid) {
          publish = !std::exchange(task->second.delete_told, true);
        }
        break;
      }
    }
  }
  for (auto& [waiter, result] : calls) waiter(std::move(result));
  return publish;
}

// --- the end ---

bool TaskTable::TakeForRemoval(const TaskKey& key) {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(key);
  if (found == tasks_.end() || found->second.phase != Phase::kLive) return false;
  found->second.phase = Phase::kLeaving;
  return true;
}

std::vector<std::pair<TaskKey, TaskLink>> TaskTable::ShimLost(const ShimClient* shim) {
  std::vector<std::pair<TaskKey, TaskLink>> lost;
  const std::lock_guard lock(mutex_);
  for (auto& [key, task] : tasks_) {
    if (task.link.shim.get() != shim || task.phase != Phase::kLive) continue;
    task.phase = Phase::kLeaving;
    lost.emplace_back(key, task.link);
  }
  return lost;
}

TaskTable::Untold TaskTable::Bury(const TaskKey& key, const ExitInfo& exit) {
  Untold untold;
  untold.key = key;
  Calls calls;
  {
    const std::lock_guard lock(mutex_);
    const auto found = tasks_.find(key);
    if (found == tasks_.end()) return untold;
    const auto bury = [&](Process& process, const ExitInfo& end) {
      if (process.exit_told) return;
      if (process.state.status == ProcessStatus::kCreated && !process.state.exec.empty())
        return;  // never ran
      // Waiters stay until Remove: by then the container is really gone.
      if (process.state.status != ProcessStatus::kStopped) {
        process.state.status = ProcessStatus::kStopped;
        process.state.exit_status = end.status;
        process.state.exited_at = end.at;
        process.certain = true;
        if (process.state.pid == 0) process.state.pid = end.pid;
      }
      process.exit_told = true;
      if (TakeTold({key, process.state.exec}, process.state.pid)) return;
      untold.exits.emplace_back(
          ProcessKey{key, process.state.exec},
          ExitInfo{process.state.pid, process.state.exit_status, process.state.exited_at});
    };
    for (auto& [id, exec] : found->second.execs) bury(exec, {0, kLostStatus, exit.at});
    bury(found->second.init, exit);
    const ProcessState& init = found->second.init.state;
    if (!std::exchange(found->second.delete_told, true))
      untold.deleted = ExitInfo{init.pid, init.exit_status, init.exited_at};
  }
  return untold;
}

// Hands the waiters of a process that leaves to the caller.
void TaskTable::Drop(Process& process, Calls* calls) {
  for (auto& [id, waiter] : process.waiters) {
    waits_.erase(id);
    const ProcessState& state = process.state;
    if (state.status == ProcessStatus::kStopped) {
      calls->emplace_back(std::move(waiter),
                          ExitInfo{state.pid, state.exit_status, state.exited_at});
    } else {
      calls->emplace_back(std::move(waiter), GoneWithoutExit({{{}, state.container}, state.exec}));
    }
  }
  process.waiters.clear();
}

void TaskTable::Remove(const TaskKey& key, const ExitInfo& exit) {
  Calls calls;
  TaskLink link;  // its shim may end with it: outside the lock
  {
    const std::lock_guard lock(mutex_);
    const auto found = tasks_.find(key);
    if (found == tasks_.end()) return;
    Task& task = found->second;
    if (exit != ExitInfo{})
      (void)Fix(task.init, exit,
                &calls);  // Delete's answer is the last word if there was none before
    Drop(task.init, &calls);
    const ShimClient* shim = task.link.shim.get();
    for (auto& [id, exec] : task.execs) {
      Drop(exec, &calls);
      if (exec.state.pid == 0) continue;
      Depart({{key, exec.state.exec},
              {exec.state.pid, exec.state.exit_status, exec.state.exited_at},
              exec.exit_told,
              exec.state.status == ProcessStatus::kStopped,
              /*delete_told=*/true,
              shim,
              exec.shim_tells});
    }
    const ProcessState& init = task.init.state;
    if (init.status != ProcessStatus::kUnknown) {
      Depart({{key, {}},
              {init.pid, init.exit_status, init.exited_at},
              task.init.exit_told,
              init.status == ProcessStatus::kStopped,
              task.delete_told,
              shim,
              task.init.shim_tells});
    }
    link = std::move(task.link);
    tasks_.erase(found);
  }
  for (auto& [waiter, result] : calls) waiter(std::move(result));
}

std::vector<TaskTable::Untold> TaskTable::LeftOut(const ShimClient* shim) {
  std::vector<Untold> list;
  const std::lock_guard lock(mutex_);
  for (Departed& departed : departed_) {
    if (departed.shim != shim) continue;
    departed.shim = nullptr;
    Untold untold;
    untold.key = departed.process.task;
    if (departed.ended && !departed.shim_tells && !std::exchange(departed.exit_told, true))
      untold.exits.emplace_back(departed.process, departed.exit);
    if (!std::exchange(departed.delete_told, true)) untold.deleted = departed.exit;
    if (!untold.exits.empty() || untold.deleted) list.push_back(std::move(untold));
  }
  return list;
}

void TaskTable::FailWaiters(const Error& why) {
  Calls calls;
  {
    const std::lock_guard lock(mutex_);
    const auto fail = [&](Process& process) {
      for (auto& [id, waiter] : process.waiters) calls.emplace_back(std::move(waiter), why.Clone());
      process.waiters.clear();
    };
    for (auto& [key, task] : tasks_) {
      fail(task.init);
      for (auto& [id, exec] : task.execs) fail(exec);
    }
    waits_.clear();
  }
  for (auto& [waiter, result] : calls) waiter(std::move(result));
}

}  // namespace corten::runtime
