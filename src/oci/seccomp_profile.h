// The data of the default system call filter: what is allowed, and to whom. Tables; any thread.
// Source: kernel system call tables of x86 in both widths, capabilities(7).
#pragma once

#include <span>

namespace corten::oci {

// What an ordinary process needs, one list after the other.
std::span<const std::span<const char* const>> AlwaysAllowed();

struct CapabilityCalls {
  const char* capability;
  std::span<const char* const> calls;
};
// What is allowed to a process that holds the capability.
std::span<const CapabilityCalls> AllowedByCapability();

}  // namespace corten::oci
