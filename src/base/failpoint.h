// Kill points for the crash suites. Compiled in with CORTEN_FAILPOINTS only (never in the release
// preset).
//
// FAILPOINT("content.commit.renamed") ends the process with SIGKILL when the environment variable
//   CORTEN_KILL_AT=content.commit.renamed        (first passage), or
//   CORTEN_KILL_AT=content.commit.renamed@3      (third passage)
// names it. CORTEN_FAIL_AT in the same form makes FAILPOINT_ERROR return its error instead.
// CORTEN_KILL_FILE=FILE is for a process that runs already: FILE, read at each passage, holds
// nothing, or NAME@N PID. Whoever passes NAME for the Nth time since the file said so writes
// FILE.fired and sends SIGKILL to PID, so that a daemon can be killed at a step of its shim too.
// With CORTEN_FAILPOINT_LOG=FILE each passage appends its name to FILE, so that a suite can list
// what a journey passes. Names are room.action.state.
//
// FAILPOINT_NOTE("events.delivered", text) appends "events.delivered TEXT" to CORTEN_NOTES=FILE: a
// witness that sees what no client can, having to connect first. `text` is evaluated only then.
//
// FAILPOINT_SKIPS("bolt.commit.flush") is true when CORTEN_SKIP names it: the suites must notice
// that the step is gone. The names stand in tests/crash/mutations.txt.
//
// Threads: any. Errors of the files are ignored: the suite misses what they should say.
#pragma once

#include <string_view>

#include "base/error.h"

namespace corten {

#ifdef CORTEN_FAILPOINTS
namespace detail {
void PassFailpoint(const char* name);
bool FailpointFails(const char* name);
bool FailpointNotes();
void FailpointNote(const char* name, std::string_view text);
bool FailpointSkips(const char* name);
}  // namespace detail
#define FAILPOINT(name) ::corten::detail::PassFailpoint(name)
// A statement: returns `error` from the enclosing function when CORTEN_FAIL_AT asks for it.
#define FAILPOINT_ERROR(name, error)                            \
  do {                                                          \
    if (::corten::detail::FailpointFails(name)) return (error); \
  } while (false)
#define FAILPOINT_NOTE(name, text)                                                       \
  do {                                                                                   \
    if (::corten::detail::FailpointNotes()) ::corten::detail::FailpointNote(name, text); \
  } while (false)
#define FAILPOINT_SKIPS(name) ::corten::detail::FailpointSkips(name)
#else
#define FAILPOINT(name) static_cast<void>(0)
#define FAILPOINT_ERROR(name, error) static_cast<void>(0)
#define FAILPOINT_NOTE(name, text) static_cast<void>(0)
#define FAILPOINT_SKIPS(name) false
#endif

}  // namespace corten
