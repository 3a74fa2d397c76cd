// `cortend oci-hook ARGS...`: an OCI hook that becomes another program, with facts of the container
// in its arguments and environment.
//
// The container's state comes on standard input, its bundle's config.json is read. In every
// argument and every environment value these are replaced: {{id}} {{bundle}} {{rootfs}} {{pid}}
// {{status}} and
// {{annotation "KEY"}} (empty when there is none). Source: containerd 2.3 oci-hook, OCI runtime
// specification (hooks).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::daemon {

struct HookFacts {
  std::string id;
  std::string bundle;
  std::string rootfs;
  std::string pid;
  std::string status;
  std::map<std::string, std::string> annotations;
};

// From the state's JSON and the bundle it names. kInvalidArgument: no such JSON; kNotFound: no
// bundle.
Result<HookFacts> ReadHookFacts(std::string_view state);

// `text` with everything in {{ }} replaced. kInvalidArgument names what is not understood.
Result<std::string> ExpandHookText(std::string_view text, const HookFacts& facts);

// Becomes args[0] (a path, not sought in PATH). Returns only on error.
Error BecomeHook(const std::vector<std::string>& args);

}  // namespace corten::daemon
