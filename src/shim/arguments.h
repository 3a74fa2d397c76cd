// The command line of a shim.
//
// SHIM [flags] [ACTION], flags in Go's syntax: one or two dashes, `-f v` or `-f=v`, booleans `-f`
// or `-f=false`; the first word that is no flag is the action. Source: containerd 2.3 runtime v2
// contract. Values; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::shim {

enum class Action {
  kServe,  // no action word: the serving process, listening socket on descriptor 3 (or -socket)
  kStart,
  kDelete,
  kInfo,
  kVersion,
  kUnmount,  // ours: `unmount PATH`, the child process in which a slow unmount runs
  kMount,    // ours: `mount TARGET`, mounts as CreateTaskRequest on standard input, for filesystems
             // that may hang
};

struct Arguments {
  Action action = Action::kServe;
  std::string ns;
  std::string id;
  std::string address;  // the daemon's gRPC address
  std::string publish_binary;
  std::string bundle;
  std::string socket;
  std::string debug_socket;
  bool debug = false;
  std::string operand;  // of kUnmount and kMount
};

// `words` without the program's name.
// kInvalidArgument: unknown flag or action, missing value, or an empty -namespace (except for
// kInfo, kVersion and ours).
Result<Arguments> ParseArguments(std::span<const std::string_view> words);

}  // namespace corten::shim
