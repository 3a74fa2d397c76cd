// Events of the daemon as text. Pure functions; any thread.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "model/labels.h"

namespace corten::cli {

// The payload of an event, by its type. kNotFound: a type this build does not know;
// kInvalidArgument: not a message of its type.
Result<std::string> EventJson(const model::Any& event);

// "2026-11-21 01:41:31.058025437 +0000 UTC".
std::string GoTime(Time time);

}  // namespace corten::cli
