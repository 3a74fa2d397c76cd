// Conversions between API messages and model values: one pair of functions per type.
#pragma once

#include <google/protobuf/any.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/map.h>
#include <google/protobuf/timestamp.pb.h>

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "containerd/types/descriptor.pb.h"
#include "containerd/types/mount.pb.h"
#include "containerd/types/platform.pb.h"
#include "model/descriptor.h"
#include "model/labels.h"
#include "model/mount.h"

namespace corten::api {

using LabelMap = google::protobuf::Map<std::string, std::string>;

inline model::Labels FromProto(const LabelMap& labels) { return {labels.begin(), labels.end()}; }
void ToProto(const model::Labels& labels, LabelMap* out);

inline Time FromProto(const google::protobuf::Timestamp& time) {
  return {time.seconds(), time.nanos()};
}
void ToProto(Time time, google::protobuf::Timestamp* out);

inline model::Any FromProto(const google::protobuf::Any& any) {
  return {any.type_url(), any.value()};
}
void ToProto(const model::Any& any, google::protobuf::Any* out);

// kInvalidArgument: the digest does not parse (an empty one stays empty).
Result<model::Descriptor> FromProto(const containerd::types::Descriptor& descriptor);
void ToProto(const model::Descriptor& descriptor, containerd::types::Descriptor* out);

model::Platform FromProto(const containerd::types::Platform& platform);
void ToProto(const model::Platform& platform, containerd::types::Platform* out);

std::vector<model::Mount> FromProto(
    const google::protobuf::RepeatedPtrField<containerd::types::Mount>& mounts);
void ToProto(const std::vector<model::Mount>& mounts,
             google::protobuf::RepeatedPtrField<containerd::types::Mount>* out);

inline std::vector<std::string> FromProto(
    const google::protobuf::RepeatedPtrField<std::string>& list) {
  return {list.begin(), list.end()};
}
inline std::vector<std::string> PathsOf(const google::protobuf::FieldMask& mask) {
  return FromProto(mask.paths());
}

}  // namespace corten::api
