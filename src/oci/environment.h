// A process's environment as a list of KEY=VALUE, and how one list goes over another. Pure
// functions but ReadEnvFile; any thread. Source: containerd 2.3's rules, seen from outside.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace corten::oci {

// An entry of `over` replaces the one of the same name that `env` had, where that stands; others
// come last, in order, a name given twice twice (the kernel does not mind, and the last one
// counts). An entry without `=` takes the name away.
void MergeEnv(std::vector<std::string>& env, const std::vector<std::string>& over);

// The lines of a file, each one entry. Errors by errno; kInvalidArgument beyond 1 MiB.
Result<std::vector<std::string>> ReadEnvFile(const std::string& path);

}  // namespace corten::oci
