#include "daemon/server.h"

#include <absl/synchronization/mutex.h>
#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/dir.h"
#include "base/log.h"
#include "daemon/rpc_meter.h"
#include "wire/unix_socket.h"

namespace corten::daemon {

namespace {

constexpr int kAcceptBatch = 64;
constexpr std::chrono::milliseconds kAcceptPause(100);

// Ends every call of a service that is not registered, with the words that clients of the original
// know.
class UnknownReactor final : public grpc::ServerGenericBidiReactor {
 public:
  explicit UnknownReactor(const std::string& method) {
    // method is "/package.Service/Method"
    const size_t slash = method.rfind('/');
    const std::string service =
        slash == std::string::npos || slash == 0 ? method : method.substr(1, slash - 1);
    Finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, StrCat("unknown service ", service)));
  }
  void OnDone() override { delete this; }
};

class UnknownService final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new UnknownReactor(context->method());
  }
};

bool SomebodyListens(const std::string& path) { return wire::ConnectUnix(path).ok(); }

}  // namespace

GrpcThreads::GrpcThreads() {
  // Debian's build of absl looks for lock cycles, in one graph for all threads, whenever a lock is
  // taken while another is held: gRPC does so several times in every call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  starting_ = std::thread(grpc_init);
}

GrpcThreads::~GrpcThreads() {
  starting_.join();
  grpc_shutdown();
}

Result<Fd> ListenAt(const ListenOptions& options) {
  const size_t slash = options.address.rfind('/');
  if (slash == std::string::npos || slash == 0)
    return InvalidArgumentError("address ", Quoted(options.address), ": want an absolute path");
  const std::string parent = options.address.substr(0, slash);
  if (access(parent.c_str(), F_OK) != 0) {
    TRY(MakeDirs(parent, 0770));
    if (chown(parent.c_str(), options.uid, options.gid) != 0)
      return ErrnoError(errno, "set owner of ", parent);
  }
  Result<Fd> listener = wire::ListenUnix(options.address, 0660, SOMAXCONN);
  if (!listener.ok() && listener.error().Is(Code::kAlreadyExists)) {
    if (SomebodyListens(options.address)) {
      return AlreadyExistsError(
          "address ", options.address,
          ": another daemon listens there; give this one its own --address, --root and --state");
    }
    struct stat st = {};
    if (lstat(options.address.c_str(), &st) == 0 && !S_ISSOCK(st.st_mode)) {
      return AlreadyExistsError("address ", options.address,
                                ": a file that is no socket stands there");
    }
    if (unlink(options.address.c_str()) != 0 && errno != ENOENT)
      return ErrnoError(errno, "remove stale socket ", options.address);
    listener = wire::ListenUnix(options.address, 0660, SOMAXCONN);
  }
  if (!listener.ok())
    return std::move(listener).TakeError().Context(StrCat("listen on ", options.address));
  if (lchown(options.address.c_str(), options.uid, options.gid) != 0)
    return ErrnoError(errno, "set owner of ", options.address);
  return listener;
}

struct Server::Core {
  Options options;
  UnknownService unknown;
  std::unique_ptr<grpc::Server> server;
  std::vector<Fd> listeners;
  Loop* loop = nullptr;

  Status Watch(int fd);
  void Accept(int fd);
};

Server::Server(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Server::~Server() { Stop(0); }

Result<std::unique_ptr<Server>> Server::Create(const std::vector<grpc::Service*>& services,
                                               const Options& options) {
  auto core = std::make_unique<Core>();
  core->options = options;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
  builder.SetMaxSendMessageSize(options.max_send_bytes);
  // Clients of the original ping as often as they like; the default would answer GOAWAY
  // "too_many_pings".
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.RegisterCallbackGenericService(&core->unknown);
  if (options.meter != nullptr) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> meters;
    meters.push_back(options.meter->Factory());
    builder.experimental().SetInterceptorCreators(std::move(meters));
  }
  core->server = builder.BuildAndStart();
  if (core->server == nullptr) return InternalError("gRPC server: did not start");
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

Status Server::Serve(Loop* loop, Fd listener) {
  core_->loop = loop;
  TRY(SetNonblocking(listener, true));
  const int fd = listener.get();
  core_->listeners.push_back(std::move(listener));
  return core_->Watch(fd);
}

Status Server::Core::Watch(int fd) {
  return loop->Add(FdRef(fd), EPOLLIN, [this, fd](uint32_t) { Accept(fd); });
}

void Server::Core::Accept(int fd) {
  // A bounded batch, so that a storm of connections does not keep others on this loop waiting.
  for (int i = 0; i < kAcceptBatch; ++i) {
    Fd connection(accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.valid()) {
      grpc::AddInsecureChannelFromFd(server.get(), connection.release());
      continue;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    // Out of descriptors: level-triggered waiting would spin, so look again a little later.
    log::Error("failed to accept a connection, pausing",
               {{"error", Error::FromErrno(errno, "accept").text()}});
    loop->Remove(FdRef(fd));
    loop->After(kAcceptPause, [this, fd] {
      if (server == nullptr) return;
      if (const Status watched = Watch(fd); !watched.ok())
        log::Error("failed to accept again", {{"error", watched.error().text()}});
    });
    return;
  }
}

void Server::Stop(int grace_ms) {
  if (core_->server == nullptr) return;
  for (const Fd& listener : core_->listeners) core_->loop->Remove(listener);
  core_->listeners.clear();
  core_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(grace_ms));
  core_->server->Wait();
  core_->server.reset();
}

}  // namespace corten::daemon
