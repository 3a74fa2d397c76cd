#include "cli/container_making.h"

#include <stdlib.h>

#include <nlohmann/json.hpp>

#include "base/dir.h"
#include "cli/container_spec.h"
#include "cli/held_lease.h"
#include "cli/image_rootfs.h"
#include "cli/process.h"
#include "cli/undo.h"
#include "containerd/runc/v1/options.pb.h"
#include "image/manifest.h"
#include "oci/member_order.h"
#include "oci/spec.h"
#include "os/mount.h"
#include "runtimeoptions/v1/options.pb.h"
#include "wire/any_types.h"

namespace corten::cli {

namespace {

constexpr const char* kStopSignalLabel = "io.containerd.image.config.stop-signal";
constexpr const char* kRuncRuntime = "io.containerd.runc.v2";

// Labels that an image's maker must not set on our containers.
bool Reserved(const std::string& key) {
  return key.starts_with("containerd.io/") || key.starts_with("io.cri-containerd");
}

model::Labels LabelsOf(const Values& values, const image::ImageConfig& config,
                       const model::Labels& image) {
  model::Labels labels;
  for (const auto& [key, value] : config.labels) {
    if (!Reserved(key)) labels[key] = value;
  }
  for (const auto& [key, value] : image) labels[key] = value;
  for (const auto& [key, value] : FlagLabels(values, "label")) labels[key] = value;
  labels[kStopSignalLabel] = config.stop_signal.empty() ? "SIGTERM" : config.stop_signal;
  return labels;
}

Status CheckArguments(const Values& values) {
  if (!values.Text("config").empty()) {
    if (values.Arg(0).empty()) return InvalidArgumentError("container id must be provided");
    if (values.args.size() > 1)
      return InvalidArgumentError("with spec config file, only container id should be provided");
    return Ok();
  }
  if (values.Arg(0).empty()) return InvalidArgumentError("image ref must be provided");
  if (values.Arg(1).empty()) return InvalidArgumentError("container id must be provided");
  return Ok();
}

Result<model::Platform> PlatformOf(const Values& values) {
  if (!values.Declared("platform") || values.Text("platform").empty()) return model::HostPlatform();
  return model::ParsePlatform(values.Text("platform"));
}

// Errors of ours have no marker of their code in their text, as in ctr.
template <typename T>
Result<T> Plain(Result<T> result) {
  if (result.ok()) return result;
  return std::move(result).TakeError().WithCode(Code::kUnknown);
}

// The maker of one container; what it made goes again unless Keep was reached.
class Maker {
 public:
  Maker(Session& session, const Values& values) : session_(session), values_(values) {}

  Result<MadeContainer> Make() {
    TRY(CheckArguments(values_));
    lease_ = TRY(HeldLease::Take(session_));
    made_.uids = TRY(IdMapsOf(values_, "uidmap"));
    made_.gids = TRY(IdMapsOf(values_, "gidmap"));
    if (made_.uids.empty() || made_.gids.empty()) {
      made_.uids.clear();  // one without the other means nothing
      made_.gids.clear();
    }
    metadata::Container& container = made_.container;
    oci::Json spec;
    if (!values_.Text("config").empty()) {
      container.id = model::ContainerId(values_.Arg(0));
      container.labels = FlagLabels(values_, "label");
      spec = TRY(Plain(SpecFromFile(values_)));
    } else {
      container.id = model::ContainerId(values_.Arg(1));
      spec = TRY(OfArguments());
    }
    if (values_.Bool("runc-systemd-cgroup") &&
        (!values_.Declared("cgroup") || values_.Text("cgroup").empty()))
      return UnknownError(
          "option --runc-systemd-cgroup requires --cgroup to be set, e.g. "
          "\"machine.slice:foo:deadbeef\"");
    container.runtime = {values_.Text("runtime"), RuntimeOptionsOf(values_)};
    container.sandbox = model::SandboxId(values_.Text("sandbox"));
    oci::SetMembersInOrder(spec);
    container.spec = model::Any{std::string(oci::kSpecType), oci::Text(spec)};
    TRY(DumpSpec(spec));
    made_.container = TRY(session_.containers().Create(lease_->scope(), container));
    undo_.Keep();
    return std::move(made_);
  }

 private:
  Result<oci::Json> OfArguments() { return values_.Bool("rootfs") ? OfRootfs() : OfImage(); }

  Result<oci::Json> OfRootfs() {
    char* real = realpath(values_.Arg(0).c_str(), nullptr);
    SpecInputs inputs;
    inputs.rootfs = real != nullptr ? std::string(real) : values_.Arg(0);
    free(real);
    made_.container.labels = FlagLabels(values_, "label");
    inputs.with_root =
        [path = inputs.rootfs](const std::function<Status(const Dir& root)>& body) -> Status {
      const Dir root = TRY(Dir::Open(path));
      return body(root);
    };
    return SpecFor(std::move(inputs));
  }

  Result<oci::Json> OfImage() {
    metadata::Container& container = made_.container;
    const metadata::Image image = TRY(session_.images().Get(session_.ns(), values_.Arg(0)));
    const model::Platform platform = TRY(PlatformOf(values_));
    container.snapshotter = TRY(session_.SnapshotterName(values_));
    const Prepared prepared =
        TRY(PrepareImage(session_, lease_->scope(), image, container.snapshotter, platform));
    TRY(NotInterrupted());
    const image::ImageConfig config = TRY(image::ParseConfig(prepared.config));
    container.image = image.name;
    container.labels = LabelsOf(values_, config, image.labels);
    TRY(PrepareSnapshot(prepared.chain_id));
    SpecInputs inputs;
    inputs.image_config = prepared.config;
    inputs.with_root = RootOfMounts(made_.rootfs);
    return SpecFor(std::move(inputs));
  }

  Result<oci::Json> SpecFor(SpecInputs inputs) {
    inputs.id = made_.container.id.str();
    inputs.args.assign(values_.args.begin() + 2, values_.args.end());
    inputs.uids = made_.uids;
    inputs.gids = made_.gids;
    return Plain(SpecOf(session_, values_, inputs));
  }

  Status PrepareSnapshot(const std::string& parent) {
    metadata::Container& container = made_.container;
    const std::unique_ptr<snapshot::Snapshotter> snapshots =
        TRY(session_.stores().Snapshots(lease_->scope(), container.snapshotter));
    model::Labels labels = FlagLabels(values_, "snapshotter-label");
    const bool mapped = !made_.uids.empty();
    const bool by_label = mapped && values_.Bool("remap-labels");
    if (by_label) {
      labels[std::string(snapshot::kUidMappingLabel)] = oci::IdMapText(made_.uids);
      labels[std::string(snapshot::kGidMappingLabel)] = oci::IdMapText(made_.gids);
    }
    container.snapshot_key = container.id.str();
    std::string base = parent;
    if (mapped && !by_label) base = TRY(RemappedParent(*snapshots, parent));
    made_.rootfs = TRY(snapshots->Prepare(container.snapshot_key, base, labels));
    undo_.Add([this] {
      const auto plain = session_.stores().Snapshots(session_.scope(), made_.container.snapshotter);
      if (plain.ok()) (void)(*plain)->Remove(made_.container.snapshot_key);
    });
    return Ok();
  }

  // A committed copy of `parent` whose files have the owners that the maps give them; made once and
  // then shared by all containers with the same maps.
  Result<std::string> RemappedParent(snapshot::Snapshotter& snapshots, const std::string& parent) {
    std::string name = parent;
    for (const oci::IdMaps* maps : {&made_.uids, &made_.gids}) {
      for (const os::IdRange& map : *maps)
        name += StrCat("-", map.container, ":", map.host, ":", map.size);
    }
    if (snapshots.Stat(name).ok()) return name;
    const std::string key = StrCat(name, "-remap");
    const std::vector<model::Mount> mounts = TRY(snapshots.Prepare(key, parent, {}));
    Status shifted = os::WithTempMount("/tmp", mounts, [&](const std::string& path) -> Status {
      const Dir root = TRY(Dir::Open(path));
      return oci::ShiftOwners(root, made_.uids, made_.gids);
    });
    if (shifted.ok()) shifted = snapshots.Commit(name, key, {});
    if (!shifted.ok()) {
      (void)snapshots.Remove(key);
      return std::move(shifted).TakeError();
    }
    return name;
  }

  Status DumpSpec(const oci::Json& spec) {
    if (!values_.Declared("dump-config") || values_.Text("dump-config").empty()) return Ok();
    const std::string path = values_.Text("dump-config");
    const size_t slash = path.rfind('/');
    const Dir dir = TRY(Dir::Open(slash == std::string::npos ? std::string(".")
                                  : slash == 0               ? std::string("/")
                                                             : path.substr(0, slash)));
    return ReplaceFile(dir, slash == std::string::npos ? path : path.substr(slash + 1),
                       oci::Text(spec), 0644, FileReplacer::Durable::kNo);
  }

  Session& session_;
  const Values& values_;
  std::unique_ptr<HeldLease> lease_;
  MadeContainer made_;
  Undo undo_;
};

}  // namespace

std::optional<model::Any> RuntimeOptionsOf(const Values& values) {
  if (values.Text("runtime") != kRuncRuntime && !values.Text("runtime-config-path").empty()) {
    runtimeoptions::v1::Options options;
    options.set_config_path(values.Text("runtime-config-path"));
    return model::Any{std::string(wire::kRuntimeOptionsType), options.SerializeAsString()};
  }
  if (values.Text("runtime") != kRuncRuntime) return std::nullopt;
  containerd::runc::v1::Options options;
  options.set_binary_name(values.Text("runc-binary"));
  options.set_root(values.Text("runc-root"));
  options.set_systemd_cgroup(values.Bool("runc-systemd-cgroup"));
  return model::Any{std::string(wire::kRuncOptionsType), options.SerializeAsString()};
}

Result<MadeContainer> MakeContainer(Session& session, const Values& values) {
  return Maker(session, values).Make();
}

Status RemoveContainer(Session& session, const model::ContainerId& id, bool keep_snapshot) {
  const metadata::Container container = TRY(session.containers().Get(session.ns(), id));
  if (!keep_snapshot && !container.snapshot_key.empty()) {
    const std::unique_ptr<snapshot::Snapshotter> snapshots =
        TRY(session.stores().Snapshots(session.scope(), container.snapshotter));
    const Status removed = snapshots->Remove(container.snapshot_key);
    if (!removed.ok() && !removed.error().Is(Code::kNotFound)) return removed.error().Clone();
  }
  return session.containers().Delete(session.scope(), id);
}

}  // namespace corten::cli
