// What is known of one process of a task, as the Tasks service reports it. Values; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "model/ids.h"

namespace corten::runtime {

// Numbers are those of containerd.v1.types.Status.
enum class ProcessStatus : uint8_t {
  kUnknown = 0,
  kCreated = 1,
  kRunning = 2,
  kStopped = 3,
  kPaused = 4,
  kPausing = 5
};

// Paths of fifos or files, or URIs, opened by the shim.
struct Stdio {
  std::string in;
  std::string out;
  std::string err;
  bool terminal = false;
  bool operator==(const Stdio&) const = default;
};

struct ExitInfo {
  uint32_t pid = 0;
  uint32_t status = 0;  // exit code, or 128 + signal
  Time at = kZeroTime;
  bool operator==(const ExitInfo&) const = default;
};

struct ProcessState {
  model::ContainerId container;
  model::ExecId exec;  // empty: init
  uint32_t pid = 0;
  ProcessStatus status = ProcessStatus::kUnknown;
  Stdio io;
  uint32_t exit_status = 0;  // with kStopped
  Time exited_at = kZeroTime;
  bool operator==(const ProcessState&) const = default;
};

}  // namespace corten::runtime
