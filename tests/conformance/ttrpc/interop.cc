// Our side of the ttrpc interop test: the counterpart of main.go and call.go.
//
//   ttrpc_interop serve SOCKET   serves interop.Test until stdin ends; prints "ready" when it
//   listens ttrpc_interop call SOCKET    calls a server of interop.Test and prints a line per check
//
// Messages are google.protobuf.StringValue throughout, coded by hand.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/strcat.h"
#include "wire/proto_fields.h"
#include "wire/ttrpc_client.h"
#include "wire/ttrpc_codec.h"
#include "wire/ttrpc_server.h"
#include "wire/unix_socket.h"

namespace corten::wire {
namespace {

constexpr std::string_view kService = "interop.Test";
constexpr std::chrono::seconds kPatience{20};

std::string Pack(std::string_view value) {
  std::string out;
  if (!value.empty()) AppendBytesField(out, 1, value);
  return out;
}

std::string Unpack(std::string_view message) {
  std::string value;
  FieldReader reader(message);
  while (reader.Next()) {
    if (reader.number() == 1 && reader.is_bytes()) value = reader.bytes();
  }
  return reader.Finish().ok() ? value : "(not a StringValue)";
}

// ---- serve

void RegisterUnary(TtrpcServer& server, std::vector<Reply>& parked) {
  const auto add = [&](std::string_view method,
                       std::function<Result<std::string>(const CallInfo&, const std::string&)> f) {
    server.HandleUnary(kService, method,
                       [f](const CallInfo& info, std::string_view payload, Reply reply) {
                         Result<std::string> result = f(info, Unpack(payload));
                         if (result.ok()) {
                           reply.Send(Pack(*result));
                         } else {
                           reply.Fail(result.error());
                         }
                       });
  };
  add("Echo", [](const CallInfo&, const std::string& in) { return in; });
  add("Fail",
      [](const CallInfo&, const std::string& in) { return NotFoundError("thing ", Quoted(in)); });
  add("Left", [](const CallInfo& info, const std::string&) -> std::string {
    if (!info.deadline) return "none";
    return StrCat(
        std::chrono::ceil<std::chrono::milliseconds>(*info.deadline - Loop::Clock::now()).count());
  });
  add("Meta", [](const CallInfo& info, const std::string& in) {
    std::string all;
    for (const auto& [key, value] : info.metadata) {
      if (key == in) all += all.empty() ? value : StrCat(",", value);
    }
    return all;
  });
  add("Big", [](const CallInfo&, const std::string& in) {
    uint64_t size = 0;
    (void)ParseU64(in, &size);  // 0 shows in the answer
    return std::string(size, 'b');
  });
  add("Exit", [](const CallInfo&, const std::string&) -> std::string { _exit(0); });
  server.HandleUnary(kService, "Park", [&parked](const CallInfo&, std::string_view, Reply reply) {
    parked.push_back(std::move(reply));
  });
}

void RegisterStreams(TtrpcServer& server) {
  using Stream = std::shared_ptr<ServerStream>;
  server.HandleStream(kService, "Thrice", StreamKind::kServer, [](const CallInfo&, Stream stream) {
    stream->OnMessage([stream](std::string payload) {
      for (int i = 0; i < 3; ++i)
        (void)stream->Send(Pack(StrCat(Unpack(payload), i)));  // the client counts
      stream->Finish();
    });
  });
  server.HandleStream(kService, "Join", StreamKind::kClient, [](const CallInfo&, Stream stream) {
    const auto all = std::make_shared<std::string>();
    stream->OnMessage([all](std::string payload) { *all += Unpack(payload) + "."; });
    stream->OnHalfClose([all, stream] { stream->Finish(Pack(*all)); });
  });
  server.HandleStream(kService, "Chat", StreamKind::kBidirectional,
                      [](const CallInfo&, Stream stream) {
                        stream->OnMessage([stream](std::string payload) {
                          if (Unpack(payload) == "stop") {
                            stream->Fail(AbortedError("stopped"));
                          } else {
                            (void)stream->Send(payload);  // the client counts
                          }
                        });
                        stream->OnHalfClose([stream] { stream->Finish(); });
                      });
}

Status Serve(const std::string& path) {
  const std::unique_ptr<Loop> loop = TRY(Loop::Create());
  std::vector<Reply> parked;
  TtrpcServer server(*loop);
  RegisterUnary(server, parked);
  RegisterStreams(server);
  Fd listener = TRY(ListenUnix(path, 0600));
  TRY(server.Listen(std::move(listener)));
  TRY(loop->Add(FdRef(STDIN_FILENO), EPOLLIN, [&](uint32_t) { loop->Stop(); }));
  (void)puts("ready");
  (void)fflush(stdout);
  return loop->Run();
}

// ---- call

class Caller {
 public:
  Caller(Loop& loop, std::unique_ptr<TtrpcClient> client)
      : loop_(loop), client_(std::move(client)) {}

  int failed() const { return failed_; }
  void UnaryCalls();
  void Deadlines();
  void ManyCalls();
  void Streams();
  void End();
  void RefusedFrames(const std::string& path);

 private:
  void Check(std::string_view name, std::string_view got, std::string_view want);
  bool RunUntil(const std::function<bool()>& done);
  // The answer's text, or `CODE TEXT` of the error.
  std::string Call(std::string_view method, std::string_view in, const CallOptions& options = {},
                   std::string_view service = kService);
  std::string Stream(std::string_view method, const std::vector<std::string>& send,
                     bool server_only = false);
  static std::string Show(const Error& error) {
    return StrCat(static_cast<int>(error.code()), " ", error.WireText());
  }

  Loop& loop_;
  std::unique_ptr<TtrpcClient> client_;
  int failed_ = 0;
};

void Caller::Check(std::string_view name, std::string_view got, std::string_view want) {
  if (got == want) {
    (void)printf("ok our-client: %s\n", std::string(name).c_str());
  } else {
    ++failed_;
    (void)printf("not ok our-client: %s: got \"%.80s\", want \"%.80s\"\n",
                 std::string(name).c_str(), std::string(got).c_str(), std::string(want).c_str());
  }
  (void)fflush(stdout);
}

bool Caller::RunUntil(const std::function<bool()>& done) {
  const auto end = Loop::Clock::now() + kPatience;
  while (!done()) {
    if (Loop::Clock::now() > end || !loop_.RunOnce(std::chrono::milliseconds(10)).ok())
      return false;
  }
  return true;
}

std::string Caller::Call(std::string_view method, std::string_view in, const CallOptions& options,
                         std::string_view service) {
  const auto answer = std::make_shared<std::optional<std::string>>();
  client_->Call(service, method, Pack(in), options, [answer](Result<std::string> result) {
    *answer = result.ok() ? Unpack(*result) : Show(result.error());
  });
  return RunUntil([&] { return answer->has_value(); }) ? **answer : "(no answer)";
}

void Caller::UnaryCalls() {
  for (const std::string& in : {std::string("hello"), std::string(), std::string(3 << 20, 'x')}) {
    Check(StrCat("unary of ", in.size(), " bytes"), Call("Echo", in), in);
  }
  Check("an error has its code and text", Call("Fail", "x"), "5 thing \"x\": not found");
  Check("an unknown method", Call("Nope", ""), "12 method Nope: not implemented");
  Check("an unknown service", Call("Echo", "", {}, "interop.Other"),
        "12 service interop.Other: not implemented");
  Check("metadata keeps several values", Call("Meta", "key", {{}, {{"key", "a"}, {"key", "b"}}}),
        "a,b");
  Check("the largest answer", StrCat(Call("Big", "4194294").size()), "4194294");
}

void Caller::Deadlines() {
  const std::string left = Call("Left", "", {std::chrono::seconds(10), {}});
  uint64_t ms = 0;
  Check("the server knows the deadline",
        ParseU64(left, &ms) && ms > 0 && ms <= 10000 ? "yes" : left, "yes");
  Check("no deadline is none", Call("Left", ""), "none");
  Check("a deadline that passes", Call("Park", "", {std::chrono::milliseconds(50), {}}),
        "4 context deadline exceeded");
  Check("the connection lives on after a deadline", Call("Echo", "after"), "after");
}

void Caller::ManyCalls() {
  const auto good = std::make_shared<int>(0);
  const auto all = std::make_shared<int>(0);
  for (int i = 0; i < 1000; ++i) {
    const std::string want = StrCat("call ", i);
    client_->Call(kService, "Echo", Pack(want), {}, [good, all, want](Result<std::string> result) {
      ++*all;
      if (result.ok() && Unpack(*result) == want) ++*good;
    });
  }
  (void)RunUntil([&] { return *all == 1000; });
  Check("1000 calls at once", StrCat(*good), "1000");
}

std::string Caller::Stream(std::string_view method, const std::vector<std::string>& send,
                           bool server_only) {
  struct Seen {
    std::string text;
    bool ended = false;
  };
  const auto seen = std::make_shared<Seen>();
  const auto add = [seen](std::string_view text) {
    seen->text += seen->text.empty() ? "" : " ", seen->text += text;
  };
  ClientStream::Events events = {[add](std::string payload) { add(Unpack(payload)); },
                                 [add, seen](Result<std::string> end) {
                                   if (!end.ok()) add(Show(end.error()));
                                   if (end.ok() && !end->empty()) add(Unpack(*end));
                                   seen->ended = true;
                                 }};
  Result<std::unique_ptr<ClientStream>> stream =
      server_only ? client_->OpenServerStream(kService, method, Pack(send[0]), std::move(events))
                  : client_->OpenStream(kService, method, std::move(events));
  if (!stream.ok()) return Show(stream.error());
  if (!server_only) {
    for (const std::string& text : send) (void)(*stream)->Send(Pack(text));  // the answer tells
    (void)(*stream)->CloseSend();
  }
  return RunUntil([&] { return seen->ended; }) ? seen->text : StrCat("(no end) ", seen->text);
}

void Caller::Streams() {
  Check("server stream", Stream("Thrice", {"m"}, true), "m0 m1 m2");
  Check("server stream of an empty request", Stream("Thrice", {""}, true), "0 1 2");
  Check("client stream", Stream("Join", {"a", "", "c"}), "a..c.");
  Check("client stream without a message", Stream("Join", {}), "");
  Check("both ways", Stream("Chat", {"a", "b", "c"}), "a b c");
  Check("a stream that fails", Stream("Chat", {"a", "stop"}), "a 10 stopped: aborted");
  Check("an unknown stream method", Stream("Nope", {}), "12 method Nope: not implemented");
  Check("the connection lives on after streams", Call("Echo", "after"), "after");
}

// What the server refuses, frame by frame: the codes on which our own server's unit tests rest.
void Caller::RefusedFrames(const std::string& path) {
  Result<Fd> socket = ConnectUnix(path, kPatience);
  if (!socket.ok()) return Check("connect for raw frames", socket.error().text(), "");
  const auto request = [](std::string_view method) {
    return EncodeRequest({std::string(kService), std::string(method), Pack("x"), {}, {}});
  };
  struct Case {
    std::string_view name;
    FrameHeader header;
    std::string payload;
    int code;
  };
  const Case cases[] = {
      {"an even stream id", {0, 2, FrameType::kRequest, 0}, request("Echo"), 3},
      {"a good frame after a bad one", {0, 5, FrameType::kRequest, 0}, request("Echo"), 0},
      {"an id used before", {0, 5, FrameType::kRequest, 0}, request("Echo"), 3},
      {"an id that does not grow", {0, 3, FrameType::kRequest, 0}, request("Echo"), 3},
      {"data for no stream", {0, 9, FrameType::kData, 0}, "x", 3},
      {"a request that does not decode", {0, 11, FrameType::kRequest, 0}, "\xff\xff", 3},
      {"an oversized request",
       {0, 13, FrameType::kRequest, 0},
       std::string(kMaxFramePayload + 1, 'x'),
       8},
      {"an oversized request uses no id", {0, 13, FrameType::kRequest, 0}, request("Echo"), 0},
  };
  FrameParser parser;
  for (const Case& c : cases) {
    FrameHeader header = c.header;
    header.length = static_cast<uint32_t>(c.payload.size());
    const auto bytes = EncodeFrameHeader(header);
    std::string rest = StrCat(std::string_view(bytes.data(), bytes.size()), c.payload);
    std::string got = "(no answer)";
    bool answered = false;
    (void)RunUntil([&] {
      const ssize_t sent = send(socket->get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent > 0) rest.erase(0, static_cast<size_t>(sent));
      char buffer[4096];
      const ssize_t size = recv(socket->get(), buffer, sizeof(buffer), 0);
      if (size == 0) return true;
      if (size < 0) return false;
      (void)parser.Feed({buffer, static_cast<size_t>(size)}, [&](const FrameHeader& h,
                                                                 std::string_view payload, bool) {
        const Result<ResponseEnvelope> response = DecodeResponse(payload);
        if (h.type == FrameType::kResponse && h.stream == header.stream && response.ok()) {
          got = StrCat(response->status.code);
        }
        answered = true;
        return true;
      });
      return answered;
    });
    Check(c.name, got, StrCat(c.code));
  }
}

void Caller::End() {
  const auto parked = std::make_shared<std::string>();
  client_->Call(kService, "Park", "", {}, [parked](Result<std::string> result) {
    *parked = result.ok() ? "answered" : Show(result.error());
  });
  Check("the server goes in the middle of a call", Call("Exit", ""), "2 ttrpc: closed");
  Check("a parked call learns it", *parked, "2 ttrpc: closed");
  Check("so does the client", client_->closed() ? "closed" : "open", "closed");
}

Status CallAll(const std::string& path) {
  const std::unique_ptr<Loop> loop = TRY(Loop::Create());
  Fd socket = TRY(ConnectUnix(path, kPatience));
  std::unique_ptr<TtrpcClient> client = TRY(TtrpcClient::Create(*loop, std::move(socket)));
  Caller caller(*loop, std::move(client));
  caller.UnaryCalls();
  caller.Deadlines();
  caller.ManyCalls();
  caller.Streams();
  caller.RefusedFrames(path);
  caller.End();
  if (caller.failed() > 0) return UnknownError(caller.failed(), " checks failed");
  return Ok();
}

int Main(int argc, char** argv) {
  const std::string_view mode = argc == 3 ? argv[1] : "";
  if (mode != "serve" && mode != "call") {
    (void)fprintf(stderr, "usage: ttrpc_interop serve|call SOCKET\n");
    return 2;
  }
  const Status status = mode == "serve" ? Serve(argv[2]) : CallAll(argv[2]);
  if (status.ok()) return 0;
  (void)fprintf(stderr, "ttrpc_interop: %s\n", status.error().text().c_str());
  return 1;
}

}  // namespace
}  // namespace corten::wire

int main(int argc, char** argv) { return corten::wire::Main(argc, argv); }
