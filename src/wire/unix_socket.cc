#include "wire/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/strcat.h"

namespace corten::wire {

namespace {

struct Address {
  sockaddr_un name = {};
  socklen_t size = 0;
};

// `name` begins with a zero byte for an abstract socket.
Result<Address> MakeAddress(std::string_view name) {
  if (name.empty() || name == std::string_view("\0", 1))
    return InvalidArgumentError("empty socket path");
  if (name.size() > kMaxSocketPath) {
    return InvalidArgumentError("socket path ", Quoted(name), " is longer than ", kMaxSocketPath,
                                " bytes");
  }
  if (name[0] != '\0' && name.find('\0') != std::string_view::npos) {
    return InvalidArgumentError("socket path ", Quoted(name), " contains a zero byte");
  }
  Address address;
  address.name.sun_family = AF_UNIX;
  memcpy(address.name.sun_path, name.data(), name.size());
  // A path is ended by a zero byte; an abstract name ends where the length says.
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() +
                                        (name[0] == '\0' ? 0 : 1));
  return address;
}

Result<Fd> ConnectTo(std::string_view name, std::chrono::milliseconds timeout) {
  const Address address = TRY(MakeAddress(name));
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError(errno, "create socket");
  if (timeout.count() > 0) {
    // connect(2) waits for room in the listener's queue as long as SO_SNDTIMEO allows.
    timeval limit = {};
    limit.tv_sec = timeout.count() / 1000;
    limit.tv_usec = timeout.count() % 1000 * 1000;
    if (setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
      return ErrnoError(errno, "set socket timeout");
    }
  } else {
    TRY(SetNonblocking(fd, true));
  }
  int result = 0;
  do {
    result = connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.name), address.size);
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    const int err = errno;
    const std::string_view shown = name[0] == '\0' ? name.substr(1) : name;
    Error error = ErrnoError(err, "connect to ", shown);
    const bool nobody = err == ECONNREFUSED || err == EAGAIN;
    return nobody ? std::move(error).WithCode(Code::kUnavailable) : std::move(error);
  }
  TRY(SetNonblocking(fd, true));
  return fd;
}

}  // namespace

Result<Fd> ListenUnix(std::string_view path, mode_t mode, int backlog) {
  const Address address = TRY(MakeAddress(path));
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError(errno, "create socket");
  // bind(2) creates the file with the socket inode's mode, less the umask: so it is narrow from the
  // first moment on, without touching the process-wide umask.
  if (fchmod(fd.get(), mode) != 0) return ErrnoError(errno, "set mode of socket");
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.name), address.size) != 0) {
    const int err = errno;
    Error error = ErrnoError(err, "bind ", path);
    return err == EADDRINUSE ? std::move(error).WithCode(Code::kAlreadyExists) : std::move(error);
  }
  const std::string terminated(path);
  if (chmod(terminated.c_str(), mode) != 0 || listen(fd.get(), backlog) != 0) {
    Error error = ErrnoError(errno, "listen on ", path);
    (void)unlink(terminated.c_str());  // ours since bind; nobody could connect yet
    return error;
  }
  return fd;
}

Result<Fd> ConnectUnix(std::string_view path, std::chrono::milliseconds timeout) {
  if (path.empty() || path[0] == '\0') return InvalidArgumentError("empty socket path");
  return ConnectTo(path, timeout);
}

Result<Fd> ConnectAddress(std::string_view address, std::chrono::milliseconds timeout) {
  constexpr std::string_view kUnix = "unix://";
  if (address.starts_with(kUnix)) return ConnectUnix(address.substr(kUnix.size()), timeout);
  const size_t scheme = address.find("://");
  if (scheme != std::string_view::npos) {
    return UnimplementedError("socket address ", Quoted(address), ": scheme ",
                              address.substr(0, scheme));
  }
  return ConnectTo(StrCat('\0', address), timeout);
}

Result<PeerCredentials> GetPeerCredentials(FdRef socket) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return ErrnoError(errno, "read peer credentials");
  }
  return PeerCredentials{peer.pid, peer.uid, peer.gid};
}

}  // namespace corten::wire
