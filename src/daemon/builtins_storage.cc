// Content, snapshots, metadata, garbage collection, diffs.
#include "base/clock.h"
#include "base/dir.h"
#include "base/log.h"
#include "content/local/local_store.h"
#include "daemon/builtins_parts.h"
#include "daemon/lazy_driver.h"
#include "snapshot/native/native.h"
#include "snapshot/overlay/overlay.h"

namespace corten::daemon {

namespace {

using plugin::ConfigTable;
using plugin::InitContext;

constexpr std::chrono::seconds kDefaultLockWait(10);

plugin::Descriptor ContentPlugin() {
  return plugin::MakeDescriptor<content::Store>(
      kContent, "content", {}, [](InitContext& context) -> Result<std::unique_ptr<content::Store>> {
        context.facts().exports["root"] = context.RootDir();
        return TRY(content::LocalStore::Open(context.RootDir()));
      });
}

// What drivers tell introspection.
void Describe(snapshot::Driver& driver, InitContext& context) {
  context.facts().platforms = {model::FormatPlatform(model::HostPlatform())};
  context.facts().exports = driver.Exports();
  context.facts().probe_capabilities = [&driver] { return driver.Capabilities(); };
}

plugin::Descriptor OverlayPlugin() {
  plugin::Descriptor descriptor = plugin::MakeDescriptor<snapshot::Driver>(
      kSnapshotter, "overlayfs", {},
      [](InitContext& context) -> Result<std::unique_ptr<snapshot::Driver>> {
        snapshot::overlay::Config config = context.Config<snapshot::overlay::Config>();
        if (config.root.empty()) config.root = context.RootDir();
        TRY(snapshot::overlay::CheckFilesystem(config.root));
        std::unique_ptr<snapshot::Driver> driver =
            TRY(OpenWhenUsed(config.root, [config] { return snapshot::overlay::Open(config); }));
        Describe(*driver, context);
        return driver;
      });
  return plugin::WithConfig<snapshot::overlay::Config>(
      std::move(descriptor), [](auto& config, ConfigTable& table) {
        table.Add("root_path", &config.root)
            .Add("upperdir_label", &config.upperdir_label)
            .Add("sync_remove", &config.sync_remove);
        table.Add("slow_chown", &config.slow_chown).Add("mount_options", &config.mount_options);
      });
}

plugin::Descriptor NativePlugin() {
  plugin::Descriptor descriptor = plugin::MakeDescriptor<snapshot::Driver>(
      kSnapshotter, "native", {},
      [](InitContext& context) -> Result<std::unique_ptr<snapshot::Driver>> {
        snapshot::native::Config config = context.Config<snapshot::native::Config>();
        if (config.root.empty()) config.root = context.RootDir();
        std::unique_ptr<snapshot::Driver> driver =
            TRY(OpenWhenUsed(config.root, [config] { return snapshot::native::Open(config); }));
        Describe(*driver, context);
        return driver;
      });
  return plugin::WithConfig<snapshot::native::Config>(
      std::move(descriptor),
      [](auto& config, ConfigTable& table) { table.Add("root_path", &config.root); });
}

struct BoltSettings {
  std::string content_sharing_policy = "shared";
  bool no_sync = false;
};

plugin::Descriptor MetadataPlugin(const Environment& environment) {
  const Config* config = environment.config;
  Executor* const quick = environment.executors.quick;
  plugin::Descriptor descriptor = plugin::MakeDescriptor<Stores>(
      kMetadata, "bolt",
      {"io.containerd.content.v1", "io.containerd.event.v1", "io.containerd.snapshotter.v1"},
      [config, quick](InitContext& context) -> Result<std::unique_ptr<Stores>> {
        const BoltSettings& settings = context.Config<BoltSettings>();
        metadata::DatabaseOptions options;
        if (settings.content_sharing_policy == "isolated") {
          options.sharing = metadata::ContentSharing::kIsolated;
        } else if (settings.content_sharing_policy != "shared") {
          return InvalidArgumentError("content_sharing_policy: want 'shared' or 'isolated', got ",
                                      Quoted(settings.content_sharing_policy));
        }
        TRY(MakeDirs(context.RootDir(), 0711));
        options.path = StrCat(context.RootDir(), "/meta.db");
        options.no_sync = settings.no_sync;
        // The daemon waits a little for a predecessor that is just ending; then the error names the
        // holder.
        const int64_t wait = config->TimeoutNanos("io.containerd.timeout.bolt.open");
        options.lock_timeout = wait > 0 ? std::chrono::duration_cast<std::chrono::milliseconds>(
                                              std::chrono::nanoseconds(wait))
                                        : std::chrono::milliseconds(kDefaultLockWait);
        // Null where plugins are only listed.
        if (quick != nullptr) {
          options.runner = [quick](std::function<void()> commit) {
            return quick->Submit(std::move(commit)).ok();
          };
        }
        if (const auto stores = context.GetAll(kContent); stores.size() > 1) {
          return FailedPreconditionError(
              "there are ", stores.size(),
              " content plugins and one store; list all but one in disabled_plugins");
        }
        options.content = TRY(context.Get(kContent));
        for (const auto& [name, driver] : context.GetAll(kSnapshotter))
          options.snapshotters[name] = driver;
        events::Exchange* exchange = TRY(context.Get(kEvent));
        options.observer = services::MakeChangePublisher(exchange);
        std::unique_ptr<metadata::Database> database =
            TRY(metadata::Database::Open(std::move(options)));
        context.facts().exports["path"] = StrCat(context.RootDir(), "/meta.db");
        context.facts().exports["policy"] = settings.content_sharing_policy;
        return std::make_unique<Stores>(std::move(database));
      });
  return plugin::WithConfig<BoltSettings>(
      std::move(descriptor), [](auto& settings, ConfigTable& table) {
        table.Add("content_sharing_policy", &settings.content_sharing_policy)
            .Add("no_sync", &settings.no_sync);
      });
}

struct GcSettings {
  double pause_threshold = 0.02;
  int64_t deletion_threshold = 0;
  int64_t mutation_threshold = 100;
  plugin::Duration schedule_delay{0};
  plugin::Duration startup_delay{100000000};
};

Result<metadata::GcOutcome> RunCollection(metadata::Database& database, Meter* meter) {
  Result<metadata::GcStats> collected = database.CollectGarbage();
  if (meter != nullptr) {
    (collected.ok() ? meter->collections_ok : meter->collections_failed).fetch_add(1);
    if (collected.ok()) meter->collection_time.Observe(collected->duration);
  }
  const metadata::GcStats stats = TRY(std::move(collected));
  for (const auto& [where, why] : stats.trouble)
    log::Warn("garbage collection left something behind", {{"where", where}, {"error", why}});
  log::Debug("garbage collected", {{"d", FormatDuration(stats.duration.count())},
                                   {"pause", FormatDuration(stats.longest_pause.count())}});
  metadata::GcOutcome outcome;
  outcome.pause = stats.pause;
  outcome.next_expiry = stats.next_expiry;
  outcome.left_behind = !stats.trouble.empty();
  return outcome;
}

// The scheduler with its strings to the database, cut before either goes.
class AttachedScheduler final : public metadata::GcScheduler {
 public:
  AttachedScheduler(metadata::Database* database, Meter* meter, Options options)
      : GcScheduler([database, meter] { return RunCollection(*database, meter); },
                    std::move(options)),
        database_(database) {
    metadata::Database::Hooks hooks;
    hooks.on_mutation = [this](bool deletion) { OnMutation(deletion); };
    hooks.on_expiry = [this](Time when) { OnExpiry(when); };
    hooks.collect = [this] { return CollectAndWait(); };
    database_->SetHooks(std::move(hooks));
  }
  ~AttachedScheduler() override {
    Stop();  // its thread uses the strings, too
    database_->SetHooks({});
  }

 private:
  metadata::Database* database_;
};

plugin::Descriptor GcPlugin(const Environment& environment) {
  plugin::Descriptor descriptor = plugin::MakeDescriptor<metadata::GcScheduler>(
      kGc, "scheduler", {"io.containerd.metadata.v1"},
      [meter = environment.meter, collected = environment.collected](
          InitContext& context) -> Result<std::unique_ptr<metadata::GcScheduler>> {
        const GcSettings& settings = context.Config<GcSettings>();
        metadata::GcScheduler::Options options;
        options.schedule.pause_threshold = settings.pause_threshold;
        options.schedule.deletion_threshold = static_cast<int>(settings.deletion_threshold);
        options.schedule.mutation_threshold = static_cast<int>(settings.mutation_threshold);
        options.schedule.schedule_delay = std::chrono::nanoseconds(settings.schedule_delay.nanos);
        options.schedule.startup_delay = std::chrono::nanoseconds(settings.startup_delay.nanos);
        options.on_run = [collected](const Result<metadata::GcOutcome>& outcome) {
          if (collected) collected();
          if (!outcome.ok())
            log::Error("garbage collection failed", {{"error", outcome.error().text()}});
        };
        Stores* stores = TRY(context.Get(kMetadata));
        auto& exports = context.facts().exports;
        exports["PauseThreshold"] = ConfigText(settings.pause_threshold);
        exports["DeletionThreshold"] = StrCat(settings.deletion_threshold);
        exports["MutationThreshold"] = StrCat(settings.mutation_threshold);
        exports["ScheduleDelay"] = FormatDuration(settings.schedule_delay.nanos);
        return std::unique_ptr<metadata::GcScheduler>(
            new AttachedScheduler(&stores->database(), meter, std::move(options)));
      });
  return plugin::WithConfig<GcSettings>(
      std::move(descriptor), [](auto& settings, ConfigTable& table) {
        table.Add("pause_threshold", &settings.pause_threshold)
            .Add("deletion_threshold", &settings.deletion_threshold);
        table.Add("mutation_threshold", &settings.mutation_threshold)
            .Add("schedule_delay", &settings.schedule_delay);
        table.Add("startup_delay", &settings.startup_delay);
      });
}

}  // namespace

std::string ConfigText(double value) {
  char buffer[32];
  (void)snprintf(buffer, sizeof(buffer), "%g", value);
  return buffer;
}

void AddStorage(const Environment& environment, std::vector<plugin::Descriptor>& list) {
  list.push_back(ContentPlugin());
  list.push_back(plugin::MakeDescriptor<events::Exchange>(
      kEvent, "exchange", {}, [](InitContext&) -> Result<std::unique_ptr<events::Exchange>> {
        return std::make_unique<events::Exchange>(services::MakeEventFieldReader());
      }));
  list.push_back(NativePlugin());
  list.push_back(OverlayPlugin());
  list.push_back(MetadataPlugin(environment));
  list.push_back(GcPlugin(environment));
  AddDiffers(environment, list);
}

}  // namespace corten::daemon
