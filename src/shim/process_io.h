// Standard input and output of one process: what the runtime gets, and how it reaches the client's
// FIFOs, files or logging program.
//
// Life cycle: Open -> [runtime is spawned with ChildDescriptors] -> CloseChildEnds -> (runtime
// succeeded) Begin ->
// ... -> ProcessEnded -> Drain -> destroyed. A terminal arrives over the console socket while the
// runtime runs.
//
// Places: "" is /dev/null (read-write); a path or fifo:// is an existing FIFO or file; file:// is
// made if missing and takes both outputs; binary:// and binary-v2:// start a logging program that
// reads the container's pipes directly. The scheme is decided by stdout alone. Anything else is
// kUnimplemented. Crash: with the shim the container's pipes lose their reader; nothing on disk
// remains but the client's files. Threads: loop thread only. Source: containerd 2.3 runtime v2
// stdio.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "os/pty.h"
#include "shim/copier.h"
#include "shim/log_program.h"
#include "shim/oci_runtime.h"
#include "shim/reaper.h"

namespace corten::shim {

struct StdioPlaces {
  std::string in;
  std::string out;
  std::string err;
  bool terminal = false;
};

// What a stdout value names.
enum class PlaceKind { kNull, kPath, kFile, kBinary, kBinaryV2, kUnknown };
struct Place {
  PlaceKind kind = PlaceKind::kNull;
  std::string path;                                        // without scheme and query
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
};
Place ParsePlace(const std::string& text);

class ProcessIo {
 public:
  struct Owner {
    uid_t uid = 0;
    gid_t gid = 0;
    std::string ns;
    std::string container;
    std::string bundle;  // the console socket goes here if its path fits, so that it goes with the
                         // container
  };
  using Opened = std::function<void(Result<std::unique_ptr<ProcessIo>> io)>;

  // Opens everything; `done` runs once, inside this call or later (logging programs take their time
  // to get ready: at most 30 s). Errors: kNotFound and others of the places; on error nothing stays
  // open.
  static void Open(Loop& loop, Reaper& reaper, const StdioPlaces& places, const Owner& owner,
                   Opened done);
  ~ProcessIo();

  StdioDescriptors ChildDescriptors() const;  // empty with a terminal
  std::string console_path() const;           // "" without a terminal
  void CloseChildEnds();

  // Takes the terminal that the runtime has sent, if there is one to come, and starts copying.
  // `done` runs once, inside or later. kDeadlineExceeded: no terminal within 30 s.
  void Begin(std::function<void(Status)> done);

  // Opens stdin and starts copying it, once. Only now can a client's open of the FIFO for writing
  // succeed: clients tell the end of their input by CloseIO, which they can do only after Create
  // has been answered, and an input that ends at once must not end before that. So for init this
  // belongs to Start.
  void OpenStdin();
  // Closes the held write side of stdin: the process sees the end when the client has closed its
  // side too.
  void CloseStdin();
  // Success without a terminal.
  Status Resize(os::WindowSize size);
  // The process has been reaped: a terminal's hang-up is final, and stdin needs no reader.
  void ProcessEnded();
  // Waits for the outputs' end (a grandchild may hold them), at most `limit`; `done` runs once,
  // inside or later.
  void Drain(std::chrono::milliseconds limit, std::function<void()> done);

 private:
  ProcessIo(Loop& loop, bool terminal) : loop_(loop), terminal_(terminal) {}
  Status OpenPlaces(const StdioPlaces& places, const Place& out_place, const Owner& owner);
  Status OpenInput(const std::string& path, const Owner& owner);
  Status OpenOutput(int number, const std::string& path, bool make, const Owner& owner);
  Status OpenLogPipes(const Owner& owner);
  void OnConsole();
  void TerminalArrived(Fd terminal);
  void StartCopying();
  void CheckDrained();

  struct Output {
    Fd child_end;  // write end of the pipe, or /dev/null, or the file
    Fd source;     // our read end
    Fd sink;
    Fd keep;  // the FIFO's read side
    bool splice = false;
    std::unique_ptr<Copier> copier;
  };

  Loop& loop_;
  const bool terminal_;
  Fd in_child_;
  Fd in_place_;  // O_PATH: the FIFO, until it is opened
  Fd in_sink_;
  Fd in_keep_;
  bool in_closed_ = false;  // CloseStdin has been called
  std::unique_ptr<Copier> in_copier_;
  Output outputs_[2];
  std::optional<os::ConsoleSocket> console_;
  Fd connection_;
  Fd master_;
  std::unique_ptr<LogProgram> log_program_;
  Loop::TimerId timer_ = 0;
  std::function<void(Status)> begun_;
  std::function<void()> drained_;
};

}  // namespace corten::shim
