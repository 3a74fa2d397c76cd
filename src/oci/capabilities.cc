#include "oci/capabilities.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/dir.h"
#include "base/nearest.h"

namespace corten::oci {

namespace {

// By bit number, 0 to 40.
constexpr const char* kNames[] = {"CHOWN",
                                  "DAC_OVERRIDE",
                                  "DAC_READ_SEARCH",
                                  "FOWNER",
                                  "FSETID",
                                  "KILL",
                                  "SETGID",
                                  "SETUID",
                                  "SETPCAP",
                                  "LINUX_IMMUTABLE",
                                  "NET_BIND_SERVICE",
                                  "NET_BROADCAST",
                                  "NET_ADMIN",
                                  "NET_RAW",
                                  "IPC_LOCK",
                                  "IPC_OWNER",
                                  "SYS_MODULE",
                                  "SYS_RAWIO",
                                  "SYS_CHROOT",
                                  "SYS_PTRACE",
                                  "SYS_PACCT",
                                  "SYS_ADMIN",
                                  "SYS_BOOT",
                                  "SYS_NICE",
                                  "SYS_RESOURCE",
                                  "SYS_TIME",
                                  "SYS_TTY_CONFIG",
                                  "MKNOD",
                                  "LEASE",
                                  "AUDIT_WRITE",
                                  "AUDIT_CONTROL",
                                  "SETFCAP",
                                  "MAC_OVERRIDE",
                                  "MAC_ADMIN",
                                  "SYSLOG",
                                  "WAKE_ALARM",
                                  "BLOCK_SUSPEND",
                                  "AUDIT_READ",
                                  "PERFMON",
                                  "BPF",
                                  "CHECKPOINT_RESTORE"};
constexpr const char* kSets[] = {"bounding", "effective", "permitted"};
constexpr size_t kMaxStatus = 64 << 10;  // bytes of /proc/self/status
constexpr std::string_view kAll = "ALL";

bool Holds(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<std::vector<std::string>> CapabilitiesOfWords(const std::vector<std::string>& words) {
  std::vector<std::string> names;
  for (const std::string& word : words) {
    std::string name = TRY(CapabilityOfWord(word));
    if (!Holds(names, name)) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

const std::vector<std::string>& DefaultCapabilities() {
  static const std::vector<std::string> names = {
      "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
      "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
      "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
      "CAP_KILL",    "CAP_AUDIT_WRITE"};
  return names;
}

std::vector<std::string> CapabilityNames(uint64_t mask) {
  std::vector<std::string> out;
  for (size_t bit = 0; bit < std::size(kNames); ++bit) {
    if ((mask >> bit & 1) != 0) out.push_back(StrCat("CAP_", kNames[bit]));
  }
  return out;
}

Result<std::vector<std::string>> CurrentCapabilities() {
  const std::string status = TRY(ReadFileAt("/proc/thread-self/status", kMaxStatus));
  const size_t at = status.find("\nCapEff:");
  if (at == std::string::npos) return UnknownError("/proc/thread-self/status: has no CapEff");
  return CapabilityNames(strtoull(status.c_str() + at + 8, nullptr, 16));
}

Result<std::string> CapabilityOfWord(std::string_view word) {
  std::string name(word);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  if (name.starts_with("CAP_")) name.erase(0, 4);
  if (name == kAll) return name;
  std::vector<std::string> known(std::begin(kNames), std::end(kNames));
  if (Holds(known, name)) return StrCat("CAP_", name);
  known.emplace_back(kAll);
  const std::string nearest = NearestName(name, known);
  return InvalidArgumentError("unknown capability ", Quoted(word),
                              nearest.empty() ? ": want a name such as NET_ADMIN, or ALL"
                                              : StrCat("; did you mean ", nearest, "?"));
}

Result<std::vector<std::string>> ChangedCapabilities(const std::vector<std::string>& given,
                                                     const std::vector<std::string>& add,
                                                     const std::vector<std::string>& drop) {
  const std::vector<std::string> added = TRY(CapabilitiesOfWords(add));
  const std::vector<std::string> dropped = TRY(CapabilitiesOfWords(drop));
  std::vector<std::string> out = given;
  if (Holds(added, kAll)) {
    out = TRY(CurrentCapabilities());
  } else if (Holds(dropped, kAll)) {
    out.clear();
  }
  std::erase_if(out, [&](const std::string& name) { return Holds(dropped, name); });
  for (const std::string& name : added) {
    if (name != kAll && !Holds(out, name)) out.push_back(name);
  }
  return out;
}

void SetCapabilities(Json& process, const std::vector<std::string>& names) {
  Json& capabilities = ObjectOf(process, "capabilities");
  for (const char* set : kSets) capabilities[set] = names;
}

void AddCapabilities(Json& process, const std::vector<std::string>& names) {
  Json& capabilities = ObjectOf(process, "capabilities");
  for (const char* set : kSets) {
    std::vector<std::string> has = Strings(capabilities, set);
    for (const std::string& name : names) {
      if (!Holds(has, name)) has.push_back(name);
    }
    capabilities[set] = has;
  }
}

void DropCapabilities(Json& process, const std::vector<std::string>& names) {
  Json& capabilities = ObjectOf(process, "capabilities");
  for (const char* set : kSets) {
    std::vector<std::string> has = Strings(capabilities, set);
    std::erase_if(has, [&](const std::string& name) { return Holds(names, name); });
    capabilities[set] = has;
  }
}

}  // namespace corten::oci
