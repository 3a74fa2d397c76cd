// The AppArmor profile of a container that asks for a default one: made here, loaded by the
// distribution's apparmor_parser. Any thread; loading blocks. Source: apparmor.d(5),
// apparmor_parser(8).
#pragma once

#include <string>

#include "base/error.h"

namespace corten::oci {

// Where AppArmor lives on this machine; others in tests.
struct AppArmorPlaces {
  std::string loaded = "/sys/kernel/security/apparmor/profiles";
  std::string policy = "/etc/apparmor.d";  // includes are used if they are there
  std::string parser = "apparmor_parser";  // without '/' it is sought in PATH
};

// The text of a profile that lets a container do what its capabilities allow, but not mount, not
// write below /proc outside of its own processes nor below /sys outside of cgroups, and be
// signalled and traced by its own kind only. REQUIRES: a name that ValidProfileName accepts.
std::string AppArmorProfile(const std::string& name, const AppArmorPlaces& places = {});

// Letters, digits and "._-:/": what stands in a profile without quoting. At most 128 bytes.
bool ValidProfileName(const std::string& name);

// Loads the default profile under `name` unless a profile of that name is loaded. kNotFound: this
// kernel has no AppArmor, or no apparmor_parser is installed; kInvalidArgument: the name;
// kUnknown with the parser's words.
Status EnsureAppArmorProfile(const std::string& name, const AppArmorPlaces& places = {});

}  // namespace corten::oci
