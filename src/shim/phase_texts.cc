#include "shim/phase_texts.h"

namespace corten::shim {

namespace {

// "a paused container", with the noun that the original uses for this verb and state.
Error CannotVerbA(const char* verb, const char* phase, const char* noun) {
  return UnknownError("cannot ", verb, " a ", phase, " ", noun);
}

const char* PhaseWord(Phase phase) {
  switch (phase) {
    case Phase::kCreated:
      return "created";
    case Phase::kRunning:
      return "running";
    case Phase::kPausing:
    case Phase::kPaused:
      return "paused";
    case Phase::kStopped:
      return "stopped";
  }
  return "unknown";
}

}  // namespace

Error WrongInitPhase(Verb verb, Phase phase) {
  const char* word = PhaseWord(phase);
  switch (verb) {
    case Verb::kStart:
      return CannotVerbA("start", word, "process");
    case Verb::kPause:
      if (phase == Phase::kCreated) return UnknownError("cannot pause task in created state");
      return CannotVerbA("pause", word, "container");
    case Verb::kResume:
      if (phase == Phase::kCreated) return UnknownError("cannot resume task in created state");
      return CannotVerbA("resume", word, phase == Phase::kStopped ? "container" : "process");
    case Verb::kExec:
      return UnknownError("cannot exec in a ", word, " state");
    case Verb::kUpdate:
      return CannotVerbA("update", word, "container");
    case Verb::kDelete:
      return CannotVerbA("delete", word, "process");
  }
  return UnknownError("operation does not fit a ", word, " process");
}

Error WrongExecPhase(Verb verb, Phase phase) {
  return CannotVerbA(verb == Verb::kDelete ? "delete" : "start", PhaseWord(phase), "process");
}

}  // namespace corten::shim
