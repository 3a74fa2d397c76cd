#include "runtime/runtime_name.h"

#include <sys/stat.h>
#include <unistd.h>

namespace corten::runtime {

namespace {

bool IsProgram(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && access(path.c_str(), X_OK) == 0;
}

// Wire: containerd answers UNKNOWN to all of these.
Error Malformed(std::string_view runtime) {
  return UnknownError("invalid runtime name ", runtime,
                      ", correct runtime name should be either format like `io.containerd.runc.v2` "
                      "or a full path to the binary");
}

}  // namespace

Result<std::string> ShimProgramName(std::string_view runtime) {
  const size_t last = runtime.rfind('.');
  if (last == std::string_view::npos || last == 0 || last + 1 == runtime.size()) {
    return Malformed(runtime);
  }
  const size_t before = runtime.rfind('.', last - 1);
  const std::string_view name = before == std::string_view::npos
                                    ? runtime.substr(0, last)
                                    : runtime.substr(before + 1, last - before - 1);
  if (name.empty() || runtime.front() == '.') {
    return Malformed(runtime);
  }
  return StrCat("containerd-shim-", name, "-", runtime.substr(last + 1));
}

RuntimeResolver::RuntimeResolver(std::vector<std::string> first, std::string path,
                                 std::vector<std::string> last)
    : directories_(std::move(first)) {
  size_t begin = 0;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find(':', begin), path.size());
    // An empty entry would mean the working directory: nothing of ours is run from there.
    if (end > begin) directories_.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  for (std::string& directory : last) directories_.push_back(std::move(directory));
}

Result<std::string> RuntimeResolver::Resolve(const std::string& runtime) {
  if (runtime.empty()) return UnknownError("no runtime name given");
  if (runtime.front() == '/') {
    if (!IsProgram(runtime))
      return UnknownError("invalid custom binary path: stat ", runtime,
                          ": no such file or directory");
    return runtime;
  }
  if (runtime.find('/') != std::string::npos) return Malformed(runtime);
  {
    const std::lock_guard lock(mutex_);
    const auto known = found_.find(runtime);
    if (known != found_.end()) return known->second;
  }
  const std::string program = TRY(ShimProgramName(runtime));
  for (const std::string& directory : directories_) {
    std::string path = StrCat(directory, "/", program);
    if (!IsProgram(path)) continue;
    const std::lock_guard lock(mutex_);
    return found_.emplace(runtime, std::move(path)).first->second;
  }
  return UnknownError("runtime ", Quoted(runtime), " binary not installed ", Quoted(program),
                      ": file does not exist");
}

}  // namespace corten::runtime
