// The refusals of operations that do not fit a process's state, in the words that scripts know from
// containerd. Pure. Source: containerd 2.3 runc shim, as observed.
#pragma once

#include "base/error.h"
#include "shim/container.h"

namespace corten::shim {

enum class Verb { kStart, kPause, kResume, kExec, kUpdate, kDelete };

// kUnknown (no class of its own on the wire). REQUIRES: the operation does not fit `phase`.
Error WrongInitPhase(Verb verb, Phase phase);
Error WrongExecPhase(Verb verb, Phase phase);

}  // namespace corten::shim
