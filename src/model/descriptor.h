// OCI content descriptors and platforms. Values; any thread.
// Source: OCI image specification 1.1, descriptor.md and image-index.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/digest.h"
#include "model/labels.h"

namespace corten::model {

struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;
  std::string os_version;
  std::vector<std::string> os_features;
  bool operator==(const Platform&) const = default;
};

struct Descriptor {
  std::string media_type;
  Digest digest;
  int64_t size = 0;  // bytes
  Labels annotations;
  std::vector<std::string> urls;
  std::optional<Platform> platform;
  std::string artifact_type;
  bool operator==(const Descriptor&) const = default;
};

namespace media_type {
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerManifestList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view kDockerLayerGzip =
    "application/vnd.docker.image.rootfs.diff.tar.gzip";
inline constexpr std::string_view kDockerLayerZstd =
    "application/vnd.docker.image.rootfs.diff.tar.zstd";
inline constexpr std::string_view kDockerForeignLayer =
    "application/vnd.docker.image.rootfs.foreign.diff.tar";
inline constexpr std::string_view kDockerForeignLayerGzip =
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
}  // namespace media_type

bool IsIndexType(std::string_view type);
bool IsManifestType(std::string_view type);
bool IsConfigType(std::string_view type);
bool IsLayerType(
    std::string_view type);  // any OCI or Docker layer, compressed or not, foreign ones too
bool IsNonDistributableType(std::string_view type);

// The platform of this machine, normalised ("linux", "amd64", "").
Platform HostPlatform();
// Go-style names: x86_64 -> amd64, aarch64 -> arm64 (variant v8 dropped), armhf -> arm v7, i386 ->
// 386 ...
Platform NormalizePlatform(Platform platform);
// "linux/arm64/v8", "linux(+erofs)/amd64", "arm64" (host OS), "linux" (host architecture).
// kInvalidArgument otherwise.
Result<Platform> ParsePlatform(std::string_view text);
// "os[(version+feature...)]/arch[/variant]"; "unknown" if os is empty.
std::string FormatPlatform(const Platform& platform);
// Whether an image for `image` runs where `wanted` is asked for, and how well: 0 best, larger is
// worse, -1 does not. amd64 also runs 386; arm64 also runs arm v8..v5; arm vN also lower N.
int PlatformMatch(const Platform& wanted, const Platform& image);

}  // namespace corten::model
