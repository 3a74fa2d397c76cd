// Differs, shims and tasks.
#include <unistd.h>

#include "base/build_version.h"
#include "base/log.h"
#include "containerd/types/introspection.pb.h"
#include "daemon/builtins_parts.h"
#include "daemon/runtime_plugin.h"
#include "diff/apply.h"
#include "diff/compare.h"
#include "runtime/tasks.h"

namespace corten::daemon {

namespace {

using plugin::ConfigTable;
using plugin::InitContext;

// A differ and the engine beneath it, made for one call.
class ScopedDiffer final : public diff::Differ {
 public:
  ScopedDiffer(std::unique_ptr<content::Store> store, diff::StreamApplier& engine,
               diff::WalkingOptions options)
      : store_(std::move(store)), differ_(*store_, engine, std::move(options)) {}
  Result<model::Descriptor> Apply(const model::Descriptor& descriptor,
                                  const std::vector<model::Mount>& mounts,
                                  const diff::ApplyOptions& options) override {
    return differ_.Apply(descriptor, mounts, options);
  }
  Result<model::Descriptor> Compare(const std::vector<model::Mount>& lower,
                                    const std::vector<model::Mount>& upper,
                                    const diff::CompareOptions& options) override {
    return differ_.Compare(lower, upper, options);
  }

 private:
  std::unique_ptr<content::Store> store_;
  diff::WalkingDiffer differ_;
};

struct ShimSettings {
  std::vector<std::string> env;
  std::string socket_dir;
};

struct TaskSettings {
  std::vector<std::string> platforms = {model::FormatPlatform(model::HostPlatform())};
};

// Where our own shim stands: beside the daemon (a build tree), or in ../libexec/corten (an
// installation).
std::string OwnShim() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
  if (size <= 0) return "";
  const std::string self(path, static_cast<size_t>(size));
  const std::string dir = self.substr(0, self.rfind('/'));
  for (const std::string& candidate : {StrCat(dir, "/containerd-shim-runc-v2"),
                                       StrCat(dir, "/../libexec/corten/containerd-shim-runc-v2"),
                                       StrCat(dir, "/../shim/containerd-shim-runc-v2")}) {
    char real[4096];
    if (access(candidate.c_str(), X_OK) == 0 && realpath(candidate.c_str(), real) != nullptr)
      return real;
  }
  return "";
}

std::string SelfPath() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : std::string("cortend");
}

std::chrono::milliseconds Timeout(const Config& config, const std::string& name) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::nanoseconds(config.TimeoutNanos(StrCat("io.containerd.timeout.", name))));
}

Result<std::unique_ptr<runtime::Tasks>> OpenTasks(const Environment& environment,
                                                  const ShimSettings& shim, InitContext& context) {
  Stores* stores = TRY(context.Get(kMetadata));
  events::Exchange* exchange = TRY(context.Get(kEvent));
  runtime::Tasks::Settings settings;
  settings.root = context.RootDir();
  settings.state = context.StateDir();
  settings.shim.grpc_address = context.Property("address");
  settings.shim.ttrpc_address = context.Property("ttrpc_address");
  settings.shim.daemon_binary = SelfPath();
  settings.shim.daemon_version = std::string(BuildVersion());
  settings.shim.own_shim = OwnShim();
  settings.shim.env = shim.env;
  if (!shim.socket_dir.empty()) settings.shim.socket_dir = shim.socket_dir;
  settings.shim.debug = log::Enabled(log::Level::kDebug);
  settings.shim.cleanup_deadline = Timeout(*environment.config, "shim.cleanup");
  settings.load_deadline = Timeout(*environment.config, "shim.load");
  settings.shutdown_deadline = Timeout(*environment.config, "shim.shutdown");
  settings.state_deadline = Timeout(*environment.config, "task.state");
  if (!settings.shim.own_shim.empty())
    settings.shim_dirs = {settings.shim.own_shim.substr(0, settings.shim.own_shim.rfind('/'))};
  runtime::Tasks::Links links;
  links.containers = &stores->database().containers();
  links.sandboxes = &stores->database().sandboxes();
  links.exchange = exchange;
  links.control = environment.executors.control;
  context.facts().platforms = {model::FormatPlatform(model::HostPlatform())};
  context.facts().exports["log-uri-schemes"] = "fifo,binary,binary-v2,file";
  return runtime::Tasks::Open(std::move(settings), links);
}

}  // namespace

void AddDiffers(const Environment& environment, std::vector<plugin::Descriptor>& list) {
  const Config* config = environment.config;
  list.push_back(plugin::MakeDescriptor<DifferMaker>(
      kDiffer, "walking", {"io.containerd.metadata.v1"},
      [config](InitContext& context) -> Result<std::unique_ptr<DifferMaker>> {
        Stores* stores = TRY(context.Get(kMetadata));
        diff::EngineOptions options;
        options.temp_dir = StrCat(context.Property("root"), "/tmpmounts");
        options.warn = [](std::string_view text) {
          log::Warn("layer applied with loss", {{"reason", std::string(text)}});
        };
        for (const auto& [id, processor] : config->stream_processors) {
          options.processors.push_back({id, processor.accepts, processor.returns, processor.path,
                                        processor.args, processor.env});
        }
        auto engine = std::make_shared<diff::Engine>(
            options);  // shared by the maker and the pulls that stream into it
        diff::WalkingOptions walking;
        walking.temp_dir = options.temp_dir;
        context.facts().platforms = {model::FormatPlatform(model::HostPlatform())};
        auto maker = std::make_unique<DifferMaker>();
        maker->engine = engine;
        maker->make = [stores, engine,
                       walking](const model::Scope& scope) -> std::unique_ptr<diff::Differ> {
          return std::make_unique<ScopedDiffer>(stores->Content(scope), *engine, walking);
        };
        return maker;
      }));
}

void AddRuntime(const Environment& environment, std::vector<plugin::Descriptor>& list) {
  auto shim = std::make_shared<ShimSettings>();  // shared by the manager's table and the task
                                                 // plugin that obeys it
  plugin::Descriptor manager = plugin::MakeDescriptor<Presence>(
      kShimManager, "manager", {"io.containerd.event.v1", "io.containerd.metadata.v1"},
      [](InitContext&) -> Result<std::unique_ptr<Presence>> {
        return std::make_unique<Presence>();
      });
  manager.config = shim;
  manager.table = std::make_shared<ConfigTable>();
  manager.table->Add("env", &shim->env).Add("socket_dir", &shim->socket_dir);
  list.push_back(std::move(manager));
  list.push_back(plugin::WithConfig<TaskSettings>(
      plugin::MakeDescriptor<runtime::Tasks>(
          kRuntime, "task",
          {"io.containerd.shim.v1", "io.containerd.metadata.v1", "io.containerd.event.v1"},
          [environment, shim](InitContext& context) {
            return OpenTasks(environment, *shim, context);
          }),
      [](auto& settings, ConfigTable& table) { table.Add("platforms", &settings.platforms); }));
}

Status StartRuntime(plugin::Graph& graph, Fd ttrpc_listener) {
  runtime::Tasks* tasks = graph.Get(kRuntime, "task");
  if (tasks == nullptr) return Ok();
  if (ttrpc_listener.valid()) TRY(tasks->ListenEvents(std::move(ttrpc_listener)));
  const runtime::RecoveryReport report = TRY(tasks->Recover());
  for (const std::string& trouble : report.troubles) log::Warn("recovery", {{"trouble", trouble}});
  log::Info("tasks recovered", {{"adopted", StrCat(report.adopted)},
                                {"stopped", StrCat(report.stopped)},
                                {"dead", StrCat(report.dead)},
                                {"leftover", StrCat(report.leftover)},
                                {"swept", StrCat(report.swept)}});
  return Ok();
}

Result<model::Any> RuntimePluginInfo(plugin::Graph& graph, const std::string& uri,
                                     const model::Any& options) {
  runtime::Tasks* tasks = graph.Get(kRuntime, "task");
  if (uri != "io.containerd.runtime.v2.task" || tasks == nullptr)
    return UnimplementedError("plugin ", uri, ": does not provide info");
  containerd::types::RuntimeRequest request;
  if (!request.ParseFromString(options.value))
    return InvalidArgumentError("plugin ", uri, ": options are no RuntimeRequest");
  std::optional<model::Any> runtime_options;
  if (request.has_options())
    runtime_options = model::Any{request.options().type_url(), request.options().value()};
  std::string info = TRY(tasks->RuntimeInfo(request.runtime_path(), runtime_options));
  return model::Any{"containerd.types.RuntimeInfo", std::move(info)};
}

}  // namespace corten::daemon
