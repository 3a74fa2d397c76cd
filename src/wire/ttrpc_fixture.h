// What the ttrpc tests share: a loop with a server and a client on it, and a peer that speaks raw
// frames.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/strcat.h"
#include "wire/ttrpc_client.h"
#include "wire/ttrpc_codec.h"
#include "wire/ttrpc_server.h"

namespace corten::wire {

inline std::pair<Fd, Fd> SocketPair() {
  int fds[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) abort();
  return {Fd(fds[0]), Fd(fds[1])};
}

inline std::string RawFrame(uint32_t stream, FrameType type, uint8_t flags,
                            std::string_view payload) {
  const auto header =
      EncodeFrameHeader({static_cast<uint32_t>(payload.size()), stream, type, flags});
  return StrCat(std::string_view(header.data(), header.size()), payload);
}

// Runs `loop` until `done()` holds; false after ten seconds.
inline bool RunUntil(Loop& loop, const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    if (!loop.RunOnce(std::chrono::milliseconds(5)).ok()) return false;
  }
  return true;
}

// The client's end of a connection, byte by byte.
class RawPeer {
 public:
  struct Frame {
    FrameHeader header;
    std::string payload;
  };

  RawPeer(Loop& loop, Fd socket) : loop_(loop), socket_(std::move(socket)) {}

  // Writes all bytes, letting the loop run while the other side has to read.
  void Write(std::string_view bytes) {
    ASSERT_TRUE(RunUntil(loop_, [&] {
      const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
      return bytes.empty() || (sent < 0 && errno != EAGAIN);
    }));
    ASSERT_TRUE(bytes.empty()) << "peer is gone";
  }
  void Request(uint32_t stream, const RequestEnvelope& request, uint8_t flags = 0) {
    Write(RawFrame(stream, FrameType::kRequest, flags, EncodeRequest(request)));
  }
  void Data(uint32_t stream, uint8_t flags, std::string_view payload) {
    Write(RawFrame(stream, FrameType::kData, flags, payload));
  }

  // The next frame from the server.
  Frame Read() {
    EXPECT_TRUE(RunUntil(loop_, [&] { return Poll() || !frames_.empty(); }));
    if (frames_.empty()) return {};
    Frame frame = std::move(frames_.front());
    frames_.erase(frames_.begin());
    return frame;
  }
  // The next frame, which must be a response on `stream`.
  ResponseEnvelope ReadResponse(uint32_t stream) {
    const Frame frame = Read();
    EXPECT_EQ(frame.header.type, FrameType::kResponse);
    EXPECT_EQ(frame.header.stream, stream);
    EXPECT_EQ(frame.header.flags, 0);
    Result<ResponseEnvelope> response = DecodeResponse(frame.payload);
    EXPECT_TRUE(response.ok());
    return response.ok() ? std::move(response).value() : ResponseEnvelope();
  }
  // True once the server has ended the connection.
  bool WaitForEnd() {
    return RunUntil(loop_, [&] { return Poll(); });
  }
  void Close() { socket_.Reset(); }
  int fd() const { return socket_.get(); }

 private:
  // Takes what is there; true at the end of the connection.
  bool Poll() {
    char buffer[65536];
    const ssize_t got = recv(socket_.get(), buffer, sizeof(buffer), 0);
    if (got < 0) return errno != EAGAIN;
    if (got == 0) return true;
    (void)parser_.Feed({buffer, static_cast<size_t>(got)},
                       [&](const FrameHeader& header, std::string_view payload, bool oversized) {
                         EXPECT_FALSE(oversized);
                         frames_.push_back({header, std::string(payload)});
                         return true;
                       });
    return false;
  }

  Loop& loop_;
  Fd socket_;
  FrameParser parser_;
  std::vector<Frame> frames_;
};

// A server with a few methods of service "test.S", and clients of both kinds.
class TtrpcTest : public testing::Test {
 protected:
  TtrpcTest() { MakeServer({}); }

  void MakeServer(TtrpcServer::Options options) {
    server.reset();
    parked.clear();
    server = std::make_unique<TtrpcServer>(*loop, std::move(options));
    server->HandleUnary("test.S", "Echo",
                        [](const CallInfo&, std::string_view payload, Reply reply) {
                          reply.Send(std::string(payload));
                        });
    // Answers when the test says so.
    server->HandleUnary("test.S", "Park", [this](const CallInfo&, std::string_view, Reply reply) {
      reply.OnCancel([this](const Error& why) { cancels.push_back(why.Clone()); });
      parked.push_back(std::move(reply));
    });
    server->HandleUnary("test.S", "Fail",
                        [](const CallInfo&, std::string_view payload, Reply reply) {
                          reply.Fail(NotFoundError("thing ", Quoted(payload)));
                        });
    server->HandleUnary("test.S", "Drop", [](const CallInfo&, std::string_view, Reply) {});
    // Answers with as many bytes as the request says in decimal.
    server->HandleUnary("test.S", "Big",
                        [](const CallInfo&, std::string_view payload, Reply reply) {
                          uint64_t size = 0;
                          CHECK(ParseU64(payload, &size));
                          reply.Send(std::string(size, 'b'));
                        });
  }

  std::unique_ptr<TtrpcClient> MakeClient(TtrpcClient::Options options = {}) {
    auto [ours, theirs] = SocketPair();
    EXPECT_TRUE(server->Adopt(std::move(ours)).ok());
    return TtrpcClient::Create(*loop, std::move(theirs), options).value();
  }
  RawPeer MakePeer() {
    auto [ours, theirs] = SocketPair();
    EXPECT_TRUE(server->Adopt(std::move(ours)).ok());
    return RawPeer(*loop, std::move(theirs));
  }

  // One call, waited for.
  Result<std::string> Call(TtrpcClient& client, std::string_view method, std::string_view payload,
                           const CallOptions& options = {}) {
    std::optional<Result<std::string>> answer;
    client.Call("test.S", method, payload, options,
                [&](Result<std::string> result) { answer.emplace(std::move(result)); });
    EXPECT_TRUE(RunUntil(*loop, [&] { return answer.has_value(); }));
    if (!answer) return InternalError("no answer");
    return std::move(*answer);
  }

  std::unique_ptr<Loop> loop = Loop::Create().value();
  std::vector<Error> cancels;
  std::vector<Reply> parked;
  std::unique_ptr<TtrpcServer> server;
};

}  // namespace corten::wire
