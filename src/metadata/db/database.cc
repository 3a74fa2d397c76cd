#include "metadata/db/database.h"

#include <sys/stat.h>

#include "metadata/db/collection.h"
#include "metadata/db/content.h"
#include "metadata/db/core.h"
#include "metadata/db/migrate.h"
#include "metadata/db/objects.h"
#include "metadata/db/snapshots.h"

namespace corten::metadata {

namespace {
constexpr uint32_t kFilePermissions = 0644;  // containerd's
}  // namespace

struct Database::Stores {
  explicit Stores(DbCore* core)
      : namespaces(core), containers(core), images(core), leases(core), sandboxes(core) {}
  Namespaces namespaces;
  Containers containers;
  Images images;
  Leases leases;
  Sandboxes sandboxes;
};

Database::Database(std::unique_ptr<DbCore> core)
    : core_(std::move(core)), stores_(std::make_unique<Stores>(core_.get())) {}
Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::Open(DatabaseOptions options) {
  if (options.intents_path.empty()) options.intents_path = options.path + ".intents";
  auto core = std::make_unique<DbCore>(std::move(options));
  bolt::Options file;
  file.permissions = kFilePermissions;
  file.lock_timeout = core->options.lock_timeout;
  file.no_sync = core->options.no_sync;
  file.runner = core->options.runner;
  core->db = TRY(bolt::Db::Open(core->options.path, file));
  TRY(Migrate(*core->db).Context("migrate metadata"));
  TRY(LoadIntents(*core));
  for (const auto& [name, backend] : core->backends) {
    (void)SettleIntents(
        *core,
        name);  // tried again at the first use: a backend that is away must not stop the start
  }
  std::unique_ptr<Database> database(new Database(std::move(core)));
  Database* self = database.get();
  self->core_->collect_now = [self]() -> Status {
    TRY(self->CollectGarbage());
    return Ok();
  };
  return database;
}

NamespaceStore& Database::namespaces() { return stores_->namespaces; }
ContainerStore& Database::containers() { return stores_->containers; }
ImageStore& Database::images() { return stores_->images; }
LeaseStore& Database::leases() { return stores_->leases; }
SandboxStore& Database::sandboxes() { return stores_->sandboxes; }

std::unique_ptr<content::Store> Database::Content(const model::Scope& scope) {
  return std::make_unique<ScopedContent>(core_.get(), scope);
}

Result<std::unique_ptr<snapshot::Snapshotter>> Database::Snapshots(const model::Scope& scope,
                                                                   const std::string& name) {
  if (name.empty()) return InvalidArgumentError("snapshotter argument missing");
  if (!core_->backends.contains(name))
    return InvalidArgumentError("snapshotter not loaded: ", name);
  return std::unique_ptr<snapshot::Snapshotter>(
      std::make_unique<ScopedSnapshots>(core_.get(), scope, name));
}

std::vector<std::string> Database::SnapshotterNames() const {
  std::vector<std::string> names;
  for (const auto& [name, backend] : core_->backends) names.push_back(name);
  return names;
}

void Database::AddCollector(Collector* collector) { core_->collectors.push_back(collector); }

void Database::SetHooks(Hooks hooks) { core_->hooks = std::move(hooks); }

Result<GcStats> Database::CollectGarbage(const GcOptions& options) {
  const std::lock_guard lock(core_->collection);
  return Collection(core_.get(), options).Run();
}

Status Database::Backup(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0) return AlreadyExistsError("backup ", path);
  const bolt::ReadTx from = TRY(core_->db->BeginView());
  bolt::Options file;
  file.permissions = kFilePermissions;
  const std::unique_ptr<bolt::Db> to = TRY(bolt::Db::Open(path, file));
  return to->Update([&](bolt::Tx& tx) {
    return ForEachBucket(from->Root(),
                         [&](std::string_view name, const bolt::Bucket& bucket) -> Status {
                           const bolt::Bucket copy = TRY(tx.CreateBucket(name));
                           return CopyBucket(bucket, copy);
                         });
  });
}

}  // namespace corten::metadata
