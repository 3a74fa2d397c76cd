// The Tasks service, as the command line uses it. Thread-safe; calls block. Errors carry the
// daemon's code and text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/remote.h"
#include "model/mount.h"

namespace corten::client {

struct TaskIo {
  std::string in;  // fifo path or URI; empty: none
  std::string out;
  std::string err;
  bool terminal = false;
};

struct TaskState {
  model::ContainerId container;
  uint32_t pid = 0;
  TaskIo io;           // where its stdio goes, as it was created
  std::string status;  // "CREATED", "RUNNING", "STOPPED", "PAUSED", "PAUSING", "UNKNOWN"
  uint32_t exit_status = 0;
  Time exited_at;
};

struct TaskExit {
  uint32_t status = 0;
  Time at;
};

struct TaskPid {
  uint32_t pid = 0;
  std::optional<model::Any> info;  // containerd.runc.v1.ProcessDetails for an exec
};

struct TaskMetric {
  std::string id;
  Time at;
  model::Any data;  // io.containerd.cgroups.v1.Metrics or v2.Metrics
};

class Tasks {
 public:
  virtual ~Tasks() = default;
  virtual Result<uint32_t> Create(const model::ContainerId& id,
                                  const std::vector<model::Mount>& rootfs, const TaskIo& io,
                                  const std::optional<model::Any>& options) = 0;
  // `exec` empty: the container's own process, for this and all below.
  virtual Result<uint32_t> Start(const model::ContainerId& id, const model::ExecId& exec) = 0;
  virtual Status Exec(const model::ContainerId& id, const model::ExecId& exec,
                      const model::Any& process, const TaskIo& io) = 0;
  virtual Status Kill(const model::ContainerId& id, const model::ExecId& exec, uint32_t signal,
                      bool all) = 0;
  // Blocks until the process has ended.
  virtual Result<TaskExit> Wait(const model::ContainerId& id, const model::ExecId& exec) = 0;
  virtual Result<TaskExit> Delete(const model::ContainerId& id, const model::ExecId& exec) = 0;
  virtual Status CloseInput(const model::ContainerId& id, const model::ExecId& exec) = 0;
  virtual Status Resize(const model::ContainerId& id, const model::ExecId& exec, uint32_t width,
                        uint32_t height) = 0;
  virtual Result<TaskState> Get(const model::ContainerId& id) = 0;  // kNotFound
  virtual Result<TaskState> GetProcess(const model::ContainerId& id,
                                       const model::ExecId& exec) = 0;  // kNotFound
  virtual Result<std::vector<TaskState>> List() = 0;
  virtual Status Pause(const model::ContainerId& id) = 0;
  virtual Status Resume(const model::ContainerId& id) = 0;
  virtual Result<std::vector<TaskPid>> Pids(const model::ContainerId& id) = 0;
  // Of the tasks that pass one of `filters` (`id==c`).
  virtual Result<std::vector<TaskMetric>> Metrics(const std::vector<std::string>& filters) = 0;
};

std::unique_ptr<Tasks> RemoteTasks(ConnectionPtr connection, model::Scope scope);

}  // namespace corten::client
