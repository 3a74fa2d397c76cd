#include "target.h"

#include <csignal>

#include "containerd/runc/v1/options.pb.h"
#include "image/manifest.h"
#include "oci/spec.h"

namespace corten::bench {

model::Scope PlainScope() { return {model::Namespace(kNamespace), {}}; }

model::Scope LeasedScope(const std::string& lease) {
  return {model::Namespace(kNamespace), model::LeaseId(lease)};
}

Target::Target(Daemon& daemon) : daemon_(daemon) {
  client::ConnectOptions options;
  options.address = daemon.socket();
  connection_ = Must(client::Connection::Open(options), "connect");
  containers_ = client::RemoteContainers(connection_);
  images_ = client::RemoteImages(connection_);
  leases_ = client::RemoteLeases(connection_);
  stores_ = client::RemoteStores(connection_);
  tasks_ = client::RemoteTasks(connection_, PlainScope());
}

std::vector<Target> Clients(Daemon& daemon, int count) {
  std::vector<Target> clients;
  for (int i = 0; i < count; ++i) clients.emplace_back(daemon);
  return clients;
}

std::unique_ptr<snapshot::Snapshotter> Target::Snapshots(const model::Scope& scope) {
  return Must(stores_->Snapshots(scope, kSnapshotter), "snapshotter");
}

void Target::UseImage(const std::string& reference) {
  const std::unique_ptr<content::Store> content = stores_->Content(PlainScope());
  const metadata::Image image =
      Must(images_->Get(PlainScope().ns, reference), "image that containers are made of");
  const model::Descriptor manifest =
      Must(image::SelectManifest(*content, image.target, model::HostPlatform()), "manifest");
  const image::Manifest parsed =
      Must(image::ParseManifest(
               Must(content::ReadBlob(*content, manifest.digest, image::kMaxDocument), "manifest")),
           "manifest");
  config_ = Must(content::ReadBlob(*content, parsed.config.digest, image::kMaxConfig), "config");
  const image::ImageConfig config = Must(image::ParseConfig(config_), "config");
  chain_id_ = image::ChainIds(config.diff_ids).back().str();
  image_ = reference;
}

metadata::Container Target::MakeContainer(const std::string& id,
                                          const std::vector<std::string>& args,
                                          const OciRuntime& runtime) const {
  oci::SpecRequest request;
  request.ns = daemon_.group().containers();  // becomes the parent of the container's cgroup
  request.id = id;
  request.image_config = config_;
  request.args = args;
  metadata::Container container;
  container.id = model::ContainerId(id);
  container.image = image_;
  container.runtime.name = "io.containerd.runc.v2";
  if (!runtime.path.empty()) {
    containerd::runc::v1::Options options;
    options.set_binary_name(runtime.path);
    container.runtime.options =
        model::Any{"containerd.runc.v1.Options", options.SerializeAsString()};
  }
  container.spec = model::Any{std::string(oci::kSpecType), Must(oci::MakeSpec(request), "spec")};
  container.snapshotter = kSnapshotter;
  container.snapshot_key = id;
  return container;
}

model::ContainerId Target::Keep(const std::string& id, const OciRuntime& runtime) {
  const std::vector<model::Mount> rootfs =
      Must(Snapshots(PlainScope())->Prepare(id, chain_id_, kRoot), "prepare");
  const metadata::Container container =
      Must(containers_->Create(PlainScope(), MakeContainer(id, {"/bin/sleep", "100000"}, runtime)),
           "create container");
  Must(tasks_->Create(container.id, rootfs, {}, container.runtime.options), "create task");
  Must(tasks_->Start(container.id, {}), "start");
  return container.id;
}

void Target::Drop(const model::ContainerId& id) {
  Must(tasks_->Kill(id, {}, SIGKILL, /*all=*/false), "kill");
  Must(tasks_->Wait(id, {}), "wait");
  Must(tasks_->Delete(id, {}), "delete task");
  Must(containers_->Delete(PlainScope(), id), "delete container");
  Must(Snapshots(PlainScope())->Remove(id.str()), "remove snapshot");
}

std::vector<model::ContainerId> Target::KeepMany(const std::string& prefix, int count, int clients,
                                                 const OciRuntime& runtime) {
  std::vector<model::ContainerId> ids(static_cast<size_t>(count));
  AtOnce(clients, count,
         [&](int i) { ids[static_cast<size_t>(i)] = Keep(StrCat(prefix, "-", i), runtime); });
  return ids;
}

void Target::DropMany(const std::vector<model::ContainerId>& ids, int clients) {
  AtOnce(clients, static_cast<int>(ids.size()), [&](int i) { Drop(ids[static_cast<size_t>(i)]); });
}

}  // namespace corten::bench
