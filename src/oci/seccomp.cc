#include "oci/seccomp.h"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/kernel_version.h"
#include "oci/seccomp_profile.h"

namespace corten::oci {

namespace {

constexpr uint64_t kNamespaceFlags = 0x7e020000;  // every CLONE_NEW* of clone(2)
// personality(2): Linux, 32-bit Linux, each with short inodes allowed, and the question.
constexpr uint64_t kPersonalities[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};

Json Allow(std::vector<std::string> names) {
  return {{"names", std::move(names)}, {"action", "SCMP_ACT_ALLOW"}};
}

Json AllowIf(const char* name, const char* comparison, uint64_t value) {
  Json rule = Allow({name});
  rule["args"] = Json::array({{{"index", 0}, {"value", value}, {"op", comparison}}});
  return rule;
}

// Tracing a process of one's own is safe since Linux 4.8, where seccomp is checked after ptrace.
bool TracingIsSafe() { return KernelIsAtLeast(4, 8); }

std::vector<std::string> Names(std::span<const char* const> calls) {
  return {calls.begin(), calls.end()};
}

}  // namespace

Json DefaultSeccompProfile(const std::vector<std::string>& capabilities) {
  Json rules = Json::array();
  std::vector<std::string> always;
  for (const auto& list : AlwaysAllowed()) always.insert(always.end(), list.begin(), list.end());
  rules.push_back(Allow(std::move(always)));
  // Every family but AF_ALG (38) and AF_VSOCK (40), which reach past the container.
  rules.push_back(AllowIf("socket", "SCMP_CMP_LT", AF_ALG));
  rules.push_back(AllowIf("socket", "SCMP_CMP_EQ", AF_NFC));
  rules.push_back(AllowIf("socket", "SCMP_CMP_GT", AF_VSOCK));
  for (const uint64_t value : kPersonalities)
    rules.push_back(AllowIf("personality", "SCMP_CMP_EQ", value));
  if (TracingIsSafe()) rules.push_back(Allow({"process_vm_readv", "process_vm_writev", "ptrace"}));
  rules.push_back(Allow({"arch_prctl", "modify_ldt"}));
  const auto holds = [&](const char* name) {
    return std::find(capabilities.begin(), capabilities.end(), name) != capabilities.end();
  };
  for (const CapabilityCalls& entry : AllowedByCapability()) {
    if (holds(entry.capability)) rules.push_back(Allow(Names(entry.calls)));
  }
  if (!holds("CAP_SYS_ADMIN")) {
    // No new namespaces; clone3 hides its flags behind a pointer, so callers are sent to clone.
    rules.push_back(AllowIf("clone", "SCMP_CMP_MASKED_EQ", kNamespaceFlags));
    rules.push_back({{"names", {"clone3"}}, {"action", "SCMP_ACT_ERRNO"}, {"errnoRet", ENOSYS}});
  }
  Json profile;
  profile["defaultAction"] = "SCMP_ACT_ERRNO";
  profile["architectures"] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  profile["syscalls"] = std::move(rules);
  return profile;
}

}  // namespace corten::oci
