// The events of tasks as messages. Pure; any thread. Source: containerd.events, as of 2.3.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/clock.h"
#include "model/mount.h"
#include "shim/event_queue.h"
#include "shim/process_io.h"

namespace corten::shim {

struct ExitRecord {
  uint32_t status = 0;  // exit code, or 128 + signal
  Time at = kZeroTime;
};

Event CreateEvent(const std::string& container, const std::string& bundle,
                  const std::vector<model::Mount>& rootfs, const StdioPlaces& places, pid_t pid);
Event StartEvent(const std::string& container, pid_t pid);
Event DeleteEvent(const std::string& container, pid_t pid, const ExitRecord& exit);
// `id`: the exec id, or the container's for init.
Event ExitEvent(const std::string& container, const std::string& id, pid_t pid,
                const ExitRecord& exit);
Event OomEvent(const std::string& container);
Event ExecAddedEvent(const std::string& container, const std::string& exec);
Event ExecStartedEvent(const std::string& container, const std::string& exec, pid_t pid);
Event PausedEvent(const std::string& container);
Event ResumedEvent(const std::string& container);

}  // namespace corten::shim
