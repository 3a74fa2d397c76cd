// What a shim does besides serving. Each reads and writes the standard descriptors and returns.
//
// Threads: the calling one; all may block, as nothing else runs in the process.
// Source: containerd 2.3 runtime v2 contract, and its generations before.
#pragma once

#include <string>

#include "base/error.h"
#include "shim/arguments.h"

namespace corten::shim {

inline constexpr char kRuntimeName[] = "io.containerd.runc.v2";

// `start`: makes the listening socket, or finds the group's shim, starts the server, prints the
// address. Crash: between the server's start and the answer the server stays, under the name that
// the daemon can compute.
Status RunStart(const Arguments& arguments);
// `delete`: kills and removes the container whose shim is gone; prints DeleteResponse. Idempotent.
Status RunDelete(const Arguments& arguments);
// `-info`: prints RuntimeInfo. kNotFound: the OCI runtime that the options on standard input name.
Status RunInfo();
// `mount TARGET`: the rootfs of a CreateTaskRequest on standard input.
Status RunMount(const Arguments& arguments);
// `unmount PATH`: everything at and below it, lazily if it is busy.
Status RunUnmount(const Arguments& arguments);

// Standard input to its end; "" if it is a terminal. kResourceExhausted above 10 MiB.
Result<std::string> ReadStandardInput();

// The name of a shim's socket: 64 hex digits of what daemon, namespace and group are called.
std::string SocketName(const std::string& grpc_address, const std::string& ns,
                       const std::string& group);

// How `start` was told what to do, in any generation of the protocol.
struct StartInput {
  enum class Answer { kProtobuf, kJson, kPlain };
  Answer answer = Answer::kPlain;
  std::string grpc_address;
  std::string ttrpc_address;
  std::string socket_dir;  // empty: not told
  std::string shim_cgroup;
  bool debug = false;
};
// `text` is standard input, `ttrpc_env` and `max_version_env` the values of TTRPC_ADDRESS and
// MAX_SHIM_VERSION (null: not set). Parameters that speak of another id are none: an older daemon's
// bare options parse as such.
StartInput ParseStartInput(const Arguments& arguments, const std::string& text,
                           const char* ttrpc_env, const char* max_version_env);
// The bytes that tell `address` to a daemon of that generation.
std::string EncodeStartAnswer(StartInput::Answer answer, const std::string& address);

}  // namespace corten::shim
