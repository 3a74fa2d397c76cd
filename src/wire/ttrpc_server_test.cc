#include "wire/ttrpc_server.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <random>
#include <thread>

#include "wire/ttrpc_fixture.h"

namespace corten::wire {
namespace {

using std::literals::chrono_literals::operator""ms;
using std::literals::chrono_literals::operator""ns;

RequestEnvelope Request(std::string_view method, std::string_view payload = "") {
  return {"test.S", std::string(method), std::string(payload), {}, {}};
}

using TtrpcServerTest = TtrpcTest;

TEST_F(TtrpcServerTest, AnEmptyAnswerIsAResponseOfNoBytes) {
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Echo"));
  const RawPeer::Frame frame = peer.Read();
  EXPECT_EQ(frame.header, (FrameHeader{0, 1, FrameType::kResponse, 0}));
}

TEST_F(TtrpcServerTest, UnknownServicesAndMethodsAreToldApartByTheirText) {
  RawPeer peer = MakePeer();
  peer.Request(1, {"test.Other", "Echo", "", {}, {}});
  EXPECT_EQ(peer.ReadResponse(1).status, (RpcStatus{12, "service test.Other", {}}));
  peer.Request(3, Request("Nope"));
  EXPECT_EQ(peer.ReadResponse(3).status, (RpcStatus{12, "method Nope", {}}));
}

TEST_F(TtrpcServerTest, EvenStreamIdsAreRefused) {
  RawPeer peer = MakePeer();
  peer.Request(2, Request("Echo"));
  EXPECT_EQ(peer.ReadResponse(2).status.code, 3);
  peer.Request(3, Request("Echo", "still here"));
  EXPECT_EQ(peer.ReadResponse(3).payload, "still here");
}

TEST_F(TtrpcServerTest, StreamIdsMustGrow) {
  RawPeer peer = MakePeer();
  peer.Request(5, Request("Echo"));
  EXPECT_EQ(peer.ReadResponse(5).status.code, 0);
  for (const uint32_t used : {5u, 3u, 1u}) {
    peer.Request(used, Request("Echo"));
    EXPECT_EQ(peer.ReadResponse(used).status.code, 3) << used;
  }
  peer.Request(7, Request("Echo"));
  EXPECT_EQ(peer.ReadResponse(7).status.code, 0);
}

TEST_F(TtrpcServerTest, AnIdUsedAgainWhileItsCallRunsEndsThatCallWithOneResponse) {
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Park"));
  peer.Request(1, Request("Park"));
  EXPECT_EQ(peer.ReadResponse(1).status.code, 3);
  ASSERT_EQ(parked.size(), 1u);
  EXPECT_EQ(cancels.size(), 1u);
  parked[0].Send("late");
  peer.Request(3, Request("Echo"));
  EXPECT_EQ(peer.Read().header.stream, 3u);
}

TEST_F(TtrpcServerTest, ARequestThatDoesNotDecodeIsRefusedAndItsIdIsUsedUp) {
  RawPeer peer = MakePeer();
  peer.Write(RawFrame(1, FrameType::kRequest, 0, "\xff\xff\xff"));
  EXPECT_EQ(peer.ReadResponse(1).status.code, 3);
  peer.Request(1, Request("Echo"));
  EXPECT_EQ(peer.ReadResponse(1).status.code, 3);
}

TEST_F(TtrpcServerTest, DataForNoStreamIsRefused) {
  RawPeer peer = MakePeer();
  peer.Data(9, 0, "x");
  EXPECT_EQ(peer.ReadResponse(9).status.code, 3);
}

TEST_F(TtrpcServerTest, UnknownFrameTypesAreReadAndDropped) {
  RawPeer peer = MakePeer();
  peer.Write(RawFrame(1, static_cast<FrameType>(99), 0, "x"));
  peer.Write(RawFrame(1, FrameType::kResponse, 0, "x"));
  peer.Request(1, Request("Echo", "first"));
  EXPECT_EQ(peer.ReadResponse(1).payload, "first");
}

TEST_F(TtrpcServerTest, AnOversizedRequestIsRefusedAndTheConnectionLivesOn) {
  RawPeer peer = MakePeer();
  peer.Write(RawFrame(1, FrameType::kRequest, 0, std::string(kMaxFramePayload + 1, 'x')));
  EXPECT_EQ(peer.ReadResponse(1).status,
            (RpcStatus{8, "message length 4194305 exceed maximum message size of 4194304", {}}));
  peer.Request(3, Request("Echo", "alive"));
  EXPECT_EQ(peer.ReadResponse(3).payload, "alive");
}

TEST_F(TtrpcServerTest, ARequestOfExactlyTheLimitIsServed) {
  RawPeer peer = MakePeer();
  RequestEnvelope request = Request("Echo");
  const size_t around =
      EncodeRequest({"test.S", "Echo", std::string(4000000, 'x'), {}, {}}).size() - 4000000;
  request.payload.assign(kMaxFramePayload - around, 'x');
  ASSERT_EQ(EncodeRequest(request).size(), kMaxFramePayload);
  peer.Request(1, request);
  EXPECT_EQ(peer.ReadResponse(1).payload.size(), request.payload.size());
}

TEST_F(TtrpcServerTest, AnOversizedAnswerBecomesAnError) {
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Big", "4194304"));  // with its envelope over the limit
  EXPECT_EQ(peer.ReadResponse(1).status.code, 8);
  peer.Request(3, Request("Big", "4194299"));  // with its envelope at the limit
  EXPECT_EQ(peer.ReadResponse(3).payload.size(), 4194299u);
}

TEST_F(TtrpcServerTest, ATimeoutThatPassesIsAnsweredAndTheHandlerIsTold) {
  RawPeer peer = MakePeer();
  RequestEnvelope request = Request("Park");
  request.timeout = 20ms;
  peer.Request(1, request);
  EXPECT_EQ(peer.ReadResponse(1).status, (RpcStatus{4, "context deadline exceeded", {}}));
  ASSERT_EQ(cancels.size(), 1u);
  EXPECT_EQ(cancels[0].code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(parked[0].canceled());
  EXPECT_EQ(server->calls(), 1u);  // its handler still has it
  parked.clear();
  EXPECT_EQ(server->calls(), 0u);
}

TEST_F(TtrpcServerTest, ATimeoutThatIsOverAlreadyNeverReachesTheHandler) {
  RawPeer peer = MakePeer();
  RequestEnvelope request = Request("Park");
  request.timeout = -1ns;
  peer.Request(1, request);
  EXPECT_EQ(peer.ReadResponse(1).status.code, 4);
  EXPECT_TRUE(parked.empty());
}

TEST_F(TtrpcServerTest, APeerThatGoesCancelsItsCalls) {
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Park"));
  peer.Request(3, Request("Park"));
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 2; }));
  peer.Close();
  ASSERT_TRUE(RunUntil(*loop, [&] { return cancels.size() == 2; }));
  EXPECT_EQ(cancels[0].code(), Code::kCanceled);
  EXPECT_EQ(server->connections(), 0u);
  parked[0].Send("to nobody");
  parked.clear();
  EXPECT_EQ(server->calls(), 0u);
}

TEST_F(TtrpcServerTest, AHalfClosedPeerCountsAsGone) {
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Park"));
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 1; }));
  shutdown(peer.fd(), SHUT_WR);
  EXPECT_TRUE(peer.WaitForEnd());
  EXPECT_EQ(cancels.size(), 1u);
}

TEST_F(TtrpcServerTest, AFrameCutOffByTheEndLeavesNothingBehind) {
  const std::string frame =
      RawFrame(1, FrameType::kRequest, 0, EncodeRequest(Request("Echo", "x")));
  for (size_t size = 0; size < frame.size(); ++size) {
    RawPeer peer = MakePeer();
    peer.Write(frame.substr(0, size));
    peer.Close();
    ASSERT_TRUE(RunUntil(*loop, [&] { return server->connections() == 0; }));
  }
  EXPECT_EQ(server->counters().calls, 0u);
}

TEST_F(TtrpcServerTest, RandomBytesNeitherCrashNorLeak) {
  std::mt19937 random(20260102);
  for (int round = 0; round < 300; ++round) {
    RawPeer peer = MakePeer();
    std::string bytes;
    for (int part = 0; part < 8; ++part) {
      std::string noise(random() % 64, '\0');
      for (char& c : noise) c = static_cast<char>(random());
      // Half of them well framed, so that the noise gets past the header.
      bytes += random() % 2 == 0 ? noise
                                 : RawFrame(random() % 8, static_cast<FrameType>(random() % 5),
                                            static_cast<uint8_t>(random()), noise);
    }
    (void)send(peer.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(loop->RunOnce(0ms).ok());
    peer.Close();
    ASSERT_TRUE(RunUntil(*loop, [&] { return server->connections() == 0; }));
  }
  EXPECT_EQ(server->calls(), 0u);
}

TEST_F(TtrpcServerTest, ASlowReaderIsNotReadFromAndThenCutOff) {
  TtrpcServer::Options options;
  options.soft_queue = 1 << 20;
  options.hard_queue = 3 << 20;
  MakeServer(std::move(options));
  RawPeer peer = MakePeer();
  // Calls that are answered at will, so that answers go on coming when reading has stopped.
  for (uint32_t i = 0; i < 8; ++i) peer.Request(1 + 2 * i, Request("Park"));
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 8; }));
  parked[0].Send(std::string(2 << 20, 'x'));
  // Over the soft limit: requests stay in the kernel.
  const std::string more = RawFrame(101, FrameType::kRequest, 0, EncodeRequest(Request("Park")));
  ASSERT_EQ(send(peer.fd(), more.data(), more.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(more.size()));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(loop->RunOnce(1ms).ok());
  EXPECT_EQ(parked.size(), 8u);
  EXPECT_EQ(server->counters().cut_off, 0u);
  // Over the hard limit: the connection ends.
  parked[1].Send(std::string(2 << 20, 'x'));
  ASSERT_TRUE(RunUntil(*loop, [&] { return server->connections() == 0; }));
  EXPECT_EQ(server->counters().cut_off, 1u);
  EXPECT_EQ(cancels.size(), 6u);
}

TEST_F(TtrpcServerTest, AReaderThatCatchesUpIsReadFromAgain) {
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Park"));
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 1; }));
  parked[0].Send(std::string(3 << 20, 'x'));
  peer.Request(3, Request("Echo", "after"));
  EXPECT_EQ(peer.ReadResponse(1).payload.size(), 3u << 20);
  EXPECT_EQ(peer.ReadResponse(3).payload, "after");
}

TEST_F(TtrpcServerTest, CallsOverTheLimitAreRefusedAndTheRestGoesOn) {
  TtrpcServer::Options options;
  options.max_calls_per_connection = 2;
  options.max_calls = 3;
  MakeServer(std::move(options));
  RawPeer one = MakePeer();
  RawPeer two = MakePeer();
  one.Request(1, Request("Park"));
  one.Request(3, Request("Park"));
  one.Request(5, Request("Park"));
  EXPECT_EQ(one.ReadResponse(5).status.code, 8);
  two.Request(1, Request("Park"));
  two.Request(3, Request("Park"));
  EXPECT_EQ(two.ReadResponse(3).status.code, 8);
  EXPECT_EQ(server->counters().refused_calls, 2u);
  parked[0].Send("done");
  EXPECT_EQ(one.ReadResponse(1).payload, "done");
  one.Request(7, Request("Echo", "room again"));
  EXPECT_EQ(one.ReadResponse(7).payload, "room again");
}

TEST_F(TtrpcServerTest, AnAnswerMayComeFromAnotherThread) {
  RawPeer peer = MakePeer();
  for (uint32_t i = 0; i < 100; ++i) peer.Request(1 + 2 * i, Request("Park"));
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 100; }));
  std::thread other([&] {
    for (Reply& reply : parked) reply.Send("from afar");
  });
  for (uint32_t i = 0; i < 100; ++i) EXPECT_EQ(peer.ReadResponse(1 + 2 * i).payload, "from afar");
  other.join();
}

// ---- connections

class Listening : public TtrpcTest {
 protected:
  Listening() {
    if (mkdtemp(dir) == nullptr) abort();
    path = StrCat(dir, "/s");
  }
  ~Listening() override {
    unlink(path.c_str());
    rmdir(dir);
  }
  void Listen() { ASSERT_TRUE(server->Listen(ListenUnix(path, 0600).value()).ok()); }
  RawPeer Connect() { return RawPeer(*loop, ConnectUnix(path).value()); }

  char dir[32] = "/tmp/ttrpc_XXXXXX";
  std::string path;
};

TEST_F(Listening, TheSocketHasTheModeItWasGiven) {
  Listen();
  struct stat info = {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(ListenUnix(path, 0600).error().code(), Code::kAlreadyExists);
}

TEST_F(Listening, TheHandlerKnowsWhoCalls) {
  PeerCredentials seen;
  server->HandleUnary("test.S", "Who", [&](const CallInfo& info, std::string_view, Reply reply) {
    seen = info.peer;
    reply.Send("");
  });
  Listen();
  RawPeer peer = Connect();
  peer.Request(1, Request("Who"));
  EXPECT_EQ(peer.ReadResponse(1).status.code, 0);
  EXPECT_EQ(seen.pid, getpid());
  EXPECT_EQ(seen.uid, geteuid());
  EXPECT_EQ(seen.gid, getegid());
}

TEST_F(Listening, APeerThatIsNotAdmittedIsClosedWithoutAWord) {
  TtrpcServer::Options options;
  options.admit = [](const PeerCredentials& peer) { return peer.uid == geteuid() + 1; };
  MakeServer(std::move(options));
  Listen();
  RawPeer peer = Connect();
  EXPECT_TRUE(peer.WaitForEnd());
  EXPECT_EQ(server->counters().turned_away, 1u);
  EXPECT_EQ(server->counters().accepted, 0u);
}

TEST_F(Listening, ConnectionsOverTheLimitAreClosedAndTheOthersStay) {
  TtrpcServer::Options options;
  options.max_connections = 2;
  MakeServer(std::move(options));
  Listen();
  RawPeer one = Connect();
  RawPeer two = Connect();
  ASSERT_TRUE(RunUntil(*loop, [&] { return server->connections() == 2; }));
  RawPeer three = Connect();
  EXPECT_TRUE(three.WaitForEnd());
  one.Request(1, Request("Echo", "here"));
  EXPECT_EQ(one.ReadResponse(1).payload, "here");
  two.Close();
  ASSERT_TRUE(RunUntil(*loop, [&] { return server->connections() == 1; }));
  RawPeer four = Connect();
  four.Request(1, Request("Echo", "room"));
  EXPECT_EQ(four.ReadResponse(1).payload, "room");
}

TEST_F(Listening, WithoutDescriptorsPeersAreTurnedAwayAndTheLoopDoesNotSpin) {
  Listen();
  Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  rlimit old = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  const Fd next(dup(client.get()));  // the lowest free number: no new descriptor fits below it
  const rlimit tight = {static_cast<rlim_t>(next.get()) + 1, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  RawPeer peer(*loop, std::move(client));
  EXPECT_TRUE(peer.WaitForEnd());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(server->counters().over_limit, 1u);
  RawPeer later = Connect();
  later.Request(1, Request("Echo", "again"));
  EXPECT_EQ(later.ReadResponse(1).payload, "again");
}

TEST_F(Listening, ShutdownWaitsForBusyConnectionsOnly) {
  Listen();
  RawPeer idle = Connect();
  RawPeer busy = Connect();
  busy.Request(1, Request("Park"));
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 1 && server->connections() == 2; }));
  bool done = false;
  server->Shutdown([&] { done = true; });
  EXPECT_TRUE(idle.WaitForEnd());
  EXPECT_EQ(server->connections(), 1u);
  EXPECT_FALSE(done);
  EXPECT_EQ(ConnectUnix(path).error().code(), Code::kUnavailable);
  // An answer larger than the socket takes at once is written to its end first.
  parked[0].Send(std::string(3 << 20, 'x'));
  EXPECT_EQ(busy.ReadResponse(1).payload.size(), 3u << 20);
  EXPECT_TRUE(busy.WaitForEnd());
  EXPECT_TRUE(RunUntil(*loop, [&] { return done; }));
}

TEST_F(Listening, CloseCancelsEverythingAtOnce) {
  Listen();
  RawPeer peer = Connect();
  peer.Request(1, Request("Park"));
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 1; }));
  server->Close();
  EXPECT_EQ(cancels.size(), 1u);
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_TRUE(peer.WaitForEnd());
  server.reset();
  parked.clear();  // replies may outlive the server
}

TEST(UnixSocket, LongPathsAreRefusedAndOddOnesNamed) {
  EXPECT_EQ(ConnectUnix(std::string(107, 'x')).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(ConnectUnix("/nonexistent/socket").error().code(), Code::kNotFound);
  EXPECT_EQ(ConnectUnix("").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(ConnectAddress("vsock://3:1024").error().code(), Code::kUnimplemented);
}

TEST(UnixSocket, TextWithoutASchemeIsAnAbstractSocket) {
  const std::string name = StrCat("corten-test-", getpid());
  Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  EXPECT_TRUE(ConnectAddress(name).ok());
}

TEST(UnixSocket, AFullQueueIsWaitedForOnlyAsLongAsAllowed) {
  char dir[] = "/tmp/ttrpc_XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  const std::string path = StrCat(dir, "/s");
  {
    const Fd listener = ListenUnix(path, 0600, 0).value();
    std::vector<Fd> waiting;
    Result<Fd> refused = UnknownError("none");
    for (int i = 0; i < 10; ++i) {
      refused = ConnectUnix(path);
      if (!refused.ok()) break;
      waiting.push_back(std::move(refused).value());
    }
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), Code::kUnavailable);
    EXPECT_EQ(ConnectUnix(path, 20ms).error().code(), Code::kUnavailable);
  }
  EXPECT_EQ(ConnectUnix(path).error().code(), Code::kUnavailable);  // nobody listens
  unlink(path.c_str());
  rmdir(dir);
}

}  // namespace
}  // namespace corten::wire
