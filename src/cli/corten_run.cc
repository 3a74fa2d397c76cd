// corten run, corten exec.
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>

#include "base/dir.h"
#include "base/log.h"
#include "cli/container_spec.h"
#include "cli/corten_verbs.h"
#include "cli/held_lease.h"
#include "cli/image_rootfs.h"
#include "cli/interrupts.h"
#include "cli/process.h"
#include "cli/session.h"
#include "cli/undo.h"
#include "containerd/runc/v1/options.pb.h"
#include "oci/environment.h"
#include "oci/spec.h"
#include "os/pty.h"

namespace corten::cli {

namespace {

constexpr int64_t kCpuPeriodUs = 100000;
constexpr size_t kMaxProfile = 4 << 20;  // bytes of a seccomp profile

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

// The size of the terminal that the container's is to have from its first moment.
std::optional<oci::ConsoleSize> ConsoleSizeOf(const Values& values) {
  if (!values.Bool("tty")) return std::nullopt;
  const Result<os::WindowSize> size = os::GetWindowSize(FdRef(STDOUT_FILENO));
  if (!size.ok()) return std::nullopt;  // no terminal here; it gets its size from whoever has one
  return oci::ConsoleSize{size->rows, size->columns};
}

// `seccomp=unconfined`, `seccomp=FILE`, `no-new-privileges`.
Status ApplySecurity(const std::vector<std::string>& options, oci::SpecRequest& spec) {
  spec.seccomp = true;
  for (const std::string& option : options) {
    if (option == "seccomp=unconfined") {
      spec.seccomp = false;
    } else if (option.starts_with("seccomp=")) {
      spec.seccomp_profile = TRY(ReadFileAt(option.substr(8), kMaxProfile));
    } else if (option != "no-new-privileges") {  // always so
      return InvalidArgumentError("security-opt ", Quoted(option),
                                  ": want seccomp=unconfined, seccomp=FILE or no-new-privileges");
    }
  }
  return Ok();
}

Result<oci::SpecRequest> SpecOf(const Values& values, const std::string& ns, const std::string& id,
                                const std::string& config) {
  oci::SpecRequest spec;
  spec.ns = ns;
  spec.id = id;
  spec.image_config = config;
  spec.args.assign(values.args.begin() + 1, values.args.end());
  if (const std::string file = values.Text("env-file"); !file.empty())
    spec.env = TRY(oci::ReadEnvFile(file));
  const std::vector<std::string> given = values.List("env");
  spec.env.insert(spec.env.end(), given.begin(), given.end());
  if (values.Has("entrypoint")) spec.entrypoint = values.Text("entrypoint");
  spec.cap_add = values.List("cap-add");
  spec.cap_drop = values.List("cap-drop");
  TRY(ApplySecurity(values.List("security-opt"), spec));
  spec.cwd = values.Text("workdir");
  spec.user = values.Text("user");
  spec.hostname = values.Text("hostname");
  spec.terminal = values.Bool("tty");
  spec.console_size = ConsoleSizeOf(values);
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

StdioOptions StdioOf(const Values& values, const std::string& id) {
  StdioOptions options;
  options.id = id;
  options.terminal = values.Bool("tty");
  options.input = values.Bool("interactive") || values.Bool("tty");
  return options;
}

// The container of one `corten run`: record, snapshot and task, which go again unless they are to
// stay. One thread.
class NewContainer {
 public:
  NewContainer(Session& session, const Values& values) : session_(session), values_(values) {}

  Status Make() {
    const std::string id = values_.Text("name").empty() ? RandomId() : values_.Text("name");
    TRY(model::ValidateIdentifier(id, "name"));
    container_.id = model::ContainerId(id);
    TRY(NameIsFree());
    container_.snapshotter = TRY(session_.SnapshotterName(values_));
    const metadata::Image image =
        TRY(ImageToRun(session_, values_.Arg(0), values_.Text("pull"), container_.snapshotter));
    const std::unique_ptr<HeldLease> lease = TRY(HeldLease::Take(session_));
    const Prepared prepared = TRY(PrepareImage(session_, lease->scope(), image,
                                               container_.snapshotter, model::HostPlatform()));
    TRY(NotInterrupted());
    container_.snapshot_key = id;
    TRY(MakeSnapshot(lease->scope(), prepared.chain_id));
    oci::SpecRequest request = TRY(SpecOf(values_, session_.ns().str(), id, prepared.config));
    request.with_root = RootOfMounts(rootfs_);
    const std::string spec = TRY(oci::MakeSpec(request));
    container_.image = image.name;
    container_.runtime = {values_.Text("runtime"), RuntimeOptions(values_)};
    container_.spec = model::Any{std::string(oci::kSpecType), spec};
    container_.labels = ParseLabels(values_.List("label"));
    if (values_.Bool("detach")) {
      log_path_ = TRY(LogPath(values_, session_.ns().str(), id));
      container_.labels[kLogLabel] = log_path_;
    }
    TRY(session_.containers().Create(lease->scope(), container_));
    undo_.Add([this] { (void)session_.containers().Delete(session_.scope(), container_.id); });
    return NotInterrupted();
  }

  Status RunDetached() {
    client::TaskIo io;
    io.out = io.err = StrCat("file://", log_path_);
    TRY(MakeTask(io));
    TRY(tasks_->Start(container_.id, {}));
    undo_.Keep();
    PrintLine(container_.id.str());
    return Ok();
  }

  Result<int> RunAttached() {
    const std::unique_ptr<Stdio> stdio = TRY(Stdio::Create(StdioOf(values_, container_.id.str())));
    TRY(MakeTask(stdio->io()));
    const int code = TRY(RunInForeground(*tasks_, container_.id, {}, *stdio));
    const Result<client::TaskExit> deleted = tasks_->Delete(container_.id, {});
    task_exists_ = false;
    if (!deleted.ok()) log::Warn("the task was not deleted", {{"error", deleted.error().text()}});
    if (!values_.Bool("rm")) undo_.Keep();
    return code;
  }

 private:
  // Asked first, so that nothing is unpacked in vain; who comes in between is met by Create.
  Status NameIsFree() {
    const std::string& name = container_.id.str();
    const Result<metadata::Container> other =
        session_.containers().Get(session_.ns(), container_.id);
    if (!other.ok())
      return other.error().Is(Code::kNotFound) ? Ok() : Status(other.error().Clone());
    return FailedPreconditionError("name ", Quoted(name), " is in use by container ", name, " (",
                                   other->image.empty() ? std::string("no image") : other->image,
                                   "): remove that first (corten rm ", name,
                                   "), or choose another --name");
  }

  Status MakeSnapshot(const model::Scope& scope, const std::string& parent) {
    const std::string& key = container_.snapshot_key;
    const std::unique_ptr<snapshot::Snapshotter> snapshots =
        TRY(session_.stores().Snapshots(scope, container_.snapshotter));
    Result<std::vector<model::Mount>> made = snapshots->Prepare(key, parent, {});
    if (!made.ok() && made.error().Is(Code::kAlreadyExists)) {
      return FailedPreconditionError(
          "name ", Quoted(key),
          " is in use by a snapshot without container: ", "remove that first (corten snapshots rm ",
          key, "), or choose another --name");
    }
    rootfs_ = TRY(std::move(made));
    undo_.Add([this] {
      // Not under the lease, which is gone by then.
      const auto plain = session_.stores().Snapshots(session_.scope(), container_.snapshotter);
      if (plain.ok()) (void)(*plain)->Remove(container_.snapshot_key);
    });
    return Ok();
  }

  Status MakeTask(const client::TaskIo& io) {
    tasks_ = client::RemoteTasks(session_.connection(), session_.scope());
    TRY(tasks_->Create(container_.id, rootfs_, io, std::nullopt));
    task_exists_ = true;
    undo_.Add([this] {
      if (!task_exists_) return;
      // A task that was made and never started has a process, too.
      (void)tasks_->Kill(container_.id, {}, SIGKILL, /*all=*/true);
      (void)tasks_->Wait(container_.id, {});
      (void)tasks_->Delete(container_.id, {});
    });
    return Ok();
  }

  Session& session_;
  const Values& values_;
  metadata::Container container_;
  std::string log_path_;
  std::vector<model::Mount> rootfs_;
  std::unique_ptr<client::Tasks> tasks_;
  bool task_exists_ = false;
  Undo undo_;  // after what its steps refer to
};

Result<int> Run(const Values& values) {
  if (values.args.empty())
    return InvalidArgumentError("name an image: corten run [flags] IMAGE [COMMAND] [ARG...]");
  const bool detach = values.Bool("detach");
  if (detach && values.Bool("rm"))
    return InvalidArgumentError("flags --detach and --rm cannot be specified together");
  BlockForwardedSignals();
  const std::unique_ptr<Session> session = TRY(Session::Open(values));
  NewContainer container(*session, values);
  Status made = container.Make();
  if (!made.ok() && made.error().Is(Code::kCanceled) && !NotInterrupted().ok()) {
    (void)fputs("corten: interrupted; no container was made\n", stderr);
    return kInterruptedCode;
  }
  TRY(std::move(made));
  if (!detach) return container.RunAttached();
  TRY(container.RunDetached());
  return 0;
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
  const std::string process =
      TRY(oci::MakeExecProcess(container.spec->value, args, values.List("env"), values.Bool("tty"),
                               values.Text("workdir"), ConsoleSizeOf(values)));
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
  const std::unique_ptr<Stdio> stdio = TRY(Stdio::Create(StdioOf(values, exec.str())));
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
      TextFlag({"user", "u"}, "USER[:GROUP], names or numbers (default: the image's)"),
      TextFlag({"entrypoint"}, "instead of the image's"),
      TextFlag({"env-file"}, "file with variables, one a line"),
      ListFlag({"cap-add"}, "add a capability, e.g. NET_ADMIN, or ALL"),
      ListFlag({"cap-drop"}, "drop a capability, or ALL"),
      ListFlag({"security-opt"},
               "seccomp=unconfined or seccomp=FILE (default: containerd's profile)"),
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
