// The OCI runtime (runc, crun, ...) as a program: command lines, deadlines, and its errors in
// containerd's words.
//
// Every call names the state directory ROOT/NAMESPACE and a log file in the bundle. After a failure
// the last error that the call itself appended to the log becomes the text, because clients match
// on it; what this project adds is an explanation of two refusals that users of crun meet.
//
// Two steps of a runc container are done here without runc where its record allows it (RuncState):
// start, which lets init pass its fifo, and the delete of one that has ended. Threads: loop thread
// only. Crash: a runtime process dies with the shim (parent death signal). Source:
// containerd 2.3 runc shim command lines; runc 1.1 to 1.3, crun 1.8 to 1.28.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/strcat.h"
#include "shim/bundle.h"
#include "shim/reaper.h"
#include "shim/runc_state.h"

namespace corten::shim {

// Descriptors for the program that the runtime starts: (ours, number). Empty: the runtime's output
// is captured.
using StdioDescriptors = std::vector<std::pair<FdRef, int>>;

class OciRuntime {
 public:
  using Done = std::function<void(Status status)>;

  // `oci_version` is the bundle's, for the explanation of a refusal.
  OciRuntime(Loop& loop, Reaper& reaper, std::string ns, std::string id, std::string bundle,
             RuntimeSettings settings, std::string oci_version);
  ~OciRuntime();
  OciRuntime(const OciRuntime&) = delete;
  OciRuntime& operator=(const OciRuntime&) = delete;

  // Runtimes whose container processes are ordinary host processes, so that the shim may signal and
  // count them itself.
  static bool RunsHostProcesses(std::string_view binary);
  bool runs_host_processes() const { return host_processes_; }
  const RuntimeSettings& settings() const { return settings_; }

  // The container's init, once it is created: what runc has on record must be of this process.
  void SetInit(pid_t pid) { init_ = pid; }
  // Init has ended: a start that waits for it is concluded.
  void InitEnded();

  // Each calls `done` once, later. Errors: kUnknown with the runtime's text, kNotFound and
  // kDeadlineExceeded as said.
  void Create(const std::string& console_socket, const std::string& pid_file,
              StdioDescriptors stdio, Done done);
  void Start(Done done);
  void Exec(const std::string& process_file, const std::string& console_socket,
            const std::string& pid_file, StdioDescriptors stdio, Done done);
  // kNotFound `process already finished` when there is nothing to signal.
  enum class Target { kInit, kAll };
  void Kill(uint32_t signal, Target target, Done done);
  // "does not exist" is success.
  enum class Force { kNo, kYes };
  void Delete(Force force, Done done);
  void Pause(Done done);
  void Resume(Done done);
  void Update(std::string resources_json, Done done);
  void ListPids(std::function<void(Result<std::vector<pid_t>>)> done);

  // The arguments in front of a command, and the log file. For `delete` without a loop.
  std::vector<std::string> BaseArguments() const;
  const std::string& log_path() const { return log_path_; }

 private:
  struct Call {
    std::vector<std::string> words;  // command and its arguments
    std::string_view failure;        // "OCI runtime create failed"
    std::chrono::milliseconds deadline;
    StdioDescriptors stdio;
    std::string input;
  };
  void Run(Call call, std::function<void(Result<std::string> output)> done);

  // A start without runc: init has been let go on, and its byte is awaited.
  struct PendingStart {
    RuncState state;
    Fd fifo;
    Loop::TimerId timer = 0;
    Done done;
  };
  bool StartWithoutRuntime(const Done& done);
  bool FinishStart();  // false: init's byte has not come
  void AbandonStart();
  void StartByRuntime(Done done);
  bool DeleteWithoutRuntime();
  std::string StateRoot() const { return StrCat(settings_.root, "/", ns_); }

  Loop& loop_;
  Reaper& reaper_;
  std::string ns_;
  std::string id_;
  std::string log_path_;
  RuntimeSettings settings_;
  std::string oci_version_;
  bool host_processes_;
  pid_t init_ = 0;
  std::optional<PendingStart> pending_start_;
};

// The message of the last error in the runtime's log from byte `offset` on. "" if there is none; an
// error if the file cannot be read. Understands runc's and crun's lines and youki's nested ones.
Result<std::string> LastRuntimeError(const std::string& log_path, uint64_t offset);

// What a failed call is reported as. `failure` is e.g. "OCI runtime create failed", `logged` comes
// from LastRuntimeError, `cause` says how the program ended or why it did not start, `output` is
// what it printed.
Error RuntimeFailure(std::string_view failure, const Result<std::string>& logged,
                     std::string_view cause, std::string_view output, std::string_view oci_version);

// Whether a text means that the container or process is gone. They differ by runtime and version.
bool MeansNotExisting(std::string_view text);
bool MeansNotRunning(std::string_view text);

}  // namespace corten::shim
