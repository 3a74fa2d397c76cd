#include "daemon/notify.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace corten::daemon {

Status NotifySupervisor(std::string_view state) {
  const char* path = getenv("NOTIFY_SOCKET");
  if (path == nullptr || path[0] == 0) return Ok();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = strlen(path);
  if (length >= sizeof(address.sun_path))
    return InvalidArgumentError("NOTIFY_SOCKET: path too long");
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = 0;  // abstract name
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError(errno, "create socket");
  const socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    return ErrnoError(errno, "notify ", path);
  }
  return Ok();
}

std::vector<Fd> TakeListenFds() {
  std::vector<Fd> out;
  const char* pid = getenv("LISTEN_PID");
  const char* count_text = getenv("LISTEN_FDS");
  uint64_t wanted_pid = 0;
  uint64_t count = 0;
  if (pid != nullptr && count_text != nullptr && ParseU64(pid, &wanted_pid) &&
      ParseU64(count_text, &count) && wanted_pid == static_cast<uint64_t>(getpid()) &&
      count <= 16) {
    for (int fd = 3; fd < 3 + static_cast<int>(count); ++fd) {
      if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) out.emplace_back(fd);
    }
  }
  (void)unsetenv("LISTEN_PID");
  (void)unsetenv("LISTEN_FDS");
  (void)unsetenv("LISTEN_FDNAMES");
  return out;
}

}  // namespace corten::daemon
