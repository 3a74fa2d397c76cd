// What travels beside a call: keys and values in lower-case keys, several values per key allowed.
//
// Threads: plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corten::wire {

// In wire order; a key may occur several times.
using Metadata = std::vector<std::pair<std::string, std::string>>;

// Names of the two things containerd sends. The lease has no ttrpc form.
inline constexpr std::string_view kNamespaceKeyGrpc = "containerd-namespace";
inline constexpr std::string_view kNamespaceKeyTtrpc = "containerd-namespace-ttrpc";
inline constexpr std::string_view kLeaseKeyGrpc = "containerd-lease";

// The first value of `key`, which is the one that counts: newer wrappers put theirs in front.
inline std::optional<std::string_view> FindMetadata(const Metadata& metadata,
                                                    std::string_view key) {
  for (const auto& [name, value] : metadata) {
    if (name == key) return value;
  }
  return std::nullopt;
}

}  // namespace corten::wire
