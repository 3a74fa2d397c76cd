// Streams, and the transfer of images between registries, archives and the image store.
#include <grpcpp/impl/service_type.h>

#include <algorithm>

#include "daemon/builtins_parts.h"
#include "image/transfers.h"
#include "services/stream_table.h"

namespace corten::daemon {

namespace {

using plugin::ConfigTable;
using plugin::InitContext;

constexpr plugin::PluginType<services::StreamTable> kStreaming{"io.containerd.streaming.v1"};
constexpr plugin::PluginType<image::Transfers> kTransfer{"io.containerd.transfer.v1"};

// Keys as containerd has them. Those without a field in image::TransferOptions are read so that a
// file with them is valid: config_path has no effect there either, and pushes are not in this
// build.
struct TransferSettings {
  int64_t max_concurrent_downloads = 3;
  int64_t concurrent_layer_fetch_buffer = 0;
  int64_t max_concurrent_uploaded_layers = 3;
  int64_t max_concurrent_unpacks =
      3;  // containerd: 1. Layers that can be unpacked at the same time are
  bool check_platform_supported = false;
  std::string config_path;
};

plugin::Descriptor StreamingPlugin() {
  return plugin::MakeDescriptor<services::StreamTable>(
      kStreaming, "manager", {"io.containerd.metadata.v1"}, [](InitContext&) {
        return Result<std::unique_ptr<services::StreamTable>>(
            std::make_unique<services::StreamTable>());
      });
}

Result<std::unique_ptr<image::Transfers>> OpenTransfers(InitContext& context) {
  const TransferSettings& settings = context.Config<TransferSettings>();
  Stores* stores = TRY(context.Get(kMetadata));
  image::TransferOptions options;
  options.stores = stores;
  options.images = &stores->database().images();
  options.leases = &stores->database().leases();
  DifferMaker* differ = TRY(context.GetById(kDiffer, "walking"));
  options.applier = differ->engine.get();
  options.make_differ = differ->make;
  options.max_downloads = static_cast<int>(settings.max_concurrent_downloads);
  options.max_unpacks = static_cast<int>(settings.max_concurrent_unpacks);
  options.any_architecture = !settings.check_platform_supported;
  // As containerd's default unpack_config: overlayfs and nothing else.
  const Result<snapshot::Driver*> driver = context.GetById(kSnapshotter, "overlayfs");
  if (driver.ok()) {
    options.unpack.push_back({model::HostPlatform(), "overlayfs", [driver = *driver] {
                                const std::vector<std::string> all = driver->Capabilities();
                                return std::find(all.begin(), all.end(),
                                                 snapshot::kCapabilityRebase) != all.end();
                              }});
  }
  return std::make_unique<image::Transfers>(std::move(options));
}

plugin::Descriptor TransferPlugin() {
  return plugin::WithConfig<TransferSettings>(
      plugin::MakeDescriptor<image::Transfers>(
          kTransfer, "local",
          {"io.containerd.lease.v1", "io.containerd.metadata.v1", "io.containerd.differ.v1",
           "io.containerd.snapshotter.v1"},
          &OpenTransfers),
      [](auto& settings, ConfigTable& table) {
        table.Add("max_concurrent_downloads", &settings.max_concurrent_downloads);
        table.Add("concurrent_layer_fetch_buffer", &settings.concurrent_layer_fetch_buffer);
        table.Add("max_concurrent_uploaded_layers", &settings.max_concurrent_uploaded_layers);
        table.Add("max_concurrent_unpacks", &settings.max_concurrent_unpacks);
        table.Add("check_platform_supported", &settings.check_platform_supported)
            .Add("config_path", &settings.config_path);
      });
}

}  // namespace

void AddImages(std::vector<plugin::Descriptor>& list) {
  list.push_back(StreamingPlugin());
  list.push_back(TransferPlugin());
  list.push_back(plugin::MakeDescriptor<ServiceHolder>(
      kGrpc, "streaming", {"io.containerd.streaming.v1"},
      [](InitContext& context) -> Result<std::unique_ptr<ServiceHolder>> {
        services::StreamTable* table = TRY(context.Get(kStreaming));
        return std::make_unique<ServiceHolder>(
            ServiceHolder{services::MakeStreamingService(table)});
      }));
  list.push_back(plugin::MakeDescriptor<ServiceHolder>(
      kGrpc, "transfer", {"io.containerd.streaming.v1", "io.containerd.transfer.v1"},
      [](InitContext& context) -> Result<std::unique_ptr<ServiceHolder>> {
        services::StreamTable* table = TRY(context.Get(kStreaming));
        image::Transfers* transfers = TRY(context.Get(kTransfer));
        return std::make_unique<ServiceHolder>(
            ServiceHolder{services::MakeTransferService(transfers, table)});
      }));
}

}  // namespace corten::daemon
