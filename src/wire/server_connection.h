// One connection of a TtrpcServer, and the calls that run on it. Internal to this room.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "wire/frame_channel.h"
#include "wire/status.h"
#include "wire/ttrpc_server.h"

namespace corten::wire::internal {

struct Method {
  TtrpcServer::UnaryHandler unary;  // set for unary methods
  TtrpcServer::StreamHandler stream;
  StreamKind kind = StreamKind::kServer;
};

// What connections and late Replies share with the server. Loop thread, but for the counts.
struct ServerShared {
  ServerShared(Loop& loop_, TtrpcServer::Options options_)
      : loop(loop_), options(std::move(options_)) {}

  Loop& loop;
  const TtrpcServer::Options options;
  std::map<std::string, std::map<std::string, Method, std::less<>>, std::less<>> services;
  std::unordered_map<uint64_t, std::shared_ptr<ServerConnection>> connections;
  uint64_t next_connection = 1;
  TtrpcServer::Counters counters;
  std::atomic<size_t> calls{0};
  std::vector<Fd> listeners;
  Fd spare;  // given up for a moment when there is no descriptor left, to turn a peer away
  bool draining = false;
  std::function<void()> drained;

  void ConnectionEnded(uint64_t id);
  void ReportDrained();
};

// One call. Kept by its Reply or ServerStream, and by the connection while it is unanswered.
struct ServerCall {
  ServerCall(std::shared_ptr<ServerShared> shared_, std::shared_ptr<std::atomic<size_t>> running_)
      : shared(std::move(shared_)), running(std::move(running_)) {
    ++shared->calls;
    ++*running;
  }
  ~ServerCall() {
    --shared->calls;
    --*running;
  }

  const std::shared_ptr<ServerShared> shared;
  const std::shared_ptr<std::atomic<size_t>> running;  // of its connection
  std::weak_ptr<ServerConnection> connection;
  uint32_t stream = 0;
  std::atomic<bool> canceled{false};

  // Loop thread only from here.
  bool ended = false;  // answered, or the answer is no longer wanted
  Loop::TimerId deadline = 0;
  std::function<void(const Error&)> on_cancel;
  // Streaming calls.
  bool streaming = false;
  StreamKind kind = StreamKind::kServer;
  bool remote_closed = false;
  std::function<void(std::string)> on_message;
  std::function<void()> on_half_close;
};

class ServerConnection final : public FrameSink,
                               public std::enable_shared_from_this<ServerConnection> {
 public:
  ServerConnection(std::shared_ptr<ServerShared> shared, uint64_t id, Fd socket,
                   PeerCredentials peer)
      : shared_(std::move(shared)),
        id_(id),
        peer_(peer),
        channel_(shared_->loop, std::move(socket), *this) {}

  Status Start() { return channel_.Start(); }
  // Cancels the calls and closes; the server forgets this connection. Idempotent.
  void End();
  // Ends as soon as no call is unanswered and nothing is queued.
  void EndWhenIdle();

  // Answers a call, unless it has ended.
  void Answer(ServerCall& call, const Result<std::string>& result);
  Status SendData(ServerCall& call, std::string_view payload);

  void OnFrame(const FrameHeader& header, std::string_view payload) override;
  void OnOversized(const FrameHeader& header) override;
  void OnDrained() override;
  void OnClosed(const Error& why) override;
  std::shared_ptr<FrameSink> Hold() override { return shared_from_this(); }

 private:
  void OnRequest(const FrameHeader& header, std::string_view payload);
  void OnData(const FrameHeader& header, std::string_view payload);
  void StartCall(const std::shared_ptr<ServerCall>& call, const RequestEnvelope& request,
                 uint8_t flags, const Method& method);
  void StartStream(const std::shared_ptr<ServerCall>& call, const CallInfo& info,
                   const std::string& payload, uint8_t flags, const Method& method);
  Result<const Method*> FindMethod(const RequestEnvelope& request) const;
  // Refuses a stream; a running call on it is cancelled.
  void Refuse(uint32_t stream, const Error& why);
  void SendStatus(uint32_t stream, RpcStatus status);
  void Send(uint32_t stream, FrameType type, uint8_t flags, std::string_view head,
            std::string_view body);
  // Takes the call off the list and drops its handlers; on_cancel is returned for those who want to
  // run it.
  std::function<void(const Error&)> Release(ServerCall& call);
  void Deliver(ServerCall& call, std::string_view payload);
  void CloseInput(ServerCall& call);
  bool Idle() const { return calls_.empty() && channel_.queued() == 0; }
  void MaybeEnd();

  const std::shared_ptr<ServerShared> shared_;
  const uint64_t id_;
  const PeerCredentials peer_;
  FrameChannel channel_;
  uint32_t last_stream_ = 0;
  bool end_when_idle_ = false;
  const std::shared_ptr<std::atomic<size_t>> running_ = std::make_shared<std::atomic<size_t>>(0);
  std::unordered_map<uint32_t, std::shared_ptr<ServerCall>> calls_;  // unanswered
};

}  // namespace corten::wire::internal
