#include "oci/apparmor_profile.h"

#include <unistd.h>

#include <algorithm>

#include "base/dir.h"
#include "base/spawn.h"

namespace corten::oci {

namespace {

constexpr size_t kMaxLoaded = 4 << 20;  // bytes of the kernel's list
constexpr size_t kMaxName = 128;
constexpr std::chrono::seconds kParserDeadline(60);

// The rights that every container has and the ones that none has. A deny outweighs the rest.
constexpr const char* kRules = R"(
  network,
  capability,
  file,
  umount,
  deny mount,

  # Kernel interfaces below /proc that are nobody's own: not written, the dangerous ones not read.
  deny @{PROC}/{acpi,asound,bus,driver,dynamic_debug,fs,irq,mtrr,pressure,scsi,sysvipc,tty}/** w,
  deny @{PROC}/sys/{abi,crypto,debug,dev,fs,kernel,net,sunrpc,user,vm}/** w,
  deny @{PROC}/{config.gz,interrupts,kallsyms,kpagecount,kpageflags,latency_stats,mtrr,timer_list} w,
  deny @{PROC}/{kcore,kmem,mem,sysrq-trigger} rwklx,

  # The machine's devices, modules and firmware below /sys; cgroups are the runtime's matter.
  deny /sys/{block,bus,class,dev,devices,hypervisor,module,power}/** wklx,
  deny /sys/kernel/** wklx,
  deny /sys/fs/{bpf,btrfs,erofs,ext4,f2fs,fuse,pstore,selinux,smackfs,xfs}/** wklx,
  deny /sys/{firmware,kernel/security,devices/virtual/powercap}/** rwklx,
)";

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

}  // namespace

bool ValidProfileName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view("._-:/").find(c) != std::string_view::npos;
         });
}

std::string AppArmorProfile(const std::string& name, const AppArmorPlaces& places) {
  std::string out = Exists(StrCat(places.policy, "/tunables/global"))
                        ? "#include <tunables/global>\n\n"
                        : "@{PROC}=/proc/\n\n";
  out += StrCat("profile ", name, " flags=(attach_disconnected,mediate_deleted) {\n");
  if (Exists(StrCat(places.policy, "/abstractions/base")))
    out += "  #include <abstractions/base>\n";
  out += kRules;
  out += StrCat("\n  # Runtimes and shims are not confined; the container's processes are.\n",
                "  signal (receive) peer=unconfined,\n", "  signal (send, receive) peer=", name,
                ",\n", "  ptrace (read, trace, readby, tracedby) peer=", name, ",\n}\n");
  return out;
}

Status EnsureAppArmorProfile(const std::string& name, const AppArmorPlaces& places) {
  if (!ValidProfileName(name))
    return InvalidArgumentError("AppArmor profile name ", Quoted(name),
                                ": want letters, digits and ._-:/");
  Result<std::string> loaded = ReadFileAt(places.loaded, kMaxLoaded);
  if (!loaded.ok()) return std::move(loaded).TakeError();
  if (StrCat("\n", *loaded).find(StrCat("\n", name, " (")) != std::string::npos) return Ok();
  SpawnOptions spawn;
  spawn.args = {places.parser, "--replace", "--skip-cache", "--base", places.policy};
  const Result<RunOutput> ran = RunProgram(spawn, AppArmorProfile(name, places), kParserDeadline);
  if (!ran.ok()) {
    if (ran.error().sys_errno() != ENOENT) return ran.error().Clone();
    return NotFoundError("AppArmor profile ", name, ": ", places.parser,
                         " is not installed, and the profile is not loaded");
  }
  if (!ran->status.ok())
    return UnknownError("AppArmor profile ", name, ": ", places.parser, ": ",
                        ran->err.substr(0, ran->err.find_last_not_of('\n') + 1));
  return Ok();
}

}  // namespace corten::oci
