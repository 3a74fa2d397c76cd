#include "shim/task_events.h"

#include "containerd/events/task.pb.h"

namespace corten::shim {

namespace {

namespace pb = ::containerd::events;

template <typename Message>
Event Make(const char* topic, const Message& message) {
  return {topic, message.GetTypeName(), message.SerializeAsString(), Now()};
}

uint32_t Pid(pid_t pid) { return static_cast<uint32_t>(pid); }

template <typename Message>
void SetExit(Message* message, const ExitRecord& exit) {
  message->set_exit_status(exit.status);
  message->mutable_exited_at()->set_seconds(exit.at.seconds);
  message->mutable_exited_at()->set_nanos(exit.at.nanos);
}

}  // namespace

Event CreateEvent(const std::string& container, const std::string& bundle,
                  const std::vector<model::Mount>& rootfs, const StdioPlaces& places, pid_t pid) {
  pb::TaskCreate message;
  message.set_container_id(container);
  message.set_bundle(bundle);
  for (const model::Mount& mount : rootfs) {
    auto* out = message.add_rootfs();
    out->set_type(mount.type);
    out->set_source(mount.source);
    out->set_target(mount.target);
    for (const std::string& option : mount.options) out->add_options(option);
  }
  message.mutable_io()->set_stdin(places.in);
  message.mutable_io()->set_stdout(places.out);
  message.mutable_io()->set_stderr(places.err);
  message.mutable_io()->set_terminal(places.terminal);
  message.set_pid(Pid(pid));
  return Make("/tasks/create", message);
}

Event StartEvent(const std::string& container, pid_t pid) {
  pb::TaskStart message;
  message.set_container_id(container);
  message.set_pid(Pid(pid));
  return Make("/tasks/start", message);
}

Event DeleteEvent(const std::string& container, pid_t pid, const ExitRecord& exit) {
  pb::TaskDelete message;
  message.set_container_id(container);
  message.set_pid(Pid(pid));
  SetExit(&message, exit);
  return Make("/tasks/delete", message);
}

Event ExitEvent(const std::string& container, const std::string& id, pid_t pid,
                const ExitRecord& exit) {
  pb::TaskExit message;
  message.set_container_id(container);
  message.set_id(id);
  message.set_pid(Pid(pid));
  SetExit(&message, exit);
  return Make("/tasks/exit", message);
}

Event OomEvent(const std::string& container) {
  pb::TaskOOM message;
  message.set_container_id(container);
  return Make("/tasks/oom", message);
}

Event ExecAddedEvent(const std::string& container, const std::string& exec) {
  pb::TaskExecAdded message;
  message.set_container_id(container);
  message.set_exec_id(exec);
  return Make("/tasks/exec-added", message);
}

Event ExecStartedEvent(const std::string& container, const std::string& exec, pid_t pid) {
  pb::TaskExecStarted message;
  message.set_container_id(container);
  message.set_exec_id(exec);
  message.set_pid(Pid(pid));
  return Make("/tasks/exec-started", message);
}

Event PausedEvent(const std::string& container) {
  pb::TaskPaused message;
  message.set_container_id(container);
  return Make("/tasks/paused", message);
}

Event ResumedEvent(const std::string& container) {
  pb::TaskResumed message;
  message.set_container_id(container);
  return Make("/tasks/resumed", message);
}

}  // namespace corten::shim
