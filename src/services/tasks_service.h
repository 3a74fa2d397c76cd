// The Tasks service over runtime::Tasks. One facade among those of facades.h.
#pragma once

#include "services/facades.h"

namespace corten::runtime {
class Tasks;
}

namespace corten::services {

// `tasks` outlives the service. No call holds a thread: the answer is sent by whoever brings the
// result, and a Wait is parked until its process ends or its client goes away. Checkpoint is
// UNIMPLEMENTED.
ServicePtr MakeTasksService(runtime::Tasks* tasks);

}  // namespace corten::services
