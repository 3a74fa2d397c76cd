// How tasks and their processes are named. Values; any thread.
#pragma once

#include <compare>
#include <string>

#include "model/ids.h"

namespace corten::runtime {

struct TaskKey {
  model::Namespace ns;
  model::ContainerId id;
  auto operator<=>(const TaskKey&) const = default;
};

struct ProcessKey {
  TaskKey task;
  model::ExecId exec;  // empty: the init process
  auto operator<=>(const ProcessKey&) const = default;
};

}  // namespace corten::runtime
