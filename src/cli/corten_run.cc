// corten run, corten exec.
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/log.h"
#include "cli/corten_verbs.h"
#include "cli/held_lease.h"
#include "cli/image_rootfs.h"
#include "cli/process.h"
#include "cli/session.h"
#include "cli/undo.h"
#include "containerd/runc/v1/options.pb.h"
#include "oci/spec.h"

namespace corten::cli {

namespace {

constexpr int64_t kCpuPeriodUs = 100000;

std::string RandomId() {
  unsigned char raw[6] = {};
  (void)!getrandom(raw, sizeof(raw), 0);  // a clash is answered with "already exists"
  return Hex(std::string_view(reinterpret_cast<const char*>(raw), sizeof(raw)));
}

Result<oci::BindMount> ParseVolume(const std::string& text) {
  const size_t first = text.find(':');
  if (first == std::string::npos)
    return InvalidArgumentError("volume ", Quoted(text), ": want SOURCE:TARGET[:ro]");
  const size_t second = text.find(':', first + 1);
  oci::BindMount mount;
  mount.source = text.substr(0, first);
  mount.target = text.substr(first + 1, second == std::string::npos ? second : second - first - 1);
  const std::string mode = second == std::string::npos ? "" : text.substr(second + 1);
  if (mode != "" && mode != "ro" && mode != "rw")
    return InvalidArgumentError("volume ", Quoted(text), ": mode must be ro or rw");
  mount.read_only = mode == "ro";
  if (mount.source.empty() || mount.source[0] != '/' || mount.target.empty() ||
      mount.target[0] != '/') {
    return InvalidArgumentError("volume ", Quoted(text), ": both paths must be absolute");
  }
  if (access(mount.source.c_str(), F_OK) != 0) return ErrnoError(errno, "volume ", mount.source);
  return mount;
}

// "512m", "1g", "1048576".
Result<int64_t> ParseBytes(const std::string& text) {
  int64_t scale = 1;
  std::string digits = text;
  if (!digits.empty()) {
    const char unit = digits.back();
    scale = unit == 'k' || unit == 'K'   ? 1 << 10
            : unit == 'm' || unit == 'M' ? 1 << 20
            : unit == 'g' || unit == 'G' ? 1 << 30
                                         : 1;
    if (scale != 1) digits.pop_back();
  }
  uint64_t value = 0;
  if (!ParseU64(digits, &value) || value == 0 || value > (uint64_t{1} << 40))
    return InvalidArgumentError("memory ", Quoted(text), ": want a size such as 512m or 2g");
  return static_cast<int64_t>(value) * scale;
}

Result<oci::SpecRequest> SpecOf(const Values& values, const std::string& ns, const std::string& id,
                                const std::string& config) {
  oci::SpecRequest spec;
  spec.ns = ns;
  spec.id = id;
  spec.image_config = config;
  spec.args.assign(values.args.begin() + 1, values.args.end());
  spec.env = values.List("env");
  spec.cwd = values.Text("workdir");
  spec.user = values.Text("user");
  spec.hostname = values.Text("hostname");
  spec.terminal = values.Bool("tty");
  spec.read_only = values.Bool("read-only");
  spec.privileged = values.Bool("privileged");
  const std::string network = values.Text("network");
  if (network != "none" && network != "host")
    return InvalidArgumentError("network ", Quoted(network), ": this build knows none and host");
  spec.host_network = network == "host";
  for (const std::string& volume : values.List("volume")) {
    oci::BindMount mount = TRY(ParseVolume(volume));
    spec.mounts.push_back(std::move(mount));
  }
  if (const std::string memory = values.Text("memory"); !memory.empty()) {
    const int64_t bytes = TRY(ParseBytes(memory));
    spec.memory_bytes = bytes;
  }
  if (values.Float("cpus") > 0)
    spec.cpu_quota_us =
        static_cast<int64_t>(values.Float("cpus") * static_cast<double>(kCpuPeriodUs));
  return spec;
}

// Where a detached container's output goes.
Result<std::string> LogPath(const Values& values, const std::string& ns, const std::string& id) {
  const std::string dir = StrCat(values.Text("log-dir"), "/", ns);
  TRY(MakeDirs(dir, 0755));
  return StrCat(dir, "/", id, ".log");
}

std::optional<model::Any> RuntimeOptions(const Values& values) {
  const std::string binary = values.Text("runtime-binary");
  if (binary.empty()) return std::nullopt;
  containerd::runc::v1::Options options;
  options.set_binary_name(binary);
  return model::Any{"containerd.runc.v1.Options", options.SerializeAsString()};
}

Result<int> Run(const Values& values) {
  if (values.args.empty())
    return InvalidArgumentError("name an image: corten run [flags] IMAGE [COMMAND] [ARG...]");
  const bool detach = values.Bool("detach");
  if (detach && values.Bool("rm"))
    return InvalidArgumentError("flags --detach and --rm cannot be specified together");
  BlockForwardedSignals();
  const std::unique_ptr<Session> session = TRY(Session::Open(values));
  const std::string snapshotter = TRY(session->SnapshotterName(values));
  const metadata::Image image =
      TRY(ImageToRun(*session, values.Arg(0), values.Text("pull"), snapshotter));
  const std::string id = values.Text("name").empty() ? RandomId() : values.Text("name");
  TRY(model::ValidateIdentifier(id, "name"));
  std::unique_ptr<HeldLease> lease = TRY(HeldLease::Take(*session));
  const Prepared prepared =
      TRY(PrepareImage(*session, lease->scope(), image, snapshotter, model::HostPlatform()));
  TRY(NotInterrupted());
  const oci::SpecRequest request = TRY(SpecOf(values, session->ns().str(), id, prepared.config));
  const std::string spec = TRY(oci::MakeSpec(request));

  // What the undo steps refer to is declared before them.
  const std::unique_ptr<snapshot::Snapshotter> snapshots =
      TRY(session->stores().Snapshots(lease->scope(), snapshotter));
  const std::unique_ptr<client::Tasks> tasks =
      client::RemoteTasks(session->connection(), session->scope());
  const model::ContainerId container_id(id);
  bool task_exists = false;
  Undo undo;
  metadata::Container container;
  container.id = container_id;
  container.image = image.name;
  container.runtime = {values.Text("runtime"), RuntimeOptions(values)};
  container.spec = model::Any{std::string(oci::kSpecType), spec};
  container.snapshotter = snapshotter;
  container.snapshot_key = id;
  container.labels = ParseLabels(values.List("label"));
  std::string log_path;
  if (detach) {
    log_path = TRY(LogPath(values, session->ns().str(), id));
    container.labels[kLogLabel] = log_path;
  }
  const std::vector<model::Mount> rootfs = TRY(snapshots->Prepare(id, prepared.chain_id, {}));
  undo.Add([&] {
    // Not under the lease, which is gone by then.
    const auto plain = session->stores().Snapshots(session->scope(), snapshotter);
    if (plain.ok()) (void)(*plain)->Remove(id);
  });
  TRY(session->containers().Create(lease->scope(), container));
  lease.reset();
  undo.Add([&] { (void)session->containers().Delete(session->scope(), container_id); });
  undo.Add([&] {
    if (!task_exists) return;
    (void)tasks->Kill(container_id, {}, SIGKILL,
                      /*all=*/true);  // a task that was made and never started has a process too
    (void)tasks->Wait(container_id, {});
    (void)tasks->Delete(container_id, {});
  });
  TRY(NotInterrupted());
  if (detach) {
    client::TaskIo io;
    io.out = io.err = StrCat("file://", log_path);
    TRY(tasks->Create(container_id, rootfs, io, std::nullopt));
    task_exists = true;
    TRY(tasks->Start(container_id, {}));
    undo.Keep();
    PrintLine(id);
    return 0;
  }
  StdioOptions options;
  options.id = id;
  options.terminal = values.Bool("tty");
  options.input = values.Bool("interactive") || values.Bool("tty");
  const std::unique_ptr<Stdio> stdio = TRY(Stdio::Create(options));
  TRY(tasks->Create(container_id, rootfs, stdio->io(), std::nullopt));
  task_exists = true;
  const int code = TRY(RunInForeground(*tasks, container_id, {}, *stdio));
  const Result<client::TaskExit> deleted = tasks->Delete(container_id, {});
  task_exists = false;
  if (!deleted.ok()) log::Warn("the task was not deleted", {{"error", deleted.error().text()}});
  if (!values.Bool("rm")) undo.Keep();
  return code;
}

Result<int> Exec(const Values& values) {
  if (values.args.size() < 2)
    return InvalidArgumentError(
        "want a container and a command: corten exec [flags] CONTAINER COMMAND [ARG...]");
  BlockForwardedSignals();
  const std::unique_ptr<Session> session = TRY(Session::Open(values));
  const metadata::Container container =
      TRY(session->containers().Get(session->ns(), model::ContainerId(values.Arg(0))));
  if (!container.spec.has_value())
    return FailedPreconditionError("container ", container.id.str(), ": has no spec");
  const std::vector<std::string> args(values.args.begin() + 1, values.args.end());
  const std::string process = TRY(oci::MakeExecProcess(
      container.spec->value, args, values.List("env"), values.Bool("tty"), values.Text("workdir")));
  const model::ExecId exec(StrCat("exec-", RandomId()));
  const std::unique_ptr<client::Tasks> tasks =
      client::RemoteTasks(session->connection(), session->scope());
  const model::Any spec{std::string(oci::kProcessType), process};
  if (values.Bool("detach")) {
    TRY(tasks->Exec(container.id, exec, spec, {}));
    const uint32_t pid = TRY(tasks->Start(container.id, exec));
    PrintLine(StrCat(exec.str(), " ", pid));
    return 0;
  }
  StdioOptions options;
  options.id = exec.str();
  options.terminal = values.Bool("tty");
  options.input = values.Bool("interactive") || values.Bool("tty");
  const std::unique_ptr<Stdio> stdio = TRY(Stdio::Create(options));
  TRY(tasks->Exec(container.id, exec, spec, stdio->io()));
  const Result<int> code = RunInForeground(*tasks, container.id, exec, *stdio);
  const Result<client::TaskExit> deleted = tasks->Delete(container.id, exec);
  if (code.ok() && !deleted.ok())
    log::Warn("the process was not deleted", {{"error", deleted.error().text()}});
  if (!code.ok()) return code.error().Clone();
  return *code;
}

}  // namespace

Command RunCommandVerb() {
  Command command;
  command.names = {"run"};
  command.summary = "run a command in a new container";
  command.arguments = "IMAGE [COMMAND] [ARG...]";
  command.flags = {
      BoolFlag({"rm"}, "remove the container when it ends"),
      BoolFlag({"detach", "d"}, "run in the background and print its name"),
      TextFlag({"name"}, "name of the container (default: made up)"),
      BoolFlag({"tty", "t"}, "give it a terminal"),
      BoolFlag({"interactive", "i"}, "connect standard input"),
      ListFlag({"env", "e"}, "set a variable: KEY=VALUE"),
      ListFlag({"volume", "v"}, "bind a path: SOURCE:TARGET[:ro]"),
      ListFlag({"label", "l"}, "label the container: KEY=VALUE"),
      TextFlag({"workdir", "w"}, "working directory"),
      TextFlag({"user", "u"}, "numeric user: UID[:GID]"),
      TextFlag({"hostname"}, "host name (default: the name)"),
      TextFlag({"network"}, "none or host", "none"),
      TextFlag({"memory", "m"}, "memory limit, e.g. 512m"),
      FloatFlag({"cpus"}, "number of CPUs, e.g. 0.5"),
      BoolFlag({"read-only"}, "mount the root filesystem read-only"),
      BoolFlag({"privileged"}, "all rights of the host's root"),
      TextFlag({"runtime"}, "runtime name", "io.containerd.runc.v2"),
      TextFlag({"runtime-binary"}, "OCI runtime program, e.g. crun"),
      SnapshotterFlag(),
      TextFlag({"pull"}, "fetch the image: missing, always or never", "missing"),
      TextFlag({"log-dir"}, "where output of detached containers goes", "/var/log/corten")};
  command.action = &Run;
  return command;
}

Command ExecCommandVerb() {
  Command command;
  command.names = {"exec"};
  command.summary = "run a command in a running container";
  command.arguments = "CONTAINER COMMAND [ARG...]";
  command.flags = {BoolFlag({"tty", "t"}, "give it a terminal"),
                   BoolFlag({"interactive", "i"}, "connect standard input"),
                   BoolFlag({"detach", "d"}, "do not wait for it"),
                   ListFlag({"env", "e"}, "set a variable: KEY=VALUE"),
                   TextFlag({"workdir", "w"}, "working directory")};
  command.action = &Exec;
  return command;
}

}  // namespace corten::cli
