#include "client/connection.h"

#include <absl/synchronization/mutex.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>

#include "base/fd.h"
#include "wire/status.h"

namespace corten::client {

namespace {
constexpr int kMaxMessage = 16 << 20;  // bytes, as containerd's clients
constexpr int kFirstBackoffMs = 100;
constexpr int kMaxBackoffMs = 3000;

std::string PathOf(const ConnectOptions& options) {
  return options.address.substr(options.address.starts_with("unix://") ? 7 : 0);
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& path) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as in daemon/server.cc
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessage);
  arguments.SetMaxSendMessageSize(kMaxMessage);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstBackoffMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxBackoffMs);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else gRPC shares the socket
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY,
                      "localhost");  // strict servers refuse a path as authority
  return grpc::CreateCustomChannel(StrCat("unix:", path), grpc::InsecureChannelCredentials(),
                                   arguments);
}

// Whether somebody listens, without waiting for an answer.
Status Knock(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Ok();  // gRPC says it better
  path.copy(address.sun_path, path.size());
  const Fd socket_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_fd.valid()) return ErrnoError(errno, "socket");
  if (connect(socket_fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
      errno == EAGAIN || errno == EINPROGRESS)
    return Ok();
  Error error = ErrnoError(errno, "dial unix ", path, ": connect");
  if (error.Is(Code::kPermissionDenied)) return error;
  return std::move(error).WithCode(Code::kUnavailable);
}
}  // namespace

Result<std::shared_ptr<Connection>> Connection::Open(const ConnectOptions& options) {
  const std::string path = PathOf(options);
  struct stat st = {};
  if (stat(path.c_str(), &st) != 0) {
    return Error(
        Code::kNotFound,
        StrCat("cannot access socket ", path, ": ", ErrnoError(errno, "stat ", path).text()),
        errno);
  }
  TRY(Knock(path));
  std::shared_ptr<grpc::Channel> channel = MakeChannel(path);
  const auto limit = std::chrono::system_clock::now() + options.connect_timeout;
  if (!channel->WaitForConnected(limit)) {
    return UnavailableError("failed to connect to ", path, ": no answer in ",
                            options.connect_timeout.count() / 1000, " s; is the daemon running?");
  }
  return std::shared_ptr<Connection>(new Connection(std::move(channel), options));
}

std::shared_ptr<Connection> Connection::Lazy(const ConnectOptions& options) {
  return std::shared_ptr<Connection>(new Connection(MakeChannel(PathOf(options)), options));
}

void Connection::Prepare(grpc::ClientContext* context, const model::Scope& scope) const {
  if (!scope.ns.empty()) context->AddMetadata("containerd-namespace", scope.ns.str());
  if (!scope.lease.empty()) context->AddMetadata("containerd-lease", scope.lease.str());
  if (options_.deadline.has_value()) {
    context->set_deadline(std::chrono::system_clock::now() +
                          (*options_.deadline - std::chrono::steady_clock::now()));
  } else if (options_.call_limit.has_value()) {
    context->set_deadline(std::chrono::system_clock::now() + *options_.call_limit);
  }
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return Ok();
  // A text that says its code twice is told as it is: the daemons do so, and scripts know it.
  const Code code = wire::ErrorFromStatus(static_cast<int32_t>(status.error_code()), "").code();
  const std::string_view marker = CodeMarker(code);
  if (code != Code::kUnknown &&
      status.error_message().ends_with(StrCat(": ", marker, ": ", marker)))
    return Error(code, status.error_message());
  return wire::ErrorFromStatus(static_cast<int32_t>(status.error_code()), status.error_message());
}

}  // namespace corten::client
