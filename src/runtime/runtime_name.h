// From a runtime's name to the shim program that serves it.
//
// `A.B...NAME.VERSION` means the program `containerd-shim-NAME-VERSION`; an absolute path means
// itself. Threads: RuntimeResolver is thread-safe; it remembers answers for its life (a found
// program that vanishes later fails when it is started). Source: containerd 2.3; runtime.md 6.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::runtime {

// `io.containerd.runc.v2` -> `containerd-shim-runc-v2`. kUnknown: fewer than two parts, or an empty
// one.
Result<std::string> ShimProgramName(std::string_view runtime);

class RuntimeResolver {
 public:
  // `first`: directories before PATH (our own libexec directory); `last`: after it (next to the
  // daemon). `path`: $PATH.
  RuntimeResolver(std::vector<std::string> first, std::string path, std::vector<std::string> last);

  // The absolute path of the shim program.
  // Errors: kUnknown, in containerd's words: malformed name, relative path, no such file, not
  // installed (
  //         `runtime "X" binary not installed "containerd-shim-...": file does not exist`).
  Result<std::string> Resolve(const std::string& runtime);

 private:
  std::vector<std::string> directories_;
  std::mutex mutex_;  // guards found_
  std::map<std::string, std::string> found_;
};

}  // namespace corten::runtime
