// The task service of a shim: `containerd.task.v3.Task`, and `.v2.Task` with the same messages.
//
// Handlers decode, look up the container and delegate; the answer comes when the container says so.
// Shutdown is refused silently while containers remain, as containers of a pod share a shim.
// Threads: loop thread only. Source: containerd 2.3 task API; error texts as observed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "shim/container.h"
#include "wire/ttrpc_server.h"

namespace corten::shim {

class TaskService {
 public:
  // Most containers one shim takes: a pod has few.
  static constexpr size_t kMaxContainers = 1024;

  // `called` runs before every call is handled. `shutdown` is called once, when the last container
  // is gone and the daemon has asked to end; it must call its argument when the answer may be sent.
  TaskService(ShimContext& context, std::function<void()> called,
              std::function<void(std::function<void()> answer)> shutdown);
  void Register(wire::TtrpcServer& server);
  size_t containers() const { return containers_.size(); }
  // Multi-line state for SIGUSR1.
  std::string Describe() const;

 private:
  friend struct TaskHandlers;
  // kNotFound `container not created`.
  Result<std::shared_ptr<Container>> Find(const std::string& id) const;

  ShimContext& context_;
  std::function<void()> called_;
  std::function<void(std::function<void()>)> shutdown_;
  std::map<std::string, std::shared_ptr<Container>, std::less<>>
      containers_;  // null: being created
  bool ending_ = false;
};

}  // namespace corten::shim
