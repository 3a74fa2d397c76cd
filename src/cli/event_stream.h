// Following the daemon's events. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/session.h"

namespace corten::cli {

struct Event {
  Time at;
  std::string ns;
  std::string topic;
  model::Any payload;
};

// Calls `visit` for each event of any namespace that a filter matches (none: every event), from now
// on, until `visit` or the daemon ends it. kInvalidArgument: bad filter; errors of `visit`.
Status FollowEvents(Session& session, const std::vector<std::string>& filters,
                    const std::function<Status(const Event& event)>& visit);

}  // namespace corten::cli
