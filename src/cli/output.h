// Flag --output of the friendly verbs. One thread.
#pragma once

#include "cli/command.h"

namespace corten::cli {

inline Flag OutputFlag() { return TextFlag({"output", "o"}, "table or json", "table"); }

// kInvalidArgument: neither table nor json.
inline Result<bool> WantsJson(const Values& values) {
  const std::string output = values.Text("output");
  if (output != "table" && output != "json")
    return InvalidArgumentError("output ", Quoted(output), ": this build knows table and json");
  return output == "json";
}

}  // namespace corten::cli
