// Task events between their wire form and what the table needs of them.
//
// Threads: pure functions. Source: containerd.events messages; wire notes 8.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "events/exchange.h"
#include "model/labels.h"
#include "runtime/keys.h"
#include "runtime/process_state.h"

namespace corten::runtime {

inline constexpr std::string_view kTopicCreate = "/tasks/create";
inline constexpr std::string_view kTopicStart = "/tasks/start";
inline constexpr std::string_view kTopicExit = "/tasks/exit";
inline constexpr std::string_view kTopicDelete = "/tasks/delete";
inline constexpr std::string_view kTopicExecAdded = "/tasks/exec-added";
inline constexpr std::string_view kTopicExecStarted = "/tasks/exec-started";

struct TaskEvent {
  enum class Kind { kCreate, kStart, kExit, kDelete, kExecAdded, kExecStarted };
  Kind kind = Kind::kCreate;
  ProcessKey process;
  uint32_t pid = 0;
  ExitInfo exit;  // with kExit and kDelete
};

// The events that change what the table says; nullopt for others (oom, paused, foreign topics) and
// for bodies that do not parse. Pausing and resuming are learnt from replies: their events may lag
// behind.
std::optional<TaskEvent> DecodeTaskEvent(const events::Envelope& envelope);

model::Any EncodeTaskExit(const ProcessKey& process, const ExitInfo& exit);
model::Any EncodeTaskDelete(const TaskKey& task, const ExitInfo& exit);

}  // namespace corten::runtime
