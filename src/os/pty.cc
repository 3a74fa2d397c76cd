#include "os/pty.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace corten::os {

namespace {
constexpr size_t kMaxName = 4096;   // of the payload: a path
constexpr int kMaxDescriptors = 4;  // more than one is refused, but must be received to be closed
}  // namespace

Status SetWindowSize(FdRef terminal, WindowSize size) {
  struct winsize raw = {};
  raw.ws_col = size.columns;
  raw.ws_row = size.rows;
  if (ioctl(terminal.get(), TIOCSWINSZ, &raw) != 0) return ErrnoError(errno, "resize terminal");
  return Ok();
}

Result<WindowSize> GetWindowSize(FdRef terminal) {
  struct winsize raw = {};
  if (ioctl(terminal.get(), TIOCGWINSZ, &raw) != 0) return ErrnoError(errno, "read terminal size");
  return WindowSize{raw.ws_col, raw.ws_row};
}

Result<ConsoleSocket> ConsoleSocket::Create(const std::string& parent) {
  const char* runtime_dir = getenv("XDG_RUNTIME_DIR");
  const bool user_dir = parent.empty() && runtime_dir != nullptr && runtime_dir[0] == '/';
  std::string dir =
      StrCat(parent.empty() ? (user_dir ? runtime_dir : "/tmp") : parent.c_str(), "/ptyXXXXXX");
  if (mkdtemp(dir.data()) == nullptr) return ErrnoError(errno, "make directory for console socket");
  std::string path = StrCat(dir, "/pty.sock");
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    (void)rmdir(dir.c_str());
    return InvalidArgumentError("console socket: path too long");
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  ConsoleSocket out(std::move(path),
                    Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
  if (!out.listener_.valid() ||
      bind(out.listener_.get(), reinterpret_cast<const struct sockaddr*>(&address),
           sizeof(address)) != 0 ||
      listen(out.listener_.get(), 1) != 0) {
    return ErrnoError(errno, "listen on console socket");
  }
  // The sticky bit keeps cleaners of the user's runtime directory away (XDG base directory
  // specification).
  if (user_dir && chmod(out.path_.c_str(), 0755 | S_ISVTX) != 0)
    return ErrnoError(errno, "protect console socket");
  return out;
}

ConsoleSocket::ConsoleSocket(ConsoleSocket&& other) noexcept
    : path_(std::move(other.path_)), listener_(std::move(other.listener_)) {
  other.path_.clear();
}

ConsoleSocket& ConsoleSocket::operator=(ConsoleSocket&& other) noexcept {
  if (this != &other) {
    Remove();
    path_ = std::move(other.path_);
    listener_ = std::move(other.listener_);
    other.path_.clear();
  }
  return *this;
}

ConsoleSocket::~ConsoleSocket() { Remove(); }

void ConsoleSocket::Remove() {
  if (path_.empty()) return;
  (void)unlink(path_.c_str());
  (void)rmdir(path_.substr(0, path_.rfind('/')).c_str());
  path_.clear();
}

Result<Fd> ConsoleSocket::Accept() const {
  Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (connection.valid()) return connection;
  if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
    return UnavailableError("console socket: no connection");
  return ErrnoError(errno, "accept on console socket");
}

Result<Fd> ReceiveTerminal(FdRef connection) {
  char name[kMaxName];
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxDescriptors)];
  struct iovec part = {name, sizeof(name)};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(connection.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return UnavailableError("console socket: no message");
  if (got < 0) return ErrnoError(errno, "receive terminal");

  Fd terminal;
  int count = 0;
  for (struct cmsghdr* part_header = CMSG_FIRSTHDR(&message); part_header != nullptr;
       part_header = CMSG_NXTHDR(&message, part_header)) {
    if (part_header->cmsg_level != SOL_SOCKET || part_header->cmsg_type != SCM_RIGHTS) continue;
    const size_t size = (part_header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < size; ++i) {
      int raw = -1;
      std::memcpy(&raw, CMSG_DATA(part_header) + i * sizeof(int), sizeof(int));
      terminal = Fd(raw);  // an earlier one is closed
      ++count;
    }
  }
  if (count != 1)
    return InvalidArgumentError("console socket: expected one descriptor, got ", count);
  struct termios ignored = {};
  if (tcgetattr(terminal.get(), &ignored) != 0)
    return InvalidArgumentError("console socket: not a terminal");
  TRY(SetNonblocking(terminal, true));
  return terminal;
}

Status SendTerminal(FdRef connection, FdRef terminal, const std::string& name) {
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct iovec part = {const_cast<char*>(name.data()), name.size()};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int raw = terminal.get();
  std::memcpy(CMSG_DATA(header), &raw, sizeof(int));
  if (sendmsg(connection.get(), &message, MSG_NOSIGNAL) < 0)
    return ErrnoError(errno, "send terminal");
  return Ok();
}

Result<RawMode> RawMode::Enter(FdRef terminal) {
  termios saved = {};
  if (tcgetattr(terminal.get(), &saved) != 0) return ErrnoError(errno, "read terminal mode");
  termios raw = saved;
  cfmakeraw(&raw);
  if (tcsetattr(terminal.get(), TCSANOW, &raw) != 0) return ErrnoError(errno, "set terminal mode");
  return RawMode(terminal.get(), saved);
}

RawMode::~RawMode() {
  if (fd_ >= 0) (void)tcsetattr(fd_, TCSANOW, &saved_);
}

}  // namespace corten::os
