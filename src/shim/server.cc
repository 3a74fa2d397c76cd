#include "shim/server.h"

#include <fcntl.h>
#include <linux/prctl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "base/log.h"
#include "base/loop.h"
#include "shim/container.h"
#include "shim/footprint.h"
#include "shim/publisher.h"
#include "shim/reaper.h"
#include "shim/task_service.h"
#include "wire/ttrpc_server.h"
#include "wire/unix_socket.h"

namespace corten::shim {

namespace {

constexpr int kListenerDescriptor = 3;
constexpr std::chrono::seconds kFlushLimit(5);  // for the last events, before Shutdown is answered
constexpr std::chrono::seconds kIdle(2);  // without a call or an exit, before memory is given back
constexpr std::chrono::seconds kFarewellLimit(2);  // for the answer itself

struct Listener {
  Fd fd;
  std::string path;  // to unlink; "" for an abstract socket
};

Result<Listener> OpenListener(const Arguments& arguments) {
  Listener out;
  if (!arguments.socket.empty()) {
    out.path =
        arguments.socket.starts_with("unix://") ? arguments.socket.substr(7) : arguments.socket;
    out.fd = TRY(wire::ListenUnix(out.path, 0600));
    return out;
  }
  struct sockaddr_un name = {};
  socklen_t size = sizeof(name);
  if (getsockname(kListenerDescriptor, reinterpret_cast<struct sockaddr*>(&name), &size) != 0 ||
      name.sun_family != AF_UNIX) {
    return InvalidArgumentError(
        "descriptor 3 is no listening unix socket, and no -socket is given");
  }
  // Ours may stand on the same number later; a duplicate is close-on-exec from birth.
  out.fd = Fd(fcntl(kListenerDescriptor, F_DUPFD_CLOEXEC, kListenerDescriptor + 1));
  if (!out.fd.valid()) return ErrnoError(errno, "take over listening socket");
  (void)close(kListenerDescriptor);
  TRY(SetNonblocking(out.fd, true));
  if (name.sun_path[0] != '\0') out.path = name.sun_path;
  return out;
}

// The daemon's log fifo in the bundle. Opened for both directions, so that a daemon that is away
// neither blocks us nor breaks the pipe; what does not fit is dropped.
void OpenLog() {
  const Fd fifo(open("log", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (fifo.valid()) (void)dup2(fifo.get(), STDERR_FILENO);
}

Result<Fd> OpenSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, signal);
  if (sigprocmask(SIG_SETMASK, &set, nullptr) != 0) return ErrnoError(errno, "block signals");
  Fd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoError(errno, "watch signals");
  return fd;
}

class Server {
 public:
  Server(Loop& loop, const Arguments& arguments, std::string socket_path,
         const std::string& ttrpc_address)
      : loop_(loop),
        socket_path_(std::move(socket_path)),
        reaper_(loop),
        publisher_(loop, arguments.ns, ttrpc_address),
        context_{loop, reaper_, publisher_, {}, arguments.ns},
        tasks_(
            context_, [this] { Busy(); },
            [this](std::function<void()> answer) { End(std::move(answer)); }),
        ttrpc_(loop, Options()) {
    tasks_.Register(ttrpc_);
  }

  Status Run(Fd listener, Fd signals) {
    TRY(loop_.Add(signals, EPOLLIN, [this, fd = signals.ref()](uint32_t) { OnSignals(fd); }));
    TRY(ttrpc_.Listen(std::move(listener)));
    reaper_.Sweep();  // before the first SIGCHLD could be seen
    return loop_.Run();
  }

 private:
  static wire::TtrpcServer::Options Options() {
    wire::TtrpcServer::Options options;
    options.max_connections = 64;  // one daemon, perhaps its successor, and people with tools
    options.admit = [](const wire::PeerCredentials& peer) {
      return peer.uid == getuid() && peer.gid == getgid();
    };
    return options;
  }

  // Every call and exit comes by here. One timer runs while the shim is busy, none when it is idle.
  void Busy() {
    busy_ = true;
    if (idle_timer_ == 0) idle_timer_ = loop_.After(kIdle, [this] { OnIdleTimer(); });
  }
  void OnIdleTimer() {
    idle_timer_ = 0;
    if (busy_) {
      busy_ = false;
      idle_timer_ = loop_.After(kIdle, [this] { OnIdleTimer(); });
    } else {
      ReleaseIdleMemory();
    }
  }

  void OnSignals(FdRef fd) {
    struct signalfd_siginfo info = {};
    while (read(fd.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      switch (info.ssi_signo) {
        case SIGCHLD:
          Busy();
          reaper_.Sweep();
          break;
        case SIGUSR1:
          log::Info("state of the shim", {{"state", tasks_.Describe()}});
          break;
        default:
          End([] {});
      }
    }
  }

  // The socket's name goes first: from now on the group's next container starts a shim of its own.
  void End(std::function<void()> answer) {
    RemoveSocket();
    publisher_.Flush(kFlushLimit, [this, answer = std::move(answer)] {
      answer();
      ttrpc_.Shutdown([this] { loop_.Stop(); });
      loop_.After(kFarewellLimit, [this] { loop_.Stop(); });
    });
  }

  void RemoveSocket() {
    if (!socket_path_.empty()) (void)unlink(socket_path_.c_str());
    socket_path_.clear();
  }

  Loop& loop_;
  std::string socket_path_;
  Reaper reaper_;
  Publisher publisher_;
  ShimContext context_;
  TaskService tasks_;
  wire::TtrpcServer ttrpc_;
  Loop::TimerId idle_timer_ = 0;
  bool busy_ = false;
};

}  // namespace

Status Serve(const Arguments& arguments) {
  Listener listener = TRY(OpenListener(arguments));
  // A descriptor that a daemon leaked to us would live as long as the containers.
  for (unsigned int first = 3;
       const unsigned int end : {static_cast<unsigned int>(listener.fd.get()), ~0U}) {
    if (first < end) (void)syscall(SYS_close_range, first, end == ~0U ? end : end - 1, 0);
    first = end + 1;
  }
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
    return ErrnoError(errno, "become a sub-reaper");
  if (getenv("SCHED_CORE") != nullptr) {
    // A cookie of our own keeps other containers off the sibling hyperthread; refused without SMT.
    (void)prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD_GROUP, 0);
  }
  OpenLog();
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) return ErrnoError(errno, "ignore SIGPIPE");
  Fd signals = TRY(OpenSignals());
  const std::unique_ptr<Loop> loop = TRY(Loop::Create());
  const char* ttrpc_address = getenv("TTRPC_ADDRESS");
  Server server(*loop, arguments, listener.path, ttrpc_address != nullptr ? ttrpc_address : "");
  const Status status = server.Run(std::move(listener.fd), std::move(signals));
  return status.ok() ? Ok() : Status(status.error().Clone());
}

}  // namespace corten::shim
