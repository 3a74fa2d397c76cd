// The system calls of a program, as strace tells them, for tests that hold an order of flushes.
// Tests only.
#pragma once

#include <chrono>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/dir.h"
#include "base/spawn.h"

namespace corten {

// Runs `args` to its end and returns its successful calls among `names` ("fsync,write"), one line
// each, without the process id: `fsync(5</tmp/x/blobs/sha256>) = 0`. Descriptors carry their paths.
// kNotFound: no strace. kFailedPrecondition: the program failed.
inline Result<std::vector<std::string>> TraceCalls(const std::vector<std::string>& args,
                                                   const std::string& names,
                                                   const std::string& log) {
  constexpr std::chrono::seconds kTime{120};
  SpawnOptions options;
  options.args = {"strace", "-f", "-y", "-s", "200", "-o", log, "-e", "trace=" + names};
  options.args.emplace_back("--env=LSAN_OPTIONS=detect_leaks=0");  // it cannot look when traced
  options.args.emplace_back("--");
  options.args.insert(options.args.end(), args.begin(), args.end());
  const RunOutput run = TRY(RunProgram(std::move(options), "", kTime));
  if (!run.status.ok()) return FailedPreconditionError("traced program failed: ", run.err);
  const std::string text = TRY(ReadFileAt(log, 64 << 20));
  std::vector<std::string> calls;
  std::istringstream lines(text);
  std::map<std::string, std::string>
      begun;  // by process id: calls that another thread's line has cut in two
  for (std::string line; std::getline(lines, line);) {
    const size_t start = line.find_first_not_of("0123456789 ");
    if (start == std::string::npos) continue;
    const std::string process = line.substr(0, line.find(' '));
    std::string call = line.substr(start);
    if (const size_t cut = call.find(" <unfinished ...>"); cut != std::string::npos) {
      begun[process] = call.substr(0, cut);
      continue;
    }
    if (const size_t rest = call.find(" resumed>");
        call.starts_with("<... ") && rest != std::string::npos) {
      call = begun[process] + call.substr(rest + std::string_view(" resumed>").size());
    }
    if (call.find(" = -1 ") != std::string::npos || call.find(" = ") == std::string::npos) continue;
    calls.push_back(std::move(call));
  }
  return calls;
}

// The first call at or behind `from` that begins with `name` and holds each of `parts`;
// calls.size() if there is none.
inline size_t FindCall(const std::vector<std::string>& calls, size_t from, std::string_view name,
                       const std::vector<std::string>& parts) {
  for (size_t i = from; i < calls.size(); ++i) {
    bool all = calls[i].starts_with(name);
    for (const std::string& part : parts) all = all && calls[i].find(part) != std::string::npos;
    if (all) return i;
  }
  return calls.size();
}

}  // namespace corten
