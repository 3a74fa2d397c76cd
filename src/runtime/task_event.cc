#include "runtime/task_event.h"

#include "containerd/events/task.pb.h"
#include "wire/any_types.h"

namespace corten::runtime {

namespace {

namespace pb = ::containerd::events;

Time FromTimestamp(const google::protobuf::Timestamp& stamp) {
  return {stamp.seconds(), stamp.nanos()};
}

template <typename Message>
bool Parse(const model::Any& any, Message* message) {
  return wire::TypeName(any.type_url) == message->GetTypeName() &&
         message->ParseFromString(any.value);
}

// The init process is named by its container's id in events.
model::ExecId ExecOf(const std::string& container, const std::string& id) {
  return id == container ? model::ExecId() : model::ExecId(id);
}

template <typename Message>
model::Any Pack(const Message& message) {
  return {message.GetTypeName(), message.SerializeAsString()};
}

void SetTime(Time time, google::protobuf::Timestamp* stamp) {
  stamp->set_seconds(time.seconds);
  stamp->set_nanos(time.nanos);
}

}  // namespace

std::optional<TaskEvent> DecodeTaskEvent(const events::Envelope& envelope) {
  TaskEvent event;
  event.process.task.ns = envelope.ns;
  const auto set = [&event](TaskEvent::Kind kind, const std::string& container,
                            const std::string& id, uint32_t pid) {
    event.kind = kind;
    event.process.task.id = model::ContainerId(container);
    event.process.exec = ExecOf(container, id);
    event.pid = pid;
    return event;
  };
  if (envelope.topic == kTopicExit) {
    pb::TaskExit body;
    if (!Parse(envelope.event, &body)) return std::nullopt;
    event.exit = {body.pid(), body.exit_status(), FromTimestamp(body.exited_at())};
    return set(TaskEvent::Kind::kExit, body.container_id(), body.id(), body.pid());
  }
  if (envelope.topic == kTopicDelete) {
    pb::TaskDelete body;
    if (!Parse(envelope.event, &body)) return std::nullopt;
    event.exit = {body.pid(), body.exit_status(), FromTimestamp(body.exited_at())};
    const std::string& id = body.id().empty() ? body.container_id() : body.id();
    return set(TaskEvent::Kind::kDelete, body.container_id(), id, body.pid());
  }
  if (envelope.topic == kTopicCreate) {
    pb::TaskCreate body;
    if (!Parse(envelope.event, &body)) return std::nullopt;
    return set(TaskEvent::Kind::kCreate, body.container_id(), body.container_id(), body.pid());
  }
  if (envelope.topic == kTopicStart) {
    pb::TaskStart body;
    if (!Parse(envelope.event, &body)) return std::nullopt;
    return set(TaskEvent::Kind::kStart, body.container_id(), body.container_id(), body.pid());
  }
  if (envelope.topic == kTopicExecAdded) {
    pb::TaskExecAdded body;
    if (!Parse(envelope.event, &body)) return std::nullopt;
    return set(TaskEvent::Kind::kExecAdded, body.container_id(), body.exec_id(), 0);
  }
  if (envelope.topic == kTopicExecStarted) {
    pb::TaskExecStarted body;
    if (!Parse(envelope.event, &body)) return std::nullopt;
    return set(TaskEvent::Kind::kExecStarted, body.container_id(), body.exec_id(), body.pid());
  }
  return std::nullopt;
}

model::Any EncodeTaskExit(const ProcessKey& process, const ExitInfo& exit) {
  pb::TaskExit body;
  body.set_container_id(process.task.id.str());
  body.set_id(process.exec.empty() ? process.task.id.str() : process.exec.str());
  body.set_pid(exit.pid);
  body.set_exit_status(exit.status);
  SetTime(exit.at, body.mutable_exited_at());
  return Pack(body);
}

model::Any EncodeTaskDelete(const TaskKey& task, const ExitInfo& exit) {
  pb::TaskDelete body;
  body.set_container_id(task.id.str());
  body.set_pid(exit.pid);
  body.set_exit_status(exit.status);
  SetTime(exit.at, body.mutable_exited_at());
  return Pack(body);
}

}  // namespace corten::runtime
