#include "model/descriptor.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>

namespace corten::model {

namespace {

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool KnownOs(std::string_view os) {
  static constexpr std::array<std::string_view, 13> kKnown = {
      "linux",   "windows", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly",
      "solaris", "illumos", "aix",    "android", "plan9",  "wasip1"};
  return std::find(kKnown.begin(), kKnown.end(), os) != kKnown.end();
}

bool KnownArchitecture(std::string_view arch) {
  static constexpr std::array<std::string_view, 16> kKnown = {
      "386",      "amd64", "arm",     "arm64",   "loong64", "mips", "mipsle",  "mips64",
      "mips64le", "ppc64", "ppc64le", "riscv64", "s390x",   "wasm", "sparc64", "riscv"};
  return std::find(kKnown.begin(), kKnown.end(), arch) != kKnown.end();
}

bool PlatformText(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

int ArmLevel(std::string_view variant) {
  return variant.size() == 2 && variant[0] == 'v' && variant[1] >= '5' && variant[1] <= '8'
             ? variant[1] - '0'
             : -1;
}

}  // namespace

bool IsIndexType(std::string_view type) {
  return type == media_type::kOciIndex || type == media_type::kDockerManifestList;
}
bool IsManifestType(std::string_view type) {
  return type == media_type::kOciManifest || type == media_type::kDockerManifest;
}
bool IsConfigType(std::string_view type) {
  return type == media_type::kOciConfig || type == media_type::kDockerConfig;
}

bool IsLayerType(std::string_view type) {
  return type.starts_with("application/vnd.oci.image.layer.") ||
         type.starts_with("application/vnd.docker.image.rootfs.");
}

bool IsNonDistributableType(std::string_view type) {
  return type.starts_with("application/vnd.oci.image.layer.nondistributable.") ||
         type.starts_with(media_type::kDockerForeignLayer);
}

Platform NormalizePlatform(Platform platform) {
  platform.os = Lower(platform.os);
  if (platform.os == "macos") platform.os = "darwin";
  platform.architecture = Lower(platform.architecture);
  platform.variant = Lower(platform.variant);
  std::string& arch = platform.architecture;
  std::string& variant = platform.variant;
  if (arch == "i386") {
    arch = "386";
    variant.clear();
  } else if (arch == "x86_64" || arch == "x86-64" || arch == "amd64") {
    arch = "amd64";
    if (variant == "v1") variant.clear();
  } else if (arch == "aarch64" || arch == "arm64") {
    arch = "arm64";
    if (variant == "8" || variant == "v8" || variant == "v8.0") variant.clear();
  } else if (arch == "armhf") {
    arch = "arm";
    variant = "v7";
  } else if (arch == "armel") {
    arch = "arm";
    variant = "v6";
  } else if (arch == "arm") {
    if (variant.empty() || variant == "7") variant = "v7";
    if (variant == "5" || variant == "6" || variant == "8") variant.insert(0, "v");
  }
  return platform;
}

Platform HostPlatform() {
  static const Platform host = [] {
    utsname name = {};
    (void)uname(&name);  // cannot fail with a valid buffer
    Platform platform;
    platform.os = "linux";
    platform.architecture = name.machine;
    return NormalizePlatform(platform);
  }();
  return host;
}

Result<Platform> ParsePlatform(std::string_view text) {
  if (text.find('*') != std::string_view::npos)
    return InvalidArgumentError(Quoted(text), ": wildcards not yet supported");
  std::vector<std::string_view> parts;
  for (std::string_view rest = text;;) {
    const size_t slash = rest.find('/');
    parts.push_back(rest.substr(0, slash));
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  Platform platform;
  std::string_view os = parts[0];
  const size_t open = os.find('(');
  if (open != std::string_view::npos && os.ends_with(")")) {  // os(version+feature+feature)
    std::string_view inner = os.substr(open + 1, os.size() - open - 2);
    os = os.substr(0, open);
    for (bool first = true; !inner.empty() || first; first = false) {
      const size_t plus = inner.find('+');
      const std::string_view word = inner.substr(0, plus);
      if (first) {
        platform.os_version = word;
      } else if (!word.empty()) {
        platform.os_features.emplace_back(word);
      }
      inner.remove_prefix(plus == std::string_view::npos ? inner.size() : plus + 1);
    }
  }
  if (parts.size() > 3 || !PlatformText(os) ||
      std::any_of(parts.begin() + 1, parts.end(), [](auto part) { return !PlatformText(part); })) {
    return InvalidArgumentError(Quoted(text), ": invalid platform specifier");
  }
  if (parts.size() == 1) {
    const std::string lower = Lower(os) == "macos" ? "darwin" : Lower(os);
    if (KnownOs(lower)) {
      platform.os = lower;
      platform.architecture = HostPlatform().architecture;
      return NormalizePlatform(platform);
    }
    platform.os = "linux";
    platform.architecture = os;
    platform = NormalizePlatform(platform);
    if (!KnownArchitecture(platform.architecture))
      return InvalidArgumentError(Quoted(text), ": unknown operating system or architecture");
    return platform;
  }
  platform.os = os;
  platform.architecture = parts[1];
  if (parts.size() == 3) platform.variant = parts[2];
  return NormalizePlatform(platform);
}

std::string FormatPlatform(const Platform& platform) {
  if (platform.os.empty()) return "unknown";
  std::string out = platform.os;
  if (!platform.os_version.empty() || !platform.os_features.empty()) {
    out += StrCat("(", platform.os_version);
    for (const std::string& feature : platform.os_features) out += StrCat("+", feature);
    out += ")";
  }
  out += StrCat("/", platform.architecture);
  if (!platform.variant.empty()) out += StrCat("/", platform.variant);
  return out;
}

int PlatformMatch(const Platform& wanted, const Platform& image) {
  const Platform want = NormalizePlatform(wanted);
  const Platform have = NormalizePlatform(image);
  if (want.os != have.os) return -1;
  for (const std::string& feature : have.os_features) {
    if (std::find(want.os_features.begin(), want.os_features.end(), feature) ==
        want.os_features.end())
      return -1;
  }
  if (want.architecture == have.architecture) {
    if (want.variant == have.variant) return 0;
    if (want.architecture == "arm") {
      const int want_level = ArmLevel(want.variant);
      const int have_level = ArmLevel(have.variant);
      return have_level >= 0 && have_level <= want_level ? want_level - have_level : -1;
    }
    return have.variant.empty() ? 1 : -1;
  }
  if (want.architecture == "amd64" && have.architecture == "386") return 10;
  if (want.architecture == "arm64" && have.architecture == "arm")
    return ArmLevel(have.variant) < 0 ? -1 : 10 + 8 - ArmLevel(have.variant);
  return -1;
}

}  // namespace corten::model
