#include "daemon/daemon.h"

#include <fcntl.h>
#include <grpcpp/impl/service_type.h>
#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/build_version.h"
#include "base/clock.h"
#include "base/dir.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/builtins.h"
#include "daemon/notify.h"
#include "daemon/plugin_types.h"
#include "daemon/runtime_plugin.h"
#include "daemon/server.h"
#include "daemon/stacks.h"
#include "daemon/web_servers.h"
#include "os/cgroup_join.h"
#include "os/mount.h"

namespace corten::daemon {

namespace {

constexpr const char* kGrpcServer = "io.containerd.server.v1.grpc";
constexpr int kArenas = 2;                      // docs/adr/0010
constexpr std::chrono::seconds kTrimDelay(12);  // executors' threads end after 10 s
constexpr const char* kTtrpcServer = "io.containerd.server.v1.ttrpc";

plugin::Descriptor* FindDescriptor(std::vector<plugin::Descriptor>& list, std::string_view uri) {
  const auto found = std::find_if(list.begin(), list.end(),
                                  [&](const auto& descriptor) { return descriptor.uri() == uri; });
  return found == list.end() ? nullptr : &*found;
}

std::string Absolute(const std::string& path) {
  if (!path.empty() && path[0] == '/') return path;
  char* here = getcwd(nullptr, 0);
  const std::string out = here != nullptr ? StrCat(here, "/", path) : path;
  free(here);
  return out;
}

Status MakeOwnDir(const std::string& path, mode_t mode) {
  TRY(MakeDirs(path, mode));
  // Also for one that was there; without privilege (rootless) it stays as it is.
  if (chmod(path.c_str(), mode) != 0 && errno != EPERM)
    return ErrnoError(errno, "set mode of ", path);
  return Ok();
}

Status MakeDirectories(const Config& config) {
  if (config.root.empty()) return InvalidArgumentError("root must be specified");
  if (config.state.empty()) return InvalidArgumentError("state must be specified");
  if (config.root == config.state)
    return InvalidArgumentError("root and state must be different paths");
  TRY(MakeOwnDir(config.root, 0700));
  TRY(MakeOwnDir(config.state, 0711));
  if (config.temp.empty()) return Ok();
  TRY(MakeOwnDir(config.temp, 0700));
  (void)setenv("TMPDIR", config.temp.c_str(), 1);  // fails only for lack of memory
  return Ok();
}

void SetOomScore(int64_t score) {
  if (score == 0) return;
  const Fd fd(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  const Status written = fd.valid() ? WriteAll(fd, StrCat(score), "oom_score_adj")
                                    : Status(ErrnoError(errno, "open oom_score_adj"));
  if (!written.ok())
    log::Warn("failed to set the OOM score",
              {{"oom_score", StrCat(score)}, {"error", written.error().text()}});
}

Status ApplyLogging(const Options& options, const Config& config) {
  const std::string level_text = !options.log_level.empty() ? options.log_level : config.log_level;
  log::Level level = log::Level::kInfo;
  if (!level_text.empty() && !log::ParseLevel(level_text, &level)) {
    return InvalidArgumentError("log level ", Quoted(level_text),
                                ": want one of trace, debug, info, warn, error, fatal, panic");
  }
  if (!config.log_format.empty() && config.log_format != "text" && config.log_format != "json") {
    return InvalidArgumentError("log format ", Quoted(config.log_format),
                                ": want 'text' or 'json'");
  }
  log::SetLevel(level);
  log::SetSink(2, config.log_format == "json" ? log::Format::kJson : log::Format::kText);
  return Ok();
}

void LogWarnings(const Config& config) {
  for (const ConfigWarning& warning : config.warnings) {
    std::string text = warning.text;
    for (const auto& [key, value] : warning.fields) text += StrCat(" ", key, "=", Quoted(value));
    log::Warn(text);
  }
}

// Everything that runs, in order of construction; destroyed in reverse.
class Daemon {
 public:
  Daemon(const Options& options, Settings settings)
      : options_(options),
        settings_(std::move(settings)),
        quick_("quick", {.threads = 8, .queue = 4096}),
        bulk_("bulk", {.threads = 16, .queue = 4096}),
        control_("control", {.threads = 32, .queue = 4096}) {}

  Status Run() {
    const auto begin = std::chrono::steady_clock::now();
    TRY(MakeDirectories(settings_.config));
    inherited_ = TakeListenFds();
    loop_ = TRY(Loop::Create());
    TRY(WatchSignals());
    grpc_threads_.emplace();
    log::Info("starting cortend", {{"version", std::string(BuildVersion())},
                                   {"revision", std::string(BuildRevision())}});
    const std::string temp_mounts = StrCat(settings_.config.root, "/tmpmounts");
    TRY(MakeOwnDir(temp_mounts, 0700));
    const Result<int> swept = os::SweepTempMounts(temp_mounts);
    if (!swept.ok())
      log::Warn("failed to clean up temporary mounts", {{"error", swept.error().text()}});
    SetOomScore(settings_.config.oom_score);
    if (const std::string& path = settings_.config.cgroup_path; !path.empty())
      TRY(os::JoinCgroup(path).Context("cgroup.path"));
    TRY(BuildPlugins());
    TRY(OpenSockets());
    TRY(CreateServer());
    TRY(RecoverTasks());
    web_ = TRY(WebServers::Start(loop_.get(), *graph_, settings_.config, &meter_));
    TRY(server_->Serve(loop_.get(), std::move(grpc_listener_)));
    TellSupervisor("READY=1");
    const auto took = std::chrono::steady_clock::now() - begin;
    log::Info(StrCat("cortend successfully booted in ", FormatSeconds(took), "s"));
    return loop_->Run();
  }

  void Stop() {
    TellSupervisor("STOPPING=1");
    if (server_ != nullptr) server_->Stop(/*grace_ms=*/0);
    server_.reset();
    if (web_ != nullptr) web_->Stop();
    // Posted work that still runs refers to plugins: it ends first.
    quick_.Close();
    bulk_.Close();
    control_.Close();
    if (graph_.has_value()) graph_->Close();
  }

 private:
  static std::string FormatSeconds(std::chrono::steady_clock::duration took) {
    char buffer[32];
    (void)snprintf(buffer, sizeof(buffer), "%.6f", std::chrono::duration<double>(took).count());
    return buffer;
  }

  static void TellSupervisor(std::string_view state) {
    const Status told = NotifySupervisor(state);
    if (!told.ok()) log::Warn("failed to notify the supervisor", {{"error", told.error().text()}});
  }

  Environment MakeEnvironment() {
    Environment environment;
    environment.executors = {&quick_, &bulk_, &control_};
    environment.records = [this]() -> const std::vector<plugin::Record>& {
      return graph_->records();
    };
    environment.plugin_info = [this](const std::string& uri, const model::Any& options) {
      return RuntimePluginInfo(*graph_, uri, options);
    };
    environment.meter = &meter_;
    environment.collected = [this] { loop_->Post([this] { TrimLater(); }); };
    environment.config = &settings_.config;
    return environment;
  }

  // What a burst has left free goes back to the kernel once things are quiet: not while collections
  // follow each other, since it would be needed again at once.
  void TrimLater() {
    loop_->Cancel(trim_);
    trim_ = loop_->After(kTrimDelay, [] { (void)malloc_trim(0); });
  }

  Status BuildPlugins() {
    graph_.emplace(Builtins(MakeEnvironment()));
    TRY(ApplyPluginTables(settings_.config, graph_->descriptors()));
    ApplyAddress();
    LogWarnings(settings_.config);
    plugin::Graph::Options options;
    options.properties = {{"root", settings_.config.root},
                          {"state", settings_.config.state},
                          {"address", grpc_->address},
                          {"ttrpc_address", ttrpc_->address}};
    options.disabled = settings_.config.disabled_plugins;
    options.required = settings_.config.required_plugins;
    // Nothing works without these; the sentence of their failure is the sentence of the start's.
    for (const char* uri : {"io.containerd.content.v1.content", "io.containerd.metadata.v1.bolt"}) {
      const auto& disabled = options.disabled;
      if (std::find(disabled.begin(), disabled.end(), uri) == disabled.end())
        options.required.push_back(uri);
    }
    return graph_->Initialise(options, [](const plugin::Record& record) {
      const std::string uri = StrCat(record.type, ".", record.id);
      if (record.skipped) {
        log::Info("skip loading plugin", {{"id", uri}, {"error", record.error->text()}});
      } else {
        log::Warn("failed to load plugin", {{"id", uri}, {"error", record.error->text()}});
      }
    });
  }

  // --address wins; the ttrpc socket stands beside it unless the file placed it.
  void ApplyAddress() {
    grpc_ = static_cast<SocketConfig*>(
        FindDescriptor(graph_->descriptors(), kGrpcServer)->config.get());
    ttrpc_ = static_cast<SocketConfig*>(
        FindDescriptor(graph_->descriptors(), kTtrpcServer)->config.get());
    if (settings_.grpc_address.empty()) return;
    const SocketConfig defaults_of_ttrpc{"/run/containerd/containerd.sock.ttrpc"};
    grpc_->address = settings_.grpc_address;
    if (ttrpc_->address == defaults_of_ttrpc.address || ttrpc_->address.empty()) {
      ttrpc_->address = StrCat(settings_.grpc_address, ".ttrpc");
      ttrpc_->uid = grpc_->uid;
      ttrpc_->gid = grpc_->gid;
    }
  }

  Status OpenSockets() {
    if (grpc_->address.empty()) return InvalidArgumentError("grpc address cannot be empty");
    if (!inherited_.empty()) {
      grpc_listener_ = std::move(inherited_[0]);
    } else {
      grpc_listener_ = TRY(ListenAt(
          {grpc_->address, static_cast<uid_t>(grpc_->uid), static_cast<gid_t>(grpc_->gid)}));
    }
    if (inherited_.size() > 1) {
      ttrpc_listener_ = std::move(inherited_[1]);
    } else if (!ttrpc_->address.empty()) {
      ttrpc_listener_ = TRY(ListenAt(
          {ttrpc_->address, static_cast<uid_t>(ttrpc_->uid), static_cast<gid_t>(ttrpc_->gid)}));
    }
    return Ok();
  }

  Status CreateServer() {
    std::vector<grpc::Service*> services;
    for (const auto& [id, holder] : graph_->FindAll(kGrpc.name))
      services.push_back(static_cast<ServiceHolder*>(holder)->service.get());
    Server::Options options;
    options.max_receive_bytes =
        static_cast<int>(std::clamp<int64_t>(grpc_->max_recv_message_size, 0, INT32_MAX));
    options.max_send_bytes =
        static_cast<int>(std::clamp<int64_t>(grpc_->max_send_message_size, 0, INT32_MAX));
    if (MetricsWanted(*graph_)) {
      AddRpcRows(*graph_, &meter_.rpc);
      options.meter = &meter_.rpc;
    }
    server_ = TRY(Server::Create(services, options));
    return Ok();
  }

  Status RecoverTasks() { return StartRuntime(*graph_, std::move(ttrpc_listener_)); }

  Status WatchSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, signal);
    if (pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return ErrnoError(errno, "block signals");
    (void)::signal(SIGPIPE, SIG_IGN);  // a valid signal number
    signals_ = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_.valid()) return ErrnoError(errno, "create signalfd");
    return loop_->Add(signals_, EPOLLIN, [this](uint32_t) {
      signalfd_siginfo info = {};
      while (read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info)))
        OnSignal(static_cast<int>(info.ssi_signo));
    });
  }

  void OnSignal(int signal) {
    switch (signal) {
      case SIGHUP:
        return Reload();
      case SIGUSR1:
        return DumpStacks();
      default:
        log::Info("stopping", {{"signal", strsignal(signal)}});
        loop_->Stop();
    }
  }

  // What can change while running: log level and format. A broken file changes nothing.
  void Reload() {
    TellSupervisor("RELOADING=1");
    Result<Settings> fresh = LoadSettings(options_);
    const Status applied =
        fresh.ok() ? ApplyLogging(options_, fresh->config) : Status(fresh.error().Clone());
    if (applied.ok()) {
      log::Info("configuration reloaded", {{"applied", "debug.level, debug.format"},
                                           {"note", "other settings need a restart"}});
    } else {
      log::Error("configuration not reloaded, the old one stays in force",
                 {{"error", applied.error().text()}});
    }
    TellSupervisor("READY=1");
  }

  const Options options_;
  Settings settings_;
  Meter meter_;
  Executor quick_;
  Executor bulk_;
  Executor control_;
  std::vector<Fd> inherited_;
  std::unique_ptr<Loop> loop_;
  Loop::TimerId trim_ = 0;
  Fd signals_;
  std::optional<GrpcThreads> grpc_threads_;
  std::optional<plugin::Graph> graph_;
  SocketConfig* grpc_ = nullptr;  // inside the graph's descriptors
  SocketConfig* ttrpc_ = nullptr;
  Fd grpc_listener_;
  Fd ttrpc_listener_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<WebServers> web_;
};

}  // namespace

Result<Settings> LoadSettings(const Options& options) {
  Settings settings;
  settings.config = TRY(LoadConfig(options.config.value_or(kDefaultConfigPath),
                                   /*may_be_missing=*/!options.config.has_value()));
  if (!options.root.empty()) settings.config.root = Absolute(options.root);
  if (!options.state.empty()) settings.config.state = Absolute(options.state);
  if (!options.address.empty()) settings.grpc_address = Absolute(options.address);
  return settings;
}

Status RunDaemon(const Options& options, Settings settings) {
  // glibc would keep an arena per thread, each with what its busiest moment needed.
  (void)mallopt(M_ARENA_MAX, kArenas);
  TRY(ApplyLogging(options, settings.config));
  Daemon daemon(options, std::move(settings));
  Status ran = daemon.Run();
  daemon.Stop();
  return ran;
}

}  // namespace corten::daemon
