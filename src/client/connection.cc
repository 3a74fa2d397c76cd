#include "client/connection.h"

#include <absl/synchronization/mutex.h>
#include <sys/stat.h>

#include <cerrno>

#include "wire/status.h"

namespace corten::client {

namespace {
constexpr int kMaxMessage = 16 << 20;  // bytes, as containerd's clients
constexpr int kMaxBackoffMs = 3000;
}  // namespace

Result<std::shared_ptr<Connection>> Connection::Open(const ConnectOptions& options) {
  std::string path = options.address;
  if (path.starts_with("unix://")) path.erase(0, 7);
  struct stat st = {};
  if (stat(path.c_str(), &st) != 0) {
    return Error(
        Code::kNotFound,
        StrCat("cannot access socket ", path, ": ", ErrnoError(errno, "stat ", path).text()),
        errno);
  }
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as in daemon/server.cc
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessage);
  arguments.SetMaxSendMessageSize(kMaxMessage);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxBackoffMs);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY,
                      "localhost");  // strict servers refuse a path as authority
  std::shared_ptr<grpc::Channel> channel = grpc::CreateCustomChannel(
      StrCat("unix:", path), grpc::InsecureChannelCredentials(), arguments);
  const auto limit = std::chrono::system_clock::now() + options.connect_timeout;
  if (!channel->WaitForConnected(limit)) {
    return UnavailableError("failed to connect to ", path, ": no answer in ",
                            options.connect_timeout.count() / 1000, " s; is the daemon running?");
  }
  return std::shared_ptr<Connection>(new Connection(std::move(channel), options));
}

void Connection::Prepare(grpc::ClientContext* context, const model::Scope& scope) const {
  if (!scope.ns.empty()) context->AddMetadata("containerd-namespace", scope.ns.str());
  if (!scope.lease.empty()) context->AddMetadata("containerd-lease", scope.lease.str());
  if (options_.deadline.has_value()) {
    context->set_deadline(std::chrono::system_clock::now() +
                          (*options_.deadline - std::chrono::steady_clock::now()));
  }
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return Ok();
  return wire::ErrorFromStatus(static_cast<int32_t>(status.error_code()), status.error_message());
}

}  // namespace corten::client
