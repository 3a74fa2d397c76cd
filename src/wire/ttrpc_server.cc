#include "wire/ttrpc_server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/strcat.h"
#include "wire/server_connection.h"

namespace corten::wire {

using internal::ServerCall;
using internal::ServerConnection;
using internal::ServerShared;

namespace internal {

void ServerShared::ConnectionEnded(uint64_t id) {
  if (connections.erase(id) > 0) ReportDrained();
}

void ServerShared::ReportDrained() {
  if (!draining || !connections.empty() || !drained) return;
  loop.Post(std::exchange(drained, nullptr));
}

}  // namespace internal

namespace {

// Connections taken from one listener before others of the loop get their turn.
constexpr int kAcceptsPerTurn = 64;

// Gives a call its answer on the loop thread; the connection may be gone by then.
void Answer(std::shared_ptr<ServerCall> call, Result<std::string> result) {
  Loop& loop = call->shared->loop;
  if (loop.InLoopThread()) {
    if (const auto connection = call->connection.lock()) connection->Answer(*call, result);
    return;
  }
  // shared_ptr because a posted task must be copyable.
  auto kept = std::make_shared<Result<std::string>>(std::move(result));
  loop.Post([call = std::move(call), kept] {
    if (const auto connection = call->connection.lock()) connection->Answer(*call, *kept);
  });
}

void SetOnCancel(ServerCall& call, std::function<void(const Error&)> handler) {
  if (!call.ended) {
    call.on_cancel = std::move(handler);
  } else if (call.canceled && handler) {
    call.shared->loop.Post(
        [handler = std::move(handler)] { handler(CanceledError("context canceled")); });
  }
}

Status AddConnection(const std::shared_ptr<ServerShared>& shared, Fd socket) {
  const PeerCredentials peer = TRY(GetPeerCredentials(socket));
  if (shared->options.admit && !shared->options.admit(peer)) {
    ++shared->counters.turned_away;
    return PermissionDeniedError("connection of uid ", peer.uid, ", gid ", peer.gid);
  }
  if (shared->connections.size() >= shared->options.max_connections) {
    ++shared->counters.over_limit;
    return ResourceExhaustedError("more than ", shared->options.max_connections, " connections");
  }
  const uint64_t id = shared->next_connection++;
  const auto connection = std::make_shared<ServerConnection>(shared, id, std::move(socket), peer);
  TRY(connection->Start());
  shared->connections.emplace(id, connection);
  ++shared->counters.accepted;
  return Ok();
}

// With no descriptor left the listener would stay readable for ever: the spare one is given up to
// take the peer and turn it away.
void TurnAwayWithoutDescriptors(ServerShared& shared, int listener) {
  ++shared.counters.over_limit;
  shared.spare.Reset();
  Fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)).Reset();
  shared.spare = Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

void AcceptSome(const std::shared_ptr<ServerShared>& shared, int listener) {
  for (int i = 0; i < kAcceptsPerTurn && !shared->draining; ++i) {
    Fd socket(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.valid()) {
      (void)AddConnection(shared,
                          std::move(socket));  // refused ones are counted; closing is the answer
    } else if (errno == EMFILE || errno == ENFILE) {
      TurnAwayWithoutDescriptors(*shared, listener);
      return;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;  // EAGAIN, or a want of memory that the next round meets again
    }
  }
}

void CloseListeners(ServerShared& shared) {
  for (const Fd& listener : shared.listeners) shared.loop.Remove(listener);
  shared.listeners.clear();
  shared.spare.Reset();
}

}  // namespace

// ---- Reply

Reply& Reply::operator=(Reply&& other) noexcept {
  if (this != &other) {
    if (call_) Fail(InternalError("call was dropped without an answer"));
    call_ = std::move(other.call_);
  }
  return *this;
}

Reply::~Reply() {
  if (call_) Fail(InternalError("call was dropped without an answer"));
}

void Reply::Send(std::string payload) { Finish(std::move(payload)); }
void Reply::Fail(const Error& error) { Finish(error.Clone()); }

void Reply::Finish(Result<std::string> result) {
  CHECK(call_ != nullptr);
  Answer(std::exchange(call_, nullptr), std::move(result));
}

void Reply::OnCancel(std::function<void(const Error&)> handler) {
  CHECK(call_ != nullptr);
  SetOnCancel(*call_, std::move(handler));
}

bool Reply::canceled() const { return call_ && call_->canceled; }

// ---- ServerStream

ServerStream::~ServerStream() {
  if (!call_->ended) Fail(InternalError("stream was dropped without an end"));
}

void ServerStream::OnMessage(std::function<void(std::string)> handler) {
  if (!call_->ended) call_->on_message = std::move(handler);
}

void ServerStream::OnHalfClose(std::function<void()> handler) {
  if (!call_->ended) call_->on_half_close = std::move(handler);
}

void ServerStream::OnCancel(std::function<void(const Error&)> handler) {
  SetOnCancel(*call_, std::move(handler));
}

Status ServerStream::Send(std::string_view payload) {
  const auto connection = call_->connection.lock();
  if (!connection) return CanceledError("stream has ended");
  return connection->SendData(*call_, payload);
}

// `this` may be gone after Answer: ending the call drops its handlers, and they may hold the
// stream.
void ServerStream::Finish(std::string payload) { Answer(call_, std::move(payload)); }
void ServerStream::Fail(const Error& error) { Answer(call_, error.Clone()); }

// ---- TtrpcServer

TtrpcServer::TtrpcServer(Loop& loop, Options options)
    : shared_(std::make_shared<ServerShared>(loop, std::move(options))) {}

TtrpcServer::~TtrpcServer() {
  Close();
  shared_->services
      .clear();  // Replies that are still held elsewhere keep shared_ alive, but not the handlers
}

void TtrpcServer::HandleUnary(std::string_view service, std::string_view method,
                              UnaryHandler handler) {
  CHECK(handler != nullptr);
  const bool added = shared_->services[std::string(service)]
                         .emplace(method, internal::Method{std::move(handler), nullptr, {}})
                         .second;
  CHECK(added);
}

void TtrpcServer::HandleStream(std::string_view service, std::string_view method, StreamKind kind,
                               StreamHandler handler) {
  CHECK(handler != nullptr);
  const bool added = shared_->services[std::string(service)]
                         .emplace(method, internal::Method{nullptr, std::move(handler), kind})
                         .second;
  CHECK(added);
}

Status TtrpcServer::Listen(Fd listener) {
  if (shared_->draining) return UnavailableError("ttrpc: server closed");
  TRY(SetNonblocking(listener, true));
  if (!shared_->spare.valid()) {
    shared_->spare = Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!shared_->spare.valid()) return ErrnoError(errno, "open /dev/null");
  }
  const int number = listener.get();
  // The weak pointer is for form: Close removes the watch before the server goes.
  TRY(shared_->loop.Add(listener, EPOLLIN, [weak = std::weak_ptr(shared_), number](uint32_t) {
    if (const auto shared = weak.lock()) AcceptSome(shared, number);
  }));
  shared_->listeners.push_back(std::move(listener));
  return Ok();
}

Status TtrpcServer::Adopt(Fd socket) {
  if (shared_->draining) return UnavailableError("ttrpc: server closed");
  return AddConnection(shared_, std::move(socket));
}

void TtrpcServer::Shutdown(std::function<void()> done) {
  shared_->draining = true;
  shared_->drained = std::move(done);
  CloseListeners(*shared_);
  const auto connections = shared_->connections;  // a copy: ending one takes it off the list
  for (const auto& [id, connection] : connections) connection->EndWhenIdle();
  shared_->ReportDrained();
}

void TtrpcServer::Close() {
  shared_->draining = true;
  CloseListeners(*shared_);
  const auto connections = shared_->connections;
  for (const auto& [id, connection] : connections) connection->End();
}

size_t TtrpcServer::connections() const { return shared_->connections.size(); }
size_t TtrpcServer::calls() const { return shared_->calls; }
const TtrpcServer::Counters& TtrpcServer::counters() const { return shared_->counters; }

}  // namespace corten::wire
