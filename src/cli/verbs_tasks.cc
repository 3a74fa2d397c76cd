// ctr tasks: the processes of containers.
#include <signal.h>

#include <nlohmann/json.hpp>

#include "base/dir.h"
#include "base/log.h"
#include "cli/container_spec.h"
#include "cli/process.h"
#include "cli/session.h"
#include "cli/signals.h"
#include "cli/stdio.h"
#include "cli/table.h"
#include "cli/task_making.h"
#include "cli/verbs.h"
#include "containerd/runc/v1/options.pb.h"
#include "oci/json.h"
#include "oci/spec.h"
#include "wire/any_types.h"

namespace corten::cli {

namespace {

constexpr const char* kStopSignalLabel = "io.containerd.image.config.stop-signal";

std::unique_ptr<client::Tasks> TasksOf(Session& session) {
  return client::RemoteTasks(session.connection(), session.scope());
}

Result<metadata::Container> ContainerOf(Session& session, const Values& values) {
  return session.containers().Get(session.ns(), model::ContainerId(values.Arg(0)));
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

Result<int> List(Session& session, const Values& values) {
  const std::vector<client::TaskState> states = TRY(TasksOf(session)->List());
  Table table(kWide);
  table.Row({"TASK", "PID", "STATUS"});
  for (const client::TaskState& state : states) {
    if (values.Bool("quiet")) {
      PrintLine(state.container.str());
    } else {
      table.Row({state.container.str(), StrCat(state.pid), state.status}, /*trailing=*/false);
    }
  }
  if (!values.Bool("quiet")) table.Print();
  return 0;
}

// What ctr shows of a process: "-", or the fields of its details.
std::string PidInfo(const client::TaskPid& process) {
  if (!process.info.has_value()) return "-";
  containerd::runc::v1::ProcessDetails details;
  if (!wire::CheckType(process.info->type_url, details.GetTypeName()).ok() ||
      !details.ParseFromString(process.info->value))
    return "-";
  return StrCat("exec_id:", Quoted(details.exec_id()));
}

// For the verbs that ask before the daemon is asked.
Status NeedContainer(const Values& values) {
  if (values.Arg(0).empty()) return UnknownError("container id must be provided");
  return Ok();
}

Result<int> Ps(Session& session, const Values& values) {
  TRY(NeedContainer(values));
  const metadata::Container container = TRY(ContainerOf(session, values));
  const std::unique_ptr<client::Tasks> tasks = TasksOf(session);
  TRY(tasks->Get(container.id));
  const std::vector<client::TaskPid> pids = TRY(tasks->Pids(container.id));
  Table table({1, 4, false});
  table.Row({"PID", "INFO"}, /*trailing=*/false);
  for (const client::TaskPid& process : pids)
    table.Row({StrCat(process.pid), PidInfo(process)}, /*trailing=*/false);
  table.Print();
  return 0;
}

Result<int> Pause(Session& session, const Values& values) {
  const metadata::Container container = TRY(ContainerOf(session, values));
  const std::unique_ptr<client::Tasks> tasks = TasksOf(session);
  TRY(tasks->Get(container.id));
  TRY(tasks->Pause(container.id));
  return 0;
}

Result<int> Resume(Session& session, const Values& values) {
  const metadata::Container container = TRY(ContainerOf(session, values));
  const std::unique_ptr<client::Tasks> tasks = TasksOf(session);
  TRY(tasks->Get(container.id));
  TRY(tasks->Resume(container.id));
  return 0;
}

Result<int> Kill(Session& session, const Values& values) {
  TRY(NeedContainer(values));
  if (values.Bool("all") && !values.Text("exec-id").empty())
    return UnknownError("specify an exec-id or all; not both");
  const metadata::Container container = TRY(ContainerOf(session, values));
  std::string name = values.Text("signal");
  if (name.empty()) {
    const auto label = container.labels.find(kStopSignalLabel);
    name = label == container.labels.end() ? "SIGTERM" : label->second;
  }
  const Result<uint32_t> signal = ParseSignal(name);
  if (!signal.ok()) return UnknownError("invalid signal: ", name);
  const std::unique_ptr<client::Tasks> tasks = TasksOf(session);
  TRY(tasks->Get(container.id));
  TRY(tasks->Kill(container.id, model::ExecId(values.Text("exec-id")), *signal,
                  values.Bool("all")));
  return 0;
}

// Deletes one task and its FIFOs. With `force` what still runs is killed first.
Result<client::TaskExit> DeleteTask(client::Tasks& tasks, const client::TaskState& state,
                                    bool force) {
  if (force && state.status != "STOPPED") {
    const Status killed = tasks.Kill(state.container, {}, SIGKILL, /*all=*/true);
    if (!killed.ok() && !killed.error().Is(Code::kNotFound)) return killed.error().Clone();
    TRY(tasks.Wait(state.container, {}));
  } else if (state.status != "STOPPED" && state.status != "CREATED") {
    return FailedPreconditionError("task must be stopped before deletion: ", Lower(state.status));
  }
  const client::TaskExit exit = TRY(tasks.Delete(state.container, {}));
  RemoveFifos(state.io);
  return exit;
}

// One of several; what goes wrong is logged here.
Status DeleteNamed(Session& session, const std::string& name, bool force) {
  const std::unique_ptr<client::Tasks> tasks = TasksOf(session);
  const model::ContainerId id(name);
  const Result<metadata::Container> container = session.containers().Get(session.ns(), id);
  if (!container.ok()) {
    log::Error(StrCat("failed to load container ", name),
               {{"error", container.error().WireText()}});
    return container.error().Clone();
  }
  Result<client::TaskState> state = tasks->Get(id);
  if (!state.ok()) {
    Error missing = std::move(state).TakeError();
    if (missing.Is(Code::kNotFound)) missing = std::move(missing).Context("no running task found");
    log::Error(StrCat("failed to load task from ", name), {{"error", missing.WireText()}});
    return missing;
  }
  Result<client::TaskExit> exit = DeleteTask(*tasks, *state, force);
  if (!exit.ok()) {
    log::Error(StrCat("unable to delete ", name), {{"error", exit.error().WireText()}});
    return std::move(exit).TakeError();
  }
  if (exit->status != 0)
    Warn(StrCat("task ", name, " exit with non-zero exit code ", exit->status));
  return Ok();
}

Result<int> DeleteExec(Session& session, const Values& values) {
  const metadata::Container container = TRY(ContainerOf(session, values));
  const model::ExecId exec(values.Text("exec-id"));
  const std::unique_ptr<client::Tasks> tasks = TasksOf(session);
  const client::TaskState state =
      TRY(tasks->GetProcess(container.id, exec).Context("no running process found"));
  const client::TaskExit exit = TRY(tasks->Delete(container.id, exec));
  RemoveFifos(state.io);
  return static_cast<int>(exit.status);
}

Result<int> Delete(Session& session, const Values& values) {
  if (!values.Text("exec-id").empty()) return DeleteExec(session, values);
  std::optional<Error> first;
  for (const std::string& name : values.args) {
    Status done = DeleteNamed(session, name, values.Bool("force"));
    if (!done.ok() && !first.has_value()) first = std::move(done).TakeError();
  }
  if (first.has_value()) return std::move(*first);
  return 0;
}

Result<int> Attach(Session& session, const Values& values) {
  const metadata::Container container = TRY(ContainerOf(session, values));
  const std::unique_ptr<client::Tasks> tasks = TasksOf(session);
  const client::TaskState state = TRY(tasks->Get(container.id));
  const std::unique_ptr<Stdio> stdio = Stdio::Attach(state.io);
  const int code = TRY(AttachInForeground(*tasks, container.id, {}, *stdio));
  TRY(tasks->Delete(container.id, {}));
  RemoveFifos(state.io);
  return code;
}

Result<int> Start(Session& session, const Values& values) {
  TRY(NeedContainer(values));
  const metadata::Container container = TRY(ContainerOf(session, values));
  const bool terminal = SpecHasTerminal(container);
  const TaskOptions options = TaskOptionsOf(values, terminal);
  return RunTask(session, container, {}, options);
}

Result<std::string> ExecProcess(Session& session, const metadata::Container& container,
                                const Values& values) {
  const oci::Json spec = TRY(oci::ParseObject(
      container.spec.has_value() ? std::string_view(container.spec->value) : "", "container spec"));
  oci::Json process = spec.contains("process") ? spec["process"] : oci::Json::object();
  if (!process.is_object()) return InvalidArgumentError("container spec: has no process");
  process["terminal"] = values.Bool("tty");
  process["args"] = std::vector<std::string>(values.args.begin() + 1, values.args.end());
  if (const std::string cwd = values.Text("cwd"); !cwd.empty()) process["cwd"] = cwd;
  if (const std::string user = values.Text("user"); !user.empty()) {
    const oci::WithRoot with_root = TRY(RootOf(session, container));
    Status set = oci::SetUser(process, user, with_root);
    if (set.ok()) set = oci::SetAdditionalGroups(process, user, with_root);
    if (!set.ok()) return std::move(set).TakeError().WithCode(Code::kUnknown);
  }
  return oci::Text(process);
}

Result<int> Exec(Session& session, const Values& values) {
  if (values.Text("exec-id").empty()) return UnknownError("Required flag \"exec-id\" not set");
  const metadata::Container container = TRY(ContainerOf(session, values));
  const std::unique_ptr<client::Tasks> tasks = TasksOf(session);
  const std::string process = TRY(ExecProcess(session, container, values));
  TRY(tasks->Get(container.id));
  const model::ExecId exec(values.Text("exec-id"));
  const model::Any spec{std::string(oci::kProcessType), process};
  TaskOptions options = TaskOptionsOf(values, values.Bool("tty"));
  options.io_name = exec.str();
  return RunExec(*tasks, container.id, exec, spec, options);
}

Command ExecCommand() {
  return {{"exec"},
          "execute additional processes in an existing container",
          "CONTAINER CMD [ARG...]",
          "",
          {TextFlag({"cwd"}, "working directory of the new process"),
           BoolFlag({"tty", "t"}, "allocate a TTY for the container"),
           BoolFlag({"detach", "d"}, "detach from the task after it has started execution"),
           TextFlag({"exec-id"}, "exec specific id for the process"),
           TextFlag({"fifo-dir"}, "directory used for storing IO FIFOs"),
           TextFlag({"log-uri"}, "log uri for custom shim logging"),
           TextFlag({"user"}, "user id or name")},
          {},
          InForeground(&Exec)};
}

Command KillCommand() {
  return {{"kill"},
          "signal a container (default: SIGTERM)",
          "[flags] CONTAINER",
          "",
          {TextFlag({"signal", "s"}, "signal to send to the container"),
           TextFlag({"exec-id"}, "process ID to kill"),
           BoolFlag({"all", "a"}, "send signal to all processes inside the container")},
          {},
          Connected(&Kill)};
}

}  // namespace

Command TasksCommand() {
  Command group;
  group.names = {"tasks", "t", "task"};
  group.summary = "manage tasks";
  const std::vector<Flag> start_flags = TaskFlags();
  group.commands = {
      {{"attach"},
       "attach to the IO of a running container",
       "CONTAINER",
       "",
       {},
       {},
       InForeground(&Attach)},
      {{"checkpoint"},
       "checkpoint a container",
       "CONTAINER",
       "",
       {},
       {},
       NotInThisBuild("tasks checkpoint")},
      {{"delete", "del", "remove", "rm"},
       "delete one or more tasks",
       "CONTAINER [CONTAINER, ...]",
       "",
       {BoolFlag({"force", "f"}, "force delete task process"),
        TextFlag({"exec-id"}, "process ID to kill")},
       {},
       Connected(&Delete)},
      ExecCommand(),
      {{"list", "ls"},
       "list tasks",
       "",
       "",
       {BoolFlag({"quiet", "q"}, "print only the task id")},
       {},
       Connected(&List)},
      KillCommand(),
      TaskMetricsCommand(),
      {{"pause"}, "pause an existing container", "CONTAINER", "", {}, {}, Connected(&Pause)},
      {{"ps"}, "list processes for container", "CONTAINER", "", {}, {}, Connected(&Ps)},
      {{"resume"}, "resume a paused container", "CONTAINER", "", {}, {}, Connected(&Resume)},
      {{"start"},
       "start a container that has been created",
       "CONTAINER",
       "",
       start_flags,
       {},
       InForeground(&Start)},
  };
  return group;
}

}  // namespace corten::cli
