// Readiness and sockets as systemd knows them: sd_notify datagrams and LISTEN_FDS.
// Source: sd_notify(3), sd_listen_fds(3).
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace corten::daemon {

// Sends `state` ("READY=1", "STOPPING=1") to $NOTIFY_SOCKET; does nothing without it. Errors are
// for the log only.
Status NotifySupervisor(std::string_view state);

// The sockets that a supervisor passed in, close-on-exec from now on; empty without any. Clears the
// variables, so that children do not take them for theirs. Call once, before threads exist.
std::vector<Fd> TakeListenFds();

}  // namespace corten::daemon
