#include "wire/ttrpc_client.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/strcat.h"
#include "wire/frame_channel.h"

namespace corten::wire {

namespace {

// How much longer than its timeout a blocked caller waits for the loop to report it.
constexpr std::chrono::milliseconds kCallerGrace{250};

Error ClosedError() { return UnknownError(kClosedText); }
Error DeadlineError() { return DeadlineExceededError("context deadline exceeded"); }

}  // namespace

bool IsClosedError(const Error& error) {
  return error.Is(Code::kUnknown) && error.text().ends_with(kClosedText);
}

namespace internal {

class ClientCore final : public FrameSink, public std::enable_shared_from_this<ClientCore> {
 public:
  ClientCore(Loop& loop, Fd socket, TtrpcClient::Options options)
      : loop_(loop),
        options_(options),
        next_stream_(options.first_stream),
        channel_(loop, std::move(socket), *this) {}

  Status Start() { return channel_.Start(); }
  Loop& loop() { return loop_; }
  bool closed() const { return closed_; }
  size_t in_flight() const { return calls_.size(); }

  uint32_t Call(std::string_view service, std::string_view method, std::string_view payload,
                const CallOptions& options, TtrpcClient::Callback done);
  bool Cancel(uint32_t id);
  Result<std::unique_ptr<ClientStream>> Open(std::string_view service, std::string_view method,
                                             std::string_view request, uint8_t flags,
                                             ClientStream::Events events);
  Status SendData(uint32_t id, uint8_t flags, std::string_view payload);
  void OnClosed(std::function<void(const Error&)> handler) { on_closed_ = std::move(handler); }
  void Close(const Error& why);

  void OnFrame(const FrameHeader& header, std::string_view payload) override;
  void OnOversized(const FrameHeader& header) override;
  void OnDrained() override {}
  void OnClosed(const Error& why) override { Close(why); }
  std::shared_ptr<FrameSink> Hold() override { return shared_from_this(); }

 private:
  struct Pending {
    TtrpcClient::Callback done;  // unary: the answer; streams: the end
    std::function<void(std::string)> on_message;
    bool streaming = false;
    Loop::TimerId deadline = 0;
  };

  // Takes a stream id and sends the request frame. On error nothing was sent and no id is used up.
  Result<uint32_t> SendRequest(const RequestEnvelope& request, uint8_t flags);
  void Finish(uint32_t id, Result<std::string> result);
  void OnResponse(uint32_t id, std::string_view payload);
  void OnData(const FrameHeader& header, std::string_view payload);

  Loop& loop_;
  const TtrpcClient::Options options_;
  uint64_t next_stream_;  // wider than an id, so that the end of the ids can be seen
  FrameChannel channel_;
  std::atomic<bool> closed_{false};
  std::unordered_map<uint32_t, Pending> calls_;
  std::function<void(const Error&)> on_closed_;
};

Result<uint32_t> ClientCore::SendRequest(const RequestEnvelope& request, uint8_t flags) {
  if (closed_) return ClosedError();
  if (calls_.size() >= options_.max_in_flight)
    return ResourceExhaustedError("ttrpc: too many calls at once");
  if (next_stream_ > UINT32_MAX)
    return UnavailableError("ttrpc: stream ids of the connection are used up");
  const auto id = static_cast<uint32_t>(next_stream_);
  TRY(channel_.Send(id, FrameType::kRequest, flags, {}, EncodeRequest(request),
                    options_.max_queue));
  next_stream_ += 2;
  return id;
}

uint32_t ClientCore::Call(std::string_view service, std::string_view method,
                          std::string_view payload, const CallOptions& options,
                          TtrpcClient::Callback done) {
  Result<uint32_t> id = DeadlineError();
  if (options.timeout.count() >= 0) {
    id = SendRequest({std::string(service), std::string(method), std::string(payload),
                      options.timeout, options.metadata},
                     0);
  }
  if (!id.ok()) {
    // Later, as promised: callers need not expect their callback inside the call.
    auto error = std::make_shared<Error>(std::move(id).TakeError());
    loop_.Post([done = std::move(done), error] { done(error->Clone()); });
    return 0;
  }
  Pending& pending = calls_[*id];
  pending.done = std::move(done);
  if (options.timeout.count() != 0) {
    pending.deadline = loop_.After(options.timeout, [weak = weak_from_this(), stream = *id] {
      if (const auto self = weak.lock()) self->Finish(stream, DeadlineError());
    });
  }
  return *id;
}

bool ClientCore::Cancel(uint32_t id) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return false;
  loop_.Cancel(found->second.deadline);
  const Pending dropped = std::move(found->second);  // destroyed after the list is in order again
  calls_.erase(found);
  return true;
}

Result<std::unique_ptr<ClientStream>> ClientCore::Open(std::string_view service,
                                                       std::string_view method,
                                                       std::string_view request, uint8_t flags,
                                                       ClientStream::Events events) {
  const uint32_t id = TRY(SendRequest(
      {std::string(service), std::string(method), std::string(request), {}, {}}, flags));
  Pending& pending = calls_[id];
  pending.done = std::move(events.on_end);
  pending.on_message = std::move(events.on_message);
  pending.streaming = true;
  return std::unique_ptr<ClientStream>(
      new ClientStream(shared_from_this(), id, (flags & kFlagRemoteOpen) != 0));
}

Status ClientCore::SendData(uint32_t id, uint8_t flags, std::string_view payload) {
  if (closed_) return ClosedError();
  if (!calls_.contains(id)) return CanceledError("stream has ended");
  return channel_.Send(id, FrameType::kData, flags, {}, payload, options_.max_queue);
}

void ClientCore::Finish(uint32_t id, Result<std::string> result) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  const Pending call = std::move(found->second);
  calls_.erase(found);
  loop_.Cancel(call.deadline);
  if (call.done) call.done(std::move(result));
}

void ClientCore::OnFrame(const FrameHeader& header, std::string_view payload) {
  // Frames for streams that nobody waits for (any more) are dropped.
  if (!calls_.contains(header.stream)) return;
  if (header.type == FrameType::kResponse) {
    OnResponse(header.stream, payload);
  } else if (header.type == FrameType::kData) {
    OnData(header, payload);
  }
}

void ClientCore::OnResponse(uint32_t id, std::string_view payload) {
  Result<ResponseEnvelope> response = DecodeResponse(payload);
  if (!response.ok()) {
    Finish(id, InternalError(response.error().text()));
  } else if (response->status.code != 0) {
    Finish(id, ErrorFromStatus(response->status));
  } else {
    Finish(id, std::move(response->payload));
  }
}

void ClientCore::OnData(const FrameHeader& header, std::string_view payload) {
  const auto found = calls_.find(header.stream);
  if (!found->second.streaming) {
    Finish(header.stream, InternalError("ttrpc: data for a call with a single response"));
    return;
  }
  if ((header.flags & kFlagNoData) == 0) {
    // A copy: the handler may end the call or the connection.
    const auto handler = found->second.on_message;
    if (handler) handler(std::string(payload));
  }
  if ((header.flags & kFlagRemoteClosed) != 0) Finish(header.stream, std::string());
}

void ClientCore::OnOversized(const FrameHeader& header) {
  Finish(header.stream, OversizedError(header.length));
}

void ClientCore::Close(const Error& why) {
  if (closed_.exchange(true)) return;
  const auto self = shared_from_this();
  channel_.Close();
  auto calls = std::exchange(calls_, {});
  for (auto& [id, call] : calls) {
    loop_.Cancel(call.deadline);
    if (call.done) call.done(ClosedError());
  }
  const auto on_closed = std::exchange(on_closed_, nullptr);
  if (on_closed) on_closed(why);
}

namespace {

// Where a blocked thread and the loop meet.
struct Meeting {
  std::mutex mutex;
  std::condition_variable arrived;
  std::optional<Result<std::string>> result;  // guarded by mutex

  void Arrive(Result<std::string> answer) {
    const std::lock_guard lock(mutex);
    if (!result) result.emplace(std::move(answer));
    arrived.notify_all();
  }

  Result<std::string> Wait(std::chrono::nanoseconds timeout) {
    std::unique_lock lock(mutex);
    const auto there = [this] { return result.has_value(); };
    if (timeout.count() == 0) {
      arrived.wait(lock, there);
    } else if (!arrived.wait_for(lock, timeout + kCallerGrace, there)) {
      return DeadlineError();  // the loop is stuck; what it says later goes nowhere
    }
    return std::move(*result);
  }
};

// Releases the caller even if the task that carries this is destroyed unrun.
struct Ticket {
  explicit Ticket(std::shared_ptr<Meeting> meeting_) : meeting(std::move(meeting_)) {}
  ~Ticket() { meeting->Arrive(ClosedError()); }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  const std::shared_ptr<Meeting> meeting;
};

}  // namespace
}  // namespace internal

// ---- ClientStream

ClientStream::~ClientStream() { (void)core_->Cancel(id_); }

Status ClientStream::Send(std::string_view payload) {
  if (!may_send_)
    return FailedPreconditionError("ttrpc: the client's side of the stream is closed");
  return core_->SendData(id_, 0, payload);
}

Status ClientStream::CloseSend() {
  if (!may_send_)
    return FailedPreconditionError("ttrpc: the client's side of the stream is closed");
  TRY(core_->SendData(id_, kFlagRemoteClosed | kFlagNoData, {}));
  may_send_ = false;
  return Ok();
}

// ---- TtrpcCaller

Result<std::string> TtrpcCaller::Call(std::string_view service, std::string_view method,
                                      std::string payload, CallOptions options) const {
  if (core_->closed()) return ClosedError();
  CHECK(!core_->loop().InLoopThread());  // it would wait for itself
  const auto meeting = std::make_shared<internal::Meeting>();
  const std::chrono::nanoseconds timeout = options.timeout;
  CallAsync(service, method, std::move(payload), std::move(options),
            [ticket = std::make_shared<internal::Ticket>(meeting)](Result<std::string> result) {
              ticket->meeting->Arrive(std::move(result));
            });
  return meeting->Wait(timeout);
}

void TtrpcCaller::CallAsync(std::string_view service, std::string_view method, std::string payload,
                            CallOptions options,
                            std::function<void(Result<std::string>)> done) const {
  struct Request {
    std::string service, method, payload;
    CallOptions options;
    std::function<void(Result<std::string>)> done;
  };
  auto request =
      std::make_shared<Request>(Request{std::string(service), std::string(method),
                                        std::move(payload), std::move(options), std::move(done)});
  core_->loop().Post([core = core_, request] {
    (void)core->Call(request->service, request->method, request->payload, request->options,
                     std::move(request->done));
  });
}

bool TtrpcCaller::closed() const { return core_->closed(); }

// ---- TtrpcClient

Result<std::unique_ptr<TtrpcClient>> TtrpcClient::Create(Loop& loop, Fd socket, Options options) {
  CHECK(options.first_stream % 2 == 1);
  auto core = std::make_shared<internal::ClientCore>(loop, std::move(socket), options);
  TRY(core->Start());
  return std::unique_ptr<TtrpcClient>(new TtrpcClient(std::move(core)));
}

TtrpcClient::~TtrpcClient() { Close(); }

TtrpcClient::CallId TtrpcClient::Call(std::string_view service, std::string_view method,
                                      std::string_view payload, const CallOptions& options,
                                      Callback done) {
  return core_->Call(service, method, payload, options, std::move(done));
}

bool TtrpcClient::Cancel(CallId call) { return core_->Cancel(call); }

Result<std::unique_ptr<ClientStream>> TtrpcClient::OpenServerStream(std::string_view service,
                                                                    std::string_view method,
                                                                    std::string_view request,
                                                                    ClientStream::Events events) {
  return core_->Open(service, method, request, kFlagRemoteClosed, std::move(events));
}

Result<std::unique_ptr<ClientStream>> TtrpcClient::OpenStream(std::string_view service,
                                                              std::string_view method,
                                                              ClientStream::Events events) {
  return core_->Open(service, method, {}, kFlagRemoteOpen, std::move(events));
}

void TtrpcClient::OnClosed(std::function<void(const Error&)> handler) {
  core_->OnClosed(std::move(handler));
}
void TtrpcClient::Close() { core_->Close(UnknownError(kClosedText)); }
bool TtrpcClient::closed() const { return core_->closed(); }
size_t TtrpcClient::in_flight() const { return core_->in_flight(); }

}  // namespace corten::wire
