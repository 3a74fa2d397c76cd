// The gRPC services, and the entries that clients look for in the list of plugins.
#include <grpcpp/impl/service_type.h>
#include <sys/random.h>

#include <mutex>

#include "base/build_version.h"
#include "base/dir.h"
#include "daemon/builtins_parts.h"
#include "daemon/web.h"
#include "services/tasks_service.h"

namespace corten::daemon {

namespace {

using plugin::InitContext;

constexpr size_t kUuidText = 36;

bool IsUuid(std::string_view text) {
  if (text.size() != kUuidText) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f') ||
                     (text[i] >= 'A' && text[i] <= 'F');
    if (dash ? text[i] != '-' : !hex) return false;
  }
  return true;
}

Result<std::string> MakeUuid() {
  unsigned char raw[16];
  if (getrandom(raw, sizeof(raw), 0) != static_cast<ssize_t>(sizeof(raw)))
    return ErrnoError(errno, "getrandom");
  raw[6] = static_cast<unsigned char>((raw[6] & 0x0f) | 0x40);  // RFC 4122: version 4
  raw[8] = static_cast<unsigned char>((raw[8] & 0x3f) | 0x80);
  std::string hex = Hex(std::string_view(reinterpret_cast<const char*>(raw), sizeof(raw)));
  for (const size_t at : {8u, 13u, 18u, 23u}) hex.insert(at, "-");
  return hex;
}

// The identity of this root: read, or made once. An unreadable one is an error, an empty one is
// made anew.
Result<std::string> LoadUuid(const std::string& directory) {
  const Dir dir = TRY(Dir::Create(directory, 0755));
  Result<std::string> text = dir.ReadFile("uuid", 256);
  if (text.ok() && !text->empty()) {
    if (!IsUuid(*text))
      return InvalidArgumentError(dir.Path("uuid"),
                                  ": not a UUID; remove the file to get a new one");
    return text;
  }
  if (!text.ok() && !text.error().Is(Code::kNotFound)) return text;
  const std::string uuid = TRY(MakeUuid());
  TRY(ReplaceFile(dir, "uuid", uuid, 0666));
  return uuid;
}

// Read or made when it is first asked for: a start has nothing to write for it.
class Identity {
 public:
  explicit Identity(std::string directory) : directory_(std::move(directory)) {}
  Result<std::string> Get() {
    const std::lock_guard lock(mutex_);
    if (uuid_.empty()) uuid_ = TRY(LoadUuid(directory_));
    return uuid_;
  }

 private:
  const std::string directory_;
  std::mutex mutex_;  // guards uuid_; held while it is made, so that there is one
  std::string uuid_;
};

Result<std::unique_ptr<ServiceHolder>> Hold(services::ServicePtr service) {
  return std::make_unique<ServiceHolder>(ServiceHolder{std::move(service)});
}

// A service over the database.
template <typename Make>
plugin::Descriptor MetadataService(const std::string& id, Make make) {
  return plugin::MakeDescriptor<ServiceHolder>(
      kGrpc, id, {"io.containerd.metadata.v1"},
      [make](InitContext& context) -> Result<std::unique_ptr<ServiceHolder>> {
        Stores* stores = TRY(context.Get(kMetadata));
        return Hold(make(*stores));
      });
}

// The differs that the Diff service asks, in this order.
struct DiffSettings {
  std::vector<std::string> order = {"walking"};
};

plugin::Descriptor DiffPlugin(const Environment& environment,
                              std::shared_ptr<const DiffSettings> settings) {
  return plugin::MakeDescriptor<ServiceHolder>(
      kGrpc, "diff", {"io.containerd.differ.v1"},
      [executors = environment.executors,
       settings](InitContext& context) -> Result<std::unique_ptr<ServiceHolder>> {
        std::vector<services::DifferFactory> differs;
        for (const std::string& id : settings->order) {
          DifferMaker* maker = TRY(context.GetById(kDiffer, id));
          differs.push_back(maker->make);
        }
        if (differs.empty()) return NotFoundError("no differ is loaded");
        return Hold(services::MakeDiffService(executors, std::move(differs)));
      });
}

plugin::Descriptor IntrospectionPlugin(const Environment& environment) {
  return plugin::MakeDescriptor<ServiceHolder>(
      kGrpc, "introspection", {},
      [environment](InitContext& context) -> Result<std::unique_ptr<ServiceHolder>> {
        services::IntrospectionSource source;
        source.uuid = [identity = std::make_shared<Identity>(context.RootDir())] {
          return identity->Get();  // shared only because functions are copied
        };
        source.plugins = environment.records;
        source.plugin_info = environment.plugin_info;
        return Hold(services::MakeIntrospectionService(environment.executors, std::move(source)));
      });
}

plugin::Descriptor PresenceOf(plugin::PluginType<Presence> type, const std::string& id,
                              std::vector<std::string> needs) {
  return plugin::MakeDescriptor<Presence>(type, id, std::move(needs),
                                          [](InitContext&) -> Result<std::unique_ptr<Presence>> {
                                            return std::make_unique<Presence>();
                                          });
}

}  // namespace

void AddServices(const Environment& environment, std::vector<plugin::Descriptor>& list) {
  const services::Executors executors = environment.executors;
  // The original has a service plugin behind each facade; clients see them in the list, so they
  // stand there.
  const std::string metadata = "io.containerd.metadata.v1";
  const std::string event = "io.containerd.event.v1";
  list.push_back(PresenceOf(kService, "containers-service", {event, metadata}));
  list.push_back(PresenceOf(kService, "content-service", {metadata}));
  auto differs = std::make_shared<DiffSettings>();  // shared by its table and the facade's plugin
  plugin::Descriptor diff_service =
      PresenceOf(kService, "diff-service", {"io.containerd.differ.v1"});
  diff_service.config = differs;
  diff_service.table = std::make_shared<plugin::ConfigTable>();
  diff_service.table->Add("default", &differs->order);
  list.push_back(std::move(diff_service));
  list.push_back(PresenceOf(kService, "images-service", {metadata, "io.containerd.gc.v1"}));
  list.push_back(PresenceOf(kService, "introspection-service", {}));
  list.push_back(PresenceOf(kService, "namespaces-service", {event, metadata}));
  list.push_back(PresenceOf(kService, "snapshots-service", {metadata}));
  list.push_back(PresenceOf(kLease, "manager", {metadata, "io.containerd.gc.v1"}));
  list.push_back(MetadataService("containers", [executors](Stores& stores) {
    return services::MakeContainersService(executors, &stores.database().containers());
  }));
  list.push_back(MetadataService("content", [executors](Stores& stores) {
    return services::MakeContentService(executors, &stores);
  }));
  list.push_back(DiffPlugin(environment, differs));
  list.push_back(plugin::MakeDescriptor<ServiceHolder>(
      kGrpc, "events", {event},
      [executors](InitContext& context) -> Result<std::unique_ptr<ServiceHolder>> {
        events::Exchange* exchange = TRY(context.Get(kEvent));
        return Hold(services::MakeEventsService(executors, exchange));
      }));
  list.push_back(plugin::MakeDescriptor<ServiceHolder>(
      kGrpc, "healthcheck", {}, [](InitContext&) { return Hold(services::MakeHealthService()); }));
  list.push_back(MetadataService("images", [executors](Stores& stores) {
    return services::MakeImagesService(executors, &stores.database().images());
  }));
  list.push_back(IntrospectionPlugin(environment));
  list.push_back(MetadataService("leases", [executors](Stores& stores) {
    return services::MakeLeasesService(executors, &stores.database().leases());
  }));
  list.push_back(MetadataService("namespaces", [executors](Stores& stores) {
    return services::MakeNamespacesService(executors, &stores.database().namespaces());
  }));
  list.push_back(MetadataService("snapshots", [executors](Stores& stores) {
    return services::MakeSnapshotsService(executors, &stores);
  }));
  list.push_back(
      PresenceOf(kService, "tasks-service", {event, "io.containerd.runtime.v2", metadata}));
  list.push_back(plugin::MakeDescriptor<ServiceHolder>(
      kGrpc, "tasks", {"io.containerd.runtime.v2"},
      [](InitContext& context) -> Result<std::unique_ptr<ServiceHolder>> {
        runtime::Tasks* tasks = TRY(context.Get(kRuntime));
        return Hold(services::MakeTasksService(tasks));
      }));
  list.push_back(plugin::MakeDescriptor<ServiceHolder>(kGrpc, "version", {}, [](InitContext&) {
    return Hold(
        services::MakeVersionService(std::string(BuildVersion()), std::string(BuildRevision())));
  }));
}

namespace {

// A server that is only there when it was given an address.
template <typename C>
plugin::Descriptor AddressedServer(const std::string& id, std::vector<std::string> needs,
                                   const std::function<void(C&, plugin::ConfigTable&)>& bind) {
  return plugin::WithConfig<C>(plugin::MakeDescriptor<Presence>(
                                   kServer, id, std::move(needs),
                                   [](InitContext& context) -> Result<std::unique_ptr<Presence>> {
                                     if (context.Config<C>().address.empty())
                                       return plugin::SkipPlugin("no address is configured");
                                     return std::make_unique<Presence>();
                                   }),
                               bind);
}

void AddWebServers(std::vector<plugin::Descriptor>& list) {
  list.push_back(plugin::WithConfig<TaskMonitorConfig>(
      plugin::MakeDescriptor<Presence>(
          kTaskMonitor, "cgroups", {"io.containerd.event.v1"},
          [](InitContext& context) -> Result<std::unique_ptr<Presence>> {
            context.facts().platforms = {model::FormatPlatform(model::HostPlatform())};
            return std::make_unique<Presence>();
          }),
      [](auto& config, plugin::ConfigTable& table) {
        table.Add("no_prometheus", &config.no_prometheus);
      }));
  list.push_back(plugin::WithConfig<RpcMetricsConfig>(
      PresenceOf(kMetrics, "grpc-prometheus", {"io.containerd.grpc.v1"}),
      [](auto& config, plugin::ConfigTable& table) {
        table.Add("grpc_histogram", &config.grpc_histogram);
      }));
  list.push_back(PresenceOf(kHttp, "pprof", {}));
  list.push_back(AddressedServer<MetricsConfig>(
      "metrics", {},
      [](auto& config, plugin::ConfigTable& table) { table.Add("address", &config.address); }));
  list.push_back(AddressedServer<DebugConfig>(
      "debug", {"io.containerd.http.v1"}, [](auto& config, plugin::ConfigTable& table) {
        table.Add("address", &config.address).Add("uid", &config.uid).Add("gid", &config.gid);
      }));
}

}  // namespace

void AddServers(std::vector<plugin::Descriptor>& list) {
  AddWebServers(list);
  SocketConfig grpc;
  grpc.address = "/run/containerd/containerd.sock";
  list.push_back(plugin::WithConfig<SocketConfig>(
      PresenceOf(kServer, "grpc", {"io.containerd.grpc.v1"}),
      [](auto& config, plugin::ConfigTable& table) {
        table.Add("address", &config.address).Add("uid", &config.uid).Add("gid", &config.gid);
        table.Add("max_recv_message_size", &config.max_recv_message_size)
            .Add("max_send_message_size", &config.max_send_message_size);
      },
      grpc));
  SocketConfig ttrpc;
  ttrpc.address = "/run/containerd/containerd.sock.ttrpc";
  list.push_back(plugin::WithConfig<SocketConfig>(
      PresenceOf(kServer, "ttrpc", {"io.containerd.grpc.v1"}),
      [](auto& config, plugin::ConfigTable& table) {
        table.Add("address", &config.address).Add("uid", &config.uid).Add("gid", &config.gid);
      },
      ttrpc));
}

}  // namespace corten::daemon
