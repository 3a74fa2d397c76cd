// A logging program (`binary://`): reads a container's output from descriptors 3 and 4 and says on
// 5 when it is ready.
//
// It gets no environment but CONTAINER_ID and CONTAINER_NAMESPACE. It outlives nothing: when the
// container's output has ended it may finish by itself; Stop sends SIGTERM and, 12 s later,
// SIGKILL, without anybody waiting. Threads: loop thread only. Source: containerd 2.3 logging
// programs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "shim/reaper.h"

namespace corten::shim {

struct LogProgramOptions {
  std::string path;
  std::vector<std::pair<std::string, std::string>> arguments;  // key and value become two words
  std::string ns;
  std::string container;
  bool needs_byte = false;  // binary-v2: the end of descriptor 5 alone does not mean ready
};

class LogProgram {
 public:
  using Ready = std::function<void(Result<std::unique_ptr<LogProgram>> program)>;
  // Takes the read ends of both outputs. `ready` runs once, later, or inside with an error.
  // Errors: kNotFound (no such program), kDeadlineExceeded (not ready in 30 s), kUnknown (ended
  // before it was ready).
  static void Start(Loop& loop, Reaper& reaper, const LogProgramOptions& options, Fd out, Fd err,
                    Ready ready);
  ~LogProgram();  // Stop
  bool ended() const;
  void OnEnd(std::function<void()> handler);
  void Stop();

 private:
  struct State;
  explicit LogProgram(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;  // shared with the handlers on the loop, which may outlive us
};

}  // namespace corten::shim
