// Standard input and output between this terminal and a container's process, through FIFOs that the
// shim opens.
//
// Life cycle: Create (makes the FIFOs and opens our ends: containerd's own shim answers no Create
// before they are) -> the task or exec is created with io() -> Start (copies in a thread) ->
// LetInput once the process runs -> Finish after the process has ended (copies what is left, at
// most kDrain, and removes the FIFOs). The destructor does the same without waiting. With a
// terminal the caller's terminal is raw from Start to Finish. A process that runs on without us:
// Create -> Leave, and the FIFOs stay for whoever attaches (Attach -> Start -> Finish) or deletes
// the process (RemoveFifos).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/dir.h"
#include "base/error.h"
#include "base/fd.h"
#include "client/tasks.h"
#include "os/pty.h"

namespace corten::cli {

inline constexpr std::chrono::seconds kDrain(10);  // a grandchild may hold the pipe for ever

struct StdioOptions {
  std::string parent = "/run/containerd/fifo";  // where the directory of the FIFOs is made
  std::string id;                               // names the FIFOs
  bool terminal = false;
  bool input = true;  // false: the process gets no standard input
};

class Stdio {
 public:
  static Result<std::unique_ptr<Stdio>> Create(const StdioOptions& options);
  // To the FIFOs of a process that runs; they stay when we go. What is no FIFO (a log's URI) is
  // left alone.
  static std::unique_ptr<Stdio> Attach(const client::TaskIo& io);
  ~Stdio();
  Stdio(const Stdio&) = delete;
  Stdio& operator=(const Stdio&) = delete;

  const client::TaskIo& io() const { return io_; }
  // `on_input_end` is called once, from the copying thread, when our standard input has ended.
  // Output is copied at once, input only after LetInput: a process that has not started may not
  // have opened its FIFO, and what nobody holds open is lost.
  Status Start(std::function<void()> on_input_end);
  void LetInput() { go_.write.Reset(); }
  // REQUIRES: the process has ended.
  void Finish();
  // Nothing is copied any more, the FIFOs stay. REQUIRES: not started.
  void Leave() { dir_ = Dir(); }

 private:
  Stdio(Dir dir, client::TaskIo io, bool input)
      : dir_(std::move(dir)), io_(std::move(io)), has_input_(input) {}
  Status Open();
  void Copy();
  Dir dir_;
  client::TaskIo io_;
  bool has_input_;
  std::function<void()> on_input_end_;
  Fd in_;
  Fd out_;
  Fd err_;
  Pipe stop_;
  Pipe go_;
  std::optional<os::RawMode> raw_;
  std::thread thread_;
};

// Removes the FIFOs of a process that is gone, and the directory they were alone in. What is no
// FIFO stays; errors are of no use to anyone.
void RemoveFifos(const client::TaskIo& io);

}  // namespace corten::cli
