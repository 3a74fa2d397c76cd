// Unix sockets: listening, connecting, who is on the other end.
//
// All descriptors are close-on-exec; connected and listening ones are non-blocking. Threads: plain
// functions.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace corten::wire {

// Longest path a socket can have here; one byte less than the kernel's, as containerd checks it.
inline constexpr size_t kMaxSocketPath = 106;

struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

// Binds and listens at `path` with `mode`; the socket is never reachable with a wider mode, even
// for a moment. Errors: kAlreadyExists (something is at `path`; nothing is removed),
// kInvalidArgument (path too long or empty).
Result<Fd> ListenUnix(std::string_view path, mode_t mode, int backlog = 128);

// Connects to `path`, waiting at most `timeout` while the listener's queue is full (0: not at all).
// Errors: kNotFound (no such path), kUnavailable (nobody listens, or the queue stayed full).
Result<Fd> ConnectUnix(std::string_view path, std::chrono::milliseconds timeout = {});

// Connects to a shim's address: `unix://PATH`, or text without a scheme, which names an abstract
// socket. kUnimplemented for other schemes (vsock, hvsock).
Result<Fd> ConnectAddress(std::string_view address, std::chrono::milliseconds timeout = {});

// SO_PEERCRED: the process that connected (or made the pair), as of that moment.
Result<PeerCredentials> GetPeerCredentials(FdRef socket);

}  // namespace corten::wire
