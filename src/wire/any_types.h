// Type URLs of google.protobuf.Any as containerd writes them, and packing by them.
//
// A protobuf value has the bare full name as its URL (`containerd.events.TaskExit`), without
// `type.googleapis.com/`. A JSON value has one of the registered paths below and JSON text. An Any
// that only passes through is opaque: keep type_url and value byte for byte.
//
// The templates work on any generated Any, lite or full; this header needs neither.
// Source: containerd 2.3 typeurl.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::wire {

// JSON types.
inline constexpr std::string_view kSpecType =
    "types.containerd.io/opencontainers/runtime-spec/1/Spec";
inline constexpr std::string_view kProcessType =
    "types.containerd.io/opencontainers/runtime-spec/1/Process";
inline constexpr std::string_view kLinuxResourcesType =
    "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
inline constexpr std::string_view kWindowsResourcesType =
    "types.containerd.io/opencontainers/runtime-spec/1/WindowsResources";
inline constexpr std::string_view kFeaturesType =
    "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
inline constexpr std::string_view kCriSandboxMetadataType =
    "github.com/containerd/cri/pkg/store/sandbox/Metadata";
inline constexpr std::string_view kCriContainerMetadataType =
    "github.com/containerd/cri/pkg/store/container/Metadata";
inline constexpr std::string_view kCriUpdatedResourcesType =
    "io.containerd.cri.v1/UpdatedResources";

// Names of protobuf types that code without their messages has to know.
inline constexpr std::string_view kEmptyType = "google.protobuf.Empty";
inline constexpr std::string_view kRuncOptionsType = "containerd.runc.v1.Options";
inline constexpr std::string_view kRuntimeOptionsType = "runtimeoptions.v1.Options";
inline constexpr std::string_view kCgroupV1MetricsType = "io.containerd.cgroups.v1.Metrics";
inline constexpr std::string_view kCgroupV2MetricsType = "io.containerd.cgroups.v2.Metrics";

// True for the JSON types above.
bool IsJsonType(std::string_view type_url);

// The type a URL names: a JSON type as it is, otherwise what follows the last `/` (everything, when
// there is none).
std::string_view TypeName(std::string_view type_url);

// kInvalidArgument unless `type_url` names `expected`.
Status CheckType(std::string_view type_url, std::string_view expected);

// Fills `any` with `message` under its bare name. False only if the message cannot be serialised
// (over 2 GiB).
template <typename Any, typename Message>
[[nodiscard]] bool PackAny(const Message& message, Any* any) {
  any->set_type_url(message.GetTypeName());
  return message.SerializeToString(any->mutable_value());
}

// The Message in `any`. kInvalidArgument if `any` names another type or its bytes do not parse:
// never a guess.
template <typename Message, typename Any>
Result<Message> UnpackAny(const Any& any) {
  Message message;
  const std::string name = message.GetTypeName();
  TRY(CheckType(any.type_url(), name));
  if (!message.ParseFromString(any.value())) return InvalidArgumentError("decode ", name);
  return message;
}

}  // namespace corten::wire
