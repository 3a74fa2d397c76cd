// Running a program to its end without blocking the loop: with a deadline, output captured within a
// bound.
//
// Used for every OCI runtime call and for slow work (unmount). At the deadline the program is
// killed (SIGKILL) and the call fails with kDeadlineExceeded. What grandchildren still hold open of
// the outputs is not waited for. Threads: loop thread only. The call keeps itself alive until its
// callback has run.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/loop.h"
#include "base/spawn.h"
#include "shim/reaper.h"

namespace corten::shim {

struct ProgramOutput {
  ExitStatus status;
  std::string out;
  std::string err;
};
using ProgramDone = std::function<void(Result<ProgramOutput> result)>;

struct ProgramCall {
  SpawnOptions spawn;
  std::string input;        // for standard input, unless `spawn.fds` names descriptor 0
  bool capture_out = true;  // if false, `spawn.fds` decides
  bool capture_err = true;
  std::chrono::milliseconds deadline{60'000};
};

// Starts it. `done` runs once, never inside this call, except that a program that cannot be started
// is this call's error. The program is killed when the shim dies (parent death signal).
Status RunProgramCall(Loop& loop, Reaper& reaper, ProgramCall call, ProgramDone done);

}  // namespace corten::shim
