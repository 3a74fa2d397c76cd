#include "api/objects.h"

#include "api/values.h"

namespace corten::api {

namespace containers = containerd::services::containers::v1;
namespace contents = containerd::services::content::v1;
namespace images = containerd::services::images::v1;
namespace leases = containerd::services::leases::v1;
namespace snapshots = containerd::services::snapshots::v1;

metadata::Container FromProto(const containers::Container& container) {
  metadata::Container out;
  out.id = model::ContainerId(container.id());
  out.labels = FromProto(container.labels());
  out.image = container.image();
  out.runtime.name = container.runtime().name();
  if (container.runtime().has_options())
    out.runtime.options = FromProto(container.runtime().options());
  if (container.has_spec()) out.spec = FromProto(container.spec());
  out.snapshotter = container.snapshotter();
  out.snapshot_key = container.snapshot_key();
  out.created_at = FromProto(container.created_at());
  out.updated_at = FromProto(container.updated_at());
  for (const auto& [name, any] : container.extensions()) out.extensions[name] = FromProto(any);
  out.sandbox = model::SandboxId(container.sandbox());
  return out;
}

void ToProto(const metadata::Container& container, containers::Container* out) {
  out->set_id(container.id.str());
  ToProto(container.labels, out->mutable_labels());
  out->set_image(container.image);
  out->mutable_runtime()->set_name(container.runtime.name);
  if (container.runtime.options.has_value())
    ToProto(*container.runtime.options, out->mutable_runtime()->mutable_options());
  if (container.spec.has_value()) ToProto(*container.spec, out->mutable_spec());
  out->set_snapshotter(container.snapshotter);
  out->set_snapshot_key(container.snapshot_key);
  ToProto(container.created_at, out->mutable_created_at());
  ToProto(container.updated_at, out->mutable_updated_at());
  for (const auto& [name, any] : container.extensions)
    ToProto(any, &(*out->mutable_extensions())[name]);
  out->set_sandbox(container.sandbox.str());
}

Result<metadata::Image> FromProto(const images::Image& image) {
  metadata::Image out;
  out.name = image.name();
  out.labels = FromProto(image.labels());
  out.target = TRY(FromProto(image.target()));
  out.created_at = FromProto(image.created_at());
  out.updated_at = FromProto(image.updated_at());
  return out;
}

void ToProto(const metadata::Image& image, images::Image* out) {
  out->set_name(image.name);
  ToProto(image.labels, out->mutable_labels());
  ToProto(image.target, out->mutable_target());
  ToProto(image.created_at, out->mutable_created_at());
  ToProto(image.updated_at, out->mutable_updated_at());
}

metadata::Lease FromProto(const leases::Lease& lease) {
  return {model::LeaseId(lease.id()), FromProto(lease.created_at()), FromProto(lease.labels())};
}

void ToProto(const metadata::Lease& lease, leases::Lease* out) {
  out->set_id(lease.id.str());
  ToProto(lease.created_at, out->mutable_created_at());
  ToProto(lease.labels, out->mutable_labels());
}

Result<content::Info> FromProto(const contents::Info& info) {
  content::Info out;
  out.digest = TRY(model::Digest::Parse(info.digest()).Context(Quoted(info.digest())));
  out.size = info.size();
  out.created_at = FromProto(info.created_at());
  out.updated_at = FromProto(info.updated_at());
  out.labels = FromProto(info.labels());
  return out;
}

void ToProto(const content::Info& info, contents::Info* out) {
  out->set_digest(info.digest.str());
  out->set_size(info.size);
  ToProto(info.created_at, out->mutable_created_at());
  ToProto(info.updated_at, out->mutable_updated_at());
  ToProto(info.labels, out->mutable_labels());
}

Result<content::IngestStatus> FromProto(const contents::Status& status) {
  content::IngestStatus out;
  out.ref = status.ref();
  out.offset = status.offset();
  out.total = status.total();
  if (!status.expected().empty())
    out.expected = TRY(model::Digest::Parse(status.expected()).Context(Quoted(status.expected())));
  out.started_at = FromProto(status.started_at());
  out.updated_at = FromProto(status.updated_at());
  return out;
}

void ToProto(const content::IngestStatus& status, contents::Status* out) {
  ToProto(status.started_at, out->mutable_started_at());
  ToProto(status.updated_at, out->mutable_updated_at());
  out->set_ref(status.ref);
  out->set_offset(status.offset);
  out->set_total(status.total);
  out->set_expected(status.expected.str());
}

snapshot::Info FromProto(const snapshots::Info& info) {
  snapshot::Info out;
  out.kind = static_cast<snapshot::Kind>(info.kind());  // same numbers
  out.name = info.name();
  out.parent = info.parent();
  out.labels = FromProto(info.labels());
  out.created_at = FromProto(info.created_at());
  out.updated_at = FromProto(info.updated_at());
  return out;
}

void ToProto(const snapshot::Info& info, snapshots::Info* out) {
  out->set_name(info.name);
  out->set_parent(info.parent);
  out->set_kind(static_cast<snapshots::Kind>(info.kind));  // same numbers
  ToProto(info.created_at, out->mutable_created_at());
  ToProto(info.updated_at, out->mutable_updated_at());
  ToProto(info.labels, out->mutable_labels());
}

}  // namespace corten::api
