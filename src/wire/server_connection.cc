#include "wire/server_connection.h"

#include <algorithm>
#include <utility>

#include "base/strcat.h"
#include "wire/proto_fields.h"

namespace corten::wire::internal {

namespace {
bool StreamsIn(StreamKind kind) { return kind != StreamKind::kServer; }
bool StreamsOut(StreamKind kind) { return kind != StreamKind::kClient; }

// What the protocol itself refuses carries no marker at the end of its text, as from the Go
// implementation.
RpcStatus ProtocolStatus(const Error& error) {
  return {static_cast<int32_t>(error.code()), ValidUtf8(error.text()), {}};
}
}  // namespace

// ---- frames in

void ServerConnection::OnFrame(const FrameHeader& header, std::string_view payload) {
  if (header.stream % 2 == 0) {
    SendStatus(header.stream,
               ProtocolStatus(InvalidArgumentError("stream id ", header.stream, " is even")));
  } else if (header.type == FrameType::kRequest) {
    OnRequest(header, payload);
  } else if (header.type == FrameType::kData) {
    OnData(header, payload);
  }  // Wire: other types are read and dropped.
}

void ServerConnection::OnOversized(const FrameHeader& header) {
  Refuse(header.stream, OversizedError(header.length));
}

void ServerConnection::OnRequest(const FrameHeader& header, std::string_view payload) {
  if (header.stream <= last_stream_) {
    Refuse(header.stream, InvalidArgumentError("stream id ", header.stream,
                                               " was used before or is out of order"));
    return;
  }
  last_stream_ = header.stream;
  const Result<RequestEnvelope> request = DecodeRequest(payload);
  if (!request.ok()) {
    SendStatus(header.stream, ProtocolStatus(request.error()));
    return;
  }
  const Result<const Method*> method = FindMethod(*request);
  if (!method.ok()) {
    SendStatus(header.stream, ProtocolStatus(method.error()));
    return;
  }
  if (request->timeout.count() < 0) {
    SendStatus(header.stream, ProtocolStatus(DeadlineExceededError("context deadline exceeded")));
    return;
  }
  const TtrpcServer::Options& options = shared_->options;
  if (*running_ >= options.max_calls_per_connection || shared_->calls >= options.max_calls) {
    ++shared_->counters.refused_calls;
    SendStatus(header.stream, ProtocolStatus(ResourceExhaustedError("too many calls at once")));
    return;
  }
  ++shared_->counters.calls;
  auto call = std::make_shared<ServerCall>(shared_, running_);
  call->connection = weak_from_this();
  call->stream = header.stream;
  calls_[header.stream] = call;
  StartCall(call, *request, header.flags, **method);
}

Result<const Method*> ServerConnection::FindMethod(const RequestEnvelope& request) const {
  // Wire: callers fall back to an older service generation on this code.
  const auto service = shared_->services.find(request.service);
  if (service == shared_->services.end())
    return Error(Code::kUnimplemented, StrCat("service ", request.service));
  const auto method = service->second.find(request.method);
  if (method == service->second.end())
    return Error(Code::kUnimplemented, StrCat("method ", request.method));
  return &method->second;
}

void ServerConnection::StartCall(const std::shared_ptr<ServerCall>& call,
                                 const RequestEnvelope& request, uint8_t flags,
                                 const Method& method) {
  CallInfo info = {request.service, request.method, request.metadata, peer_, std::nullopt};
  if (request.timeout.count() > 0) {
    info.deadline = Loop::Clock::now() + request.timeout;
    call->deadline =
        shared_->loop.At(*info.deadline, [self = weak_from_this(), weak = std::weak_ptr(call)] {
          const auto connection = self.lock();
          const auto late = weak.lock();
          if (!connection || !late || late->ended) return;
          late->deadline = 0;
          connection->Refuse(late->stream, DeadlineExceededError("context deadline exceeded"));
        });
  }
  if (method.unary) {
    method.unary(info, request.payload, Reply(call));
  } else {
    StartStream(call, info, request.payload, flags, method);
  }
}

void ServerConnection::StartStream(const std::shared_ptr<ServerCall>& call, const CallInfo& info,
                                   const std::string& payload, uint8_t flags,
                                   const Method& method) {
  call->streaming = true;
  call->kind = method.kind;
  // The handler alone owns the stream: dropping it is noticed and fails the call.
  method.stream(info, std::shared_ptr<ServerStream>(new ServerStream(call)));
  // A method without a stream from the client takes the request as its message even when that is
  // empty: an empty message has no bytes.
  if (!payload.empty() || !StreamsIn(call->kind)) Deliver(*call, payload);
  if (!StreamsIn(call->kind) || (flags & kFlagRemoteClosed) != 0) CloseInput(*call);
}

void ServerConnection::Deliver(ServerCall& call, std::string_view payload) {
  // A copy: the handler may end the call, which drops the original.
  const auto handler = call.on_message;
  if (!call.ended && handler) handler(std::string(payload));
}

void ServerConnection::OnData(const FrameHeader& header, std::string_view payload) {
  const auto found = calls_.find(header.stream);
  if (found == calls_.end() || !found->second->streaming) {
    Refuse(header.stream, InvalidArgumentError("stream ", header.stream, " is not open"));
    return;
  }
  const std::shared_ptr<ServerCall> call = found->second;
  const bool last = (header.flags & kFlagRemoteClosed) != 0;
  if ((header.flags & kFlagNoData) == 0) {
    if (call->remote_closed) {
      // Wire: a client may still close what its request has closed, but not send on it.
      Refuse(header.stream,
             InvalidArgumentError("data on stream ", header.stream, " after its end"));
      return;
    }
    Deliver(*call, payload);
  }
  if (!last || call->ended) return;
  CloseInput(*call);
  if (!payload.empty()) {
    Refuse(header.stream,
           InvalidArgumentError("the frame that ends stream ", header.stream, " carries data"));
  }
}

void ServerConnection::CloseInput(ServerCall& call) {
  if (call.ended || call.remote_closed) return;
  call.remote_closed = true;
  const std::function<void()> half_closed = std::exchange(call.on_half_close, nullptr);
  if (half_closed) half_closed();
}

// ---- answers out

void ServerConnection::Answer(ServerCall& call, const Result<std::string>& result) {
  if (call.ended) return;
  const uint32_t stream = call.stream;
  const bool as_data = call.streaming && StreamsOut(call.kind) && result.ok();
  (void)Release(call);
  if (!result.ok()) {
    SendStatus(stream, StatusFromError(result.error()));
  } else if (as_data) {
    Send(stream, FrameType::kData, kFlagRemoteClosed | kFlagNoData, {}, {});
  } else {
    const std::string prefix = EncodeResponsePrefix(result->size());
    if (prefix.size() + result->size() > kMaxFramePayload) {
      SendStatus(stream, ProtocolStatus(OversizedError(prefix.size() + result->size())));
    } else {
      Send(stream, FrameType::kResponse, 0, prefix, *result);
    }
  }
  MaybeEnd();
}

Status ServerConnection::SendData(ServerCall& call, std::string_view payload) {
  if (call.ended) return CanceledError("stream has ended");
  if (!StreamsOut(call.kind)) return FailedPreconditionError("method has a single response");
  return channel_.Send(call.stream, FrameType::kData, 0, {}, payload, shared_->options.soft_queue);
}

void ServerConnection::Refuse(uint32_t stream, const Error& why) {
  SendStatus(stream, ProtocolStatus(why));
  const auto found = calls_.find(stream);
  if (found == calls_.end()) return;
  const std::shared_ptr<ServerCall> call = found->second;
  call->canceled = true;
  const auto on_cancel = Release(*call);
  if (on_cancel) on_cancel(why);
  MaybeEnd();
}

void ServerConnection::SendStatus(uint32_t stream, RpcStatus status) {
  Send(stream, FrameType::kResponse, 0, EncodeResponse({std::move(status), {}}), {});
}

void ServerConnection::Send(uint32_t stream, FrameType type, uint8_t flags, std::string_view head,
                            std::string_view body) {
  if (channel_.closed()) return;
  const Status sent = channel_.Send(stream, type, flags, head, body, shared_->options.hard_queue);
  if (!sent.ok()) {
    // An answer that cannot be queued must not get lost in silence: the peer learns it by the end
    // of the connection.
    ++shared_->counters.cut_off;
    channel_.CloseLater(ResourceExhaustedError("ttrpc: peer does not read"));
  } else if (channel_.queued() > shared_->options.soft_queue) {
    channel_.SetReading(false);
  }
}

std::function<void(const Error&)> ServerConnection::Release(ServerCall& call) {
  call.ended = true;
  if (call.deadline != 0) shared_->loop.Cancel(call.deadline);
  call.deadline = 0;
  auto on_cancel = std::exchange(call.on_cancel, nullptr);
  call.on_message = nullptr;  // these often hold the stream, which holds the call
  call.on_half_close = nullptr;
  calls_.erase(call.stream);
  return on_cancel;
}

// ---- the end

void ServerConnection::OnDrained() {
  channel_.SetReading(true);
  MaybeEnd();
}

void ServerConnection::OnClosed(const Error&) { End(); }

void ServerConnection::End() {
  const std::shared_ptr<FrameSink> hold = Hold();
  channel_.Close();
  const auto calls = std::exchange(calls_, {});
  for (const auto& [stream, call] : calls) {
    if (call->ended) continue;
    call->canceled = true;
    const auto on_cancel = Release(*call);
    if (on_cancel) on_cancel(CanceledError("context canceled"));
  }
  shared_->ConnectionEnded(id_);
}

void ServerConnection::EndWhenIdle() {
  end_when_idle_ = true;
  MaybeEnd();
}

void ServerConnection::MaybeEnd() {
  if (!end_when_idle_ || !Idle() || channel_.closed()) return;
  // Later, because callers are in the middle of this connection; a call that comes in between is
  // still served.
  shared_->loop.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self && self->Idle()) self->End();
  });
}

}  // namespace corten::wire::internal
