#include "api/values.h"

namespace corten::api {

void ToProto(const model::Labels& labels, LabelMap* out) {
  out->clear();
  for (const auto& [key, value] : labels) (*out)[key] = value;
}

void ToProto(Time time, google::protobuf::Timestamp* out) {
  out->set_seconds(time.seconds);
  out->set_nanos(time.nanos);
}

void ToProto(const model::Any& any, google::protobuf::Any* out) {
  out->set_type_url(any.type_url);
  out->set_value(any.value);
}

Result<model::Descriptor> FromProto(const containerd::types::Descriptor& descriptor) {
  model::Descriptor out;
  out.media_type = descriptor.media_type();
  if (!descriptor.digest().empty()) out.digest = TRY(model::Digest::Parse(descriptor.digest()));
  out.size = descriptor.size();
  out.annotations = FromProto(descriptor.annotations());
  return out;
}

void ToProto(const model::Descriptor& descriptor, containerd::types::Descriptor* out) {
  out->set_media_type(descriptor.media_type);
  out->set_digest(descriptor.digest.str());
  out->set_size(descriptor.size);
  ToProto(descriptor.annotations, out->mutable_annotations());
}

model::Platform FromProto(const containerd::types::Platform& platform) {
  model::Platform out;
  out.os = platform.os();
  out.architecture = platform.architecture();
  out.variant = platform.variant();
  out.os_version = platform.os_version();
  return out;
}

void ToProto(const model::Platform& platform, containerd::types::Platform* out) {
  out->set_os(platform.os);
  out->set_architecture(platform.architecture);
  out->set_variant(platform.variant);
  out->set_os_version(platform.os_version);
}

std::vector<model::Mount> FromProto(
    const google::protobuf::RepeatedPtrField<containerd::types::Mount>& mounts) {
  std::vector<model::Mount> out;
  for (const auto& mount : mounts)
    out.push_back({mount.type(), mount.source(), mount.target(), FromProto(mount.options())});
  return out;
}

void ToProto(const std::vector<model::Mount>& mounts,
             google::protobuf::RepeatedPtrField<containerd::types::Mount>* out) {
  for (const model::Mount& mount : mounts) {
    containerd::types::Mount* message = out->Add();
    message->set_type(mount.type);
    message->set_source(mount.source);
    message->set_target(mount.target);
    for (const std::string& option : mount.options) message->add_options(option);
  }
}

}  // namespace corten::api
