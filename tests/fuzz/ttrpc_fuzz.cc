// Bytes from a peer: through the frame parser and the envelopes, into a server and into a client.
// The first byte chooses which; the rest is what the peer sends.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "wire/proto_fields.h"
#include "wire/status.h"
#include "wire/ttrpc_client.h"
#include "wire/ttrpc_codec.h"
#include "wire/ttrpc_server.h"

namespace corten::wire {
namespace {

using Frames = std::vector<std::pair<FrameHeader, std::string>>;

Frames Parse(std::string_view bytes, size_t step) {
  Frames frames;
  FrameParser parser;
  for (size_t at = 0; at < bytes.size(); at += step) {
    (void)parser.Feed(bytes.substr(at, step),
                      [&](const FrameHeader& header, std::string_view payload, bool oversized) {
                        CHECK(oversized ? payload.empty() : payload.size() == header.length);
                        frames.emplace_back(header, payload);
                        return true;
                      });
  }
  return frames;
}

// However the bytes are cut, the frames are the same; what decodes survives a round trip.
void FuzzCodec(std::string_view bytes) {
  const Frames whole = Parse(bytes, bytes.size() + 1);
  for (const size_t step : {1u, 3u, 10u, 11u}) CHECK(Parse(bytes, step) == whole);
  const Result<RequestEnvelope> request = DecodeRequest(bytes);
  if (request.ok()) CHECK(*DecodeRequest(EncodeRequest(*request)) == *request);
  const Result<ResponseEnvelope> response = DecodeResponse(bytes);
  if (response.ok()) {
    ResponseEnvelope sent = *DecodeResponse(EncodeResponse(*response));
    CHECK(sent.payload == response->payload && sent.status.code == response->status.code);
  }
  CHECK(IsValidUtf8(ValidUtf8(bytes)));
}

std::pair<Fd, Fd> SocketPair() {
  int fds[2] = {-1, -1};
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

void SendAndRun(Loop& loop, Fd peer, std::string_view bytes) {
  char sink[65536];
  while (!bytes.empty()) {
    const ssize_t sent = send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0 && errno != EAGAIN) break;
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
    CHECK(loop.RunOnce(std::chrono::milliseconds(0)).ok());
    while (recv(peer.get(), sink, sizeof(sink), 0) > 0) {
    }
  }
  for (int i = 0; i < 3; ++i) CHECK(loop.RunOnce(std::chrono::milliseconds(0)).ok());
  peer.Reset();
  for (int i = 0; i < 3; ++i) CHECK(loop.RunOnce(std::chrono::milliseconds(0)).ok());
}

// Mostly sound frames out of `bytes`, five for the head of each: stream, type, flags, method, size;
// then a short payload.
std::string Compose(std::string_view bytes) {
  static constexpr const char* kMethods[] = {"e", "p", "x", "y", "z", "none"};
  std::string out;
  while (bytes.size() >= 5) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
    const uint32_t stream = byte(0) % 16;
    const auto type = static_cast<FrameType>(byte(1) % 4);
    const uint8_t flags = byte(2) % 8;
    const std::string method = kMethods[byte(3) % 6];
    const size_t size = std::min<size_t>(byte(4) % 8, bytes.size() - 5);
    std::string payload(bytes.substr(5, size));
    bytes.remove_prefix(5 + size);
    if (type == FrameType::kRequest) payload = EncodeRequest({"s", method, payload, {}, {}});
    if (type == FrameType::kResponse) payload = EncodeResponse({{flags, "m", {}}, payload});
    const auto header =
        EncodeFrameHeader({static_cast<uint32_t>(payload.size()), stream, type, flags});
    out.append(header.data(), header.size()).append(payload);
  }
  return out;
}

void FuzzServer(std::string_view bytes) {
  const std::unique_ptr<Loop> loop = Loop::Create().value();
  std::vector<Reply> parked;
  TtrpcServer server(*loop);
  server.HandleUnary("s", "e", [](const CallInfo&, std::string_view in, Reply reply) {
    reply.Send(std::string(in));
  });
  server.HandleUnary("s", "p", [&](const CallInfo&, std::string_view, Reply reply) {
    parked.push_back(std::move(reply));
  });
  for (const auto& [name, kind] :
       {std::pair("x", StreamKind::kServer), std::pair("y", StreamKind::kClient),
        std::pair("z", StreamKind::kBidirectional)}) {
    server.HandleStream("s", name, kind, [](const CallInfo&, std::shared_ptr<ServerStream> stream) {
      stream->OnMessage([stream](std::string in) {
        (void)stream->Send(in);
        if (in.size() == 1) stream->Finish(in);
        if (in.size() == 2) stream->Fail(AbortedError(in));
      });
      stream->OnHalfClose([stream] { stream->Finish(); });
    });
  }
  auto [ours, theirs] = SocketPair();
  CHECK(server.Adopt(std::move(ours)).ok());
  SendAndRun(*loop, std::move(theirs), bytes);
  CHECK(server.connections() == 0);
  parked.clear();
  CHECK(server.calls() == 0);
}

void FuzzClient(std::string_view bytes) {
  const std::unique_ptr<Loop> loop = Loop::Create().value();
  auto [ours, theirs] = SocketPair();
  std::unique_ptr<TtrpcClient> client = TtrpcClient::Create(*loop, std::move(ours)).value();
  int ended = 0;
  for (int i = 0; i < 2; ++i) {
    client->Call("s", "m", "", {}, [&](Result<std::string>) { ++ended; });
  }
  const auto end = [&](Result<std::string>) { ++ended; };
  const auto one = client->OpenServerStream("s", "m", "", {[](std::string) {}, end}).value();
  const auto two = client->OpenStream("s", "m", {[](std::string) {}, end}).value();
  SendAndRun(*loop, std::move(theirs), bytes);
  client.reset();
  CHECK(ended == 4);
}

}  // namespace
}  // namespace corten::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      corten::wire::FuzzCodec(bytes);
      break;
    case 1:
      corten::wire::FuzzServer(bytes);
      break;
    case 2:
      corten::wire::FuzzClient(bytes);
      break;
    case 3:
      corten::wire::FuzzServer(corten::wire::Compose(bytes));
      break;
    default:
      corten::wire::FuzzClient(corten::wire::Compose(bytes));
      break;
  }
  return 0;
}
