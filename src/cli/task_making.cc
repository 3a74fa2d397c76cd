#include "cli/task_making.h"

#include <signal.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/dir.h"
#include "cli/process.h"
#include "cli/stdio.h"
#include "cli/undo.h"
#include "containerd/runc/v1/options.pb.h"
#include "oci/json.h"
#include "wire/any_types.h"

namespace corten::cli {

namespace {

constexpr const char* kFifoDir = "/run/containerd/fifo";

// Options of a task: the container's own, with what only a task has.
std::optional<model::Any> RuntimeOptionsOf(const metadata::Container& container,
                                           const TaskOptions& options) {
  if (!options.no_pivot && !options.io_uid.has_value() && !options.io_gid.has_value())
    return std::nullopt;
  containerd::runc::v1::Options runc;
  if (container.runtime.options.has_value() &&
      wire::CheckType(container.runtime.options->type_url, wire::kRuncOptionsType).ok())
    (void)runc.ParseFromString(container.runtime.options->value);  // bad ones fail in the shim, too
  if (options.no_pivot) runc.set_no_pivot_root(true);
  if (options.io_uid.has_value()) runc.set_io_uid(*options.io_uid);
  if (options.io_gid.has_value()) runc.set_io_gid(*options.io_gid);
  return model::Any{std::string(wire::kRuncOptionsType), runc.SerializeAsString()};
}

// As one piece: a reader sees all of it or the old one.
Status WritePidFile(const std::string& path, uint32_t pid) {
  const size_t slash = path.rfind('/');
  const Dir dir = TRY(Dir::Open(slash == std::string::npos ? std::string(".")
                                : slash == 0               ? std::string("/")
                                                           : path.substr(0, slash)));
  return ReplaceFile(dir, slash == std::string::npos ? path : path.substr(slash + 1), StrCat(pid),
                     0644, FileReplacer::Durable::kNo);
}

// The stdio that the options ask for. `stdio` stays empty when no FIFOs are wanted.
struct Wiring {
  client::TaskIo io;
  std::unique_ptr<Stdio> stdio;
};

Result<Wiring> Wire(const TaskOptions& options, const std::string& name) {
  Wiring wiring;
  wiring.io.terminal = options.terminal;
  if (options.null_io) {
    if (options.terminal) return InvalidArgumentError("tty and null-io cannot be used together");
    return wiring;
  }
  if (!options.log_uri.empty()) {
    wiring.io.out = options.log_uri;
    if (!options.terminal) wiring.io.err = options.log_uri;
    return wiring;
  }
  if (options.terminal && !options.detach && isatty(0) == 0 && isatty(1) == 0 && isatty(2) == 0)
    return InvalidArgumentError("provided file is not a console");
  StdioOptions wanted;
  wanted.parent = options.fifo_dir.empty() ? kFifoDir : options.fifo_dir;
  wanted.id = name;
  wanted.terminal = options.terminal;
  wiring.stdio = TRY(Stdio::Create(wanted));
  wiring.io = wiring.stdio->io();
  return wiring;
}

Result<int> Foreground(client::Tasks& tasks, const model::ContainerId& id,
                       const model::ExecId& exec, Wiring& wiring) {
  if (wiring.stdio == nullptr) wiring.stdio = Stdio::Attach({});
  return RunInForeground(tasks, id, exec, *wiring.stdio);
}

}  // namespace

std::vector<Flag> TaskFlags() {
  return {BoolFlag({"no-pivot"}, "disable use of pivot-root (linux only)"),
          BoolFlag({"null-io"}, "send all IO to /dev/null"),
          TextFlag({"log-uri"}, "log uri"),
          TextFlag({"fifo-dir"}, "directory used for storing IO FIFOs"),
          TextFlag({"pid-file"}, "file path to write the task's pid"),
          BoolFlag({"detach", "d"}, "detach from the task after it has started execution")};
}

TaskOptions TaskOptionsOf(const Values& values, bool terminal) {
  TaskOptions options;
  options.terminal = terminal;
  options.detach = values.Bool("detach");
  options.log_uri = values.Text("log-uri");
  options.fifo_dir = values.Text("fifo-dir");
  options.null_io = values.Declared("null-io") && values.Bool("null-io");
  options.no_pivot = values.Declared("no-pivot") && values.Bool("no-pivot");
  if (values.Declared("pid-file")) options.pid_file = values.Text("pid-file");
  return options;
}

bool SpecHasTerminal(const metadata::Container& container) {
  if (!container.spec.has_value()) return false;
  const Result<oci::Json> spec = oci::ParseObject(container.spec->value, "container spec");
  if (!spec.ok()) return false;
  const auto process = spec->find("process");
  if (process == spec->end() || !process->is_object()) return false;
  const auto terminal = process->find("terminal");
  return terminal != process->end() && terminal->is_boolean() && terminal->get<bool>();
}

Action InForeground(SessionAction action) {
  return [action = std::move(action)](const Values& values) -> Result<int> {
    BlockForwardedSignals();
    const std::unique_ptr<Session> session = TRY(Session::Open(values));
    return action(*session, values);
  };
}

Result<int> RunTask(Session& session, const metadata::Container& container,
                    const std::optional<std::vector<model::Mount>>& rootfs,
                    const TaskOptions& options) {
  const std::unique_ptr<client::Tasks> tasks =
      client::RemoteTasks(session.connection(), session.scope());
  std::vector<model::Mount> mounts = rootfs.value_or(std::vector<model::Mount>());
  if (!rootfs.has_value() && !container.snapshot_key.empty()) {
    const std::unique_ptr<snapshot::Snapshotter> snapshots =
        TRY(session.stores().Snapshots(session.scope(), container.snapshotter));
    mounts = TRY(snapshots->Mounts(container.snapshot_key));
  }
  Wiring wiring =
      TRY(Wire(options, options.io_name.empty() ? container.id.str() : options.io_name));
  TRY(NotInterrupted());
  const uint32_t pid =
      TRY(tasks->Create(container.id, mounts, wiring.io, RuntimeOptionsOf(container, options)));
  Undo undo;
  if (!options.detach) {
    undo.Add([&] {
      // A task that was made and never started has a process, too.
      (void)tasks->Kill(container.id, {}, SIGKILL, /*all=*/true);
      (void)tasks->Wait(container.id, {});
      (void)tasks->Delete(container.id, {});
    });
  }
  if (!options.pid_file.empty()) TRY(WritePidFile(options.pid_file, pid));
  if (options.detach) {
    if (wiring.stdio != nullptr) wiring.stdio->Leave();
    TRY(tasks->Start(container.id, {}));
    return 0;
  }
  const int code = TRY(Foreground(*tasks, container.id, {}, wiring));
  undo.Keep();
  TRY(tasks->Delete(container.id, {}));
  return code;
}

Result<int> RunExec(client::Tasks& tasks, const model::ContainerId& id, const model::ExecId& exec,
                    const model::Any& process, const TaskOptions& options) {
  Wiring wiring = TRY(Wire(options, options.io_name));
  TRY(tasks.Exec(id, exec, process, wiring.io));
  if (options.detach) {
    if (wiring.stdio != nullptr) wiring.stdio->Leave();
    TRY(tasks.Start(id, exec));
    return 0;
  }
  const Result<int> code = Foreground(tasks, id, exec, wiring);
  const Result<client::TaskExit> deleted = tasks.Delete(id, exec);
  if (!code.ok()) return code.error().Clone();
  if (!deleted.ok()) return deleted.error().Clone();
  return *code;
}

}  // namespace corten::cli
