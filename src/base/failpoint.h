// Kill points for the crash suite. Compiled in with CORTEN_FAILPOINTS only (never in the release
// preset).
//
// FAILPOINT("content.commit.renamed") ends the process with SIGKILL when the environment variable
//   CORTEN_KILL_AT=content.commit.renamed        (first passage), or
//   CORTEN_KILL_AT=content.commit.renamed@3      (third passage)
// names it. CORTEN_FAIL_AT in the same form makes FAILPOINT_ERROR return its error instead.
// With CORTEN_FAILPOINT_LOG=FILE each passage appends its name to FILE, so that a suite can list
// what a journey passes. Names are room.action.state and stand in tests/crash/ lists.
#pragma once

#include "base/error.h"

namespace corten {

#ifdef CORTEN_FAILPOINTS
namespace detail {
void PassFailpoint(const char* name);
bool FailpointFails(const char* name);
}  // namespace detail
#define FAILPOINT(name) ::corten::detail::PassFailpoint(name)
// A statement: returns `error` from the enclosing function when CORTEN_FAIL_AT asks for it.
#define FAILPOINT_ERROR(name, error)                            \
  do {                                                          \
    if (::corten::detail::FailpointFails(name)) return (error); \
  } while (false)
#else
#define FAILPOINT(name) static_cast<void>(0)
#define FAILPOINT_ERROR(name, error) static_cast<void>(0)
#endif

}  // namespace corten
