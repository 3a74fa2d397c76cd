#include "wire/ttrpc_fixture.h"

namespace corten::wire {
namespace {

class TtrpcStreamTest : public TtrpcTest {
 protected:
  TtrpcStreamTest() {
    // Sends the request three times over.
    server->HandleStream("test.S", "Thrice", StreamKind::kServer,
                         [](const CallInfo&, std::shared_ptr<ServerStream> stream) {
                           stream->OnMessage([stream](std::string payload) {
                             for (int i = 0; i < 3; ++i)
                               EXPECT_TRUE(stream->Send(StrCat(payload, i)).ok());
                             stream->Finish();
                           });
                         });
    // Answers with all messages joined.
    server->HandleStream(
        "test.S", "Join", StreamKind::kClient,
        [](const CallInfo&, std::shared_ptr<ServerStream> stream) {
          const auto all = std::make_shared<std::string>();
          stream->OnMessage([all](std::string payload) { all->append(payload).append("."); });
          stream->OnHalfClose([all, stream] { stream->Finish(*all); });
        });
    // Sends back each message; "stop" fails the call.
    server->HandleStream(
        "test.S", "Chat", StreamKind::kBidirectional,
        [this](const CallInfo&, std::shared_ptr<ServerStream> stream) {
          stream->OnMessage([stream](std::string payload) {
            if (payload == "stop") {
              stream->Fail(AbortedError("stopped"));
            } else {
              EXPECT_TRUE(stream->Send(payload).ok());
            }
          });
          stream->OnHalfClose([stream] { stream->Finish(); });
          stream->OnCancel([this](const Error& why) { cancels.push_back(why.Clone()); });
        });
  }

  ClientStream::Events Keep() {
    return {[this](std::string payload) { messages.push_back(std::move(payload)); },
            [this](Result<std::string> result) {
              EXPECT_FALSE(end.has_value());
              end.emplace(std::move(result));
            }};
  }
  bool RunToEnd() {
    return RunUntil(*loop, [&] { return end.has_value(); });
  }

  std::vector<std::string> messages;
  std::optional<Result<std::string>> end;
};

RequestEnvelope Request(std::string_view method, std::string_view payload = "") {
  return {"test.S", std::string(method), std::string(payload), {}, {}};
}

TEST_F(TtrpcStreamTest, AServerStreamBringsItsMessagesAndThenItsEnd) {
  const auto client = MakeClient();
  const auto stream = client->OpenServerStream("test.S", "Thrice", "m", Keep()).value();
  ASSERT_TRUE(RunToEnd());
  EXPECT_TRUE(end->ok());
  EXPECT_EQ(messages, (std::vector<std::string>{"m0", "m1", "m2"}));
  EXPECT_EQ(stream->Send("x").error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(server->calls(), 0u);
}

TEST_F(TtrpcStreamTest, AServerStreamTakesAnEmptyRequestAsItsMessage) {
  const auto client = MakeClient();
  const auto stream = client->OpenServerStream("test.S", "Thrice", "", Keep()).value();
  ASSERT_TRUE(RunToEnd());
  EXPECT_EQ(messages.size(), 3u);
}

TEST_F(TtrpcStreamTest, AClientStreamEndsInOneResponse) {
  const auto client = MakeClient();
  const auto stream = client->OpenStream("test.S", "Join", Keep()).value();
  for (const char* part : {"a", "", "c"}) ASSERT_TRUE(stream->Send(part).ok());
  ASSERT_TRUE(stream->CloseSend().ok());
  EXPECT_EQ(stream->CloseSend().error().code(), Code::kFailedPrecondition);
  ASSERT_TRUE(RunToEnd());
  EXPECT_EQ(**end, "a..c.");
  EXPECT_TRUE(messages.empty());
}

TEST_F(TtrpcStreamTest, BothSidesTalkAtOnce) {
  const auto client = MakeClient();
  const auto stream = client->OpenStream("test.S", "Chat", Keep()).value();
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(stream->Send(StrCat("m", i)).ok());
  ASSERT_TRUE(stream->CloseSend().ok());
  ASSERT_TRUE(RunToEnd());
  EXPECT_TRUE(end->ok());
  ASSERT_EQ(messages.size(), 500u);
  EXPECT_EQ(messages[499], "m499");
}

TEST_F(TtrpcStreamTest, AFailureEndsTheStreamWithItsStatus) {
  const auto client = MakeClient();
  const auto stream = client->OpenStream("test.S", "Chat", Keep()).value();
  ASSERT_TRUE(stream->Send("one").ok());
  ASSERT_TRUE(stream->Send("stop").ok());
  ASSERT_TRUE(RunToEnd());
  EXPECT_EQ(end->error().code(), Code::kAborted);
  EXPECT_EQ(messages, std::vector<std::string>{"one"});
  EXPECT_EQ(stream->Send("more").error().code(), Code::kCanceled);
}

TEST_F(TtrpcStreamTest, UnknownStreamMethodsFailAsUnaryOnesDo) {
  const auto client = MakeClient();
  const auto stream = client->OpenStream("test.S", "Nope", Keep()).value();
  ASSERT_TRUE(RunToEnd());
  EXPECT_EQ(end->error().code(), Code::kUnimplemented);
}

TEST_F(TtrpcStreamTest, AnAbandonedStreamIsSilentAndTheConnectionStays) {
  const auto client = MakeClient();
  auto stream = client->OpenStream("test.S", "Chat", Keep()).value();
  ASSERT_TRUE(stream->Send("x").ok());
  stream.reset();
  EXPECT_EQ(*Call(*client, "Echo", "after"), "after");
  EXPECT_TRUE(messages.empty());
  EXPECT_FALSE(end.has_value());
}

TEST_F(TtrpcStreamTest, TheEndOfTheConnectionEndsStreamsOnBothSides) {
  auto client = MakeClient();
  const auto stream = client->OpenStream("test.S", "Chat", Keep()).value();
  ASSERT_TRUE(stream->Send("x").ok());
  ASSERT_TRUE(RunUntil(*loop, [&] { return messages.size() == 1; }));
  client.reset();
  EXPECT_TRUE(IsClosedError(end->error()));
  ASSERT_TRUE(RunUntil(*loop, [&] { return cancels.size() == 1; }));
  EXPECT_EQ(cancels[0].code(), Code::kCanceled);
  EXPECT_EQ(server->calls(), 0u);
}

TEST_F(TtrpcStreamTest, AServerThatIsDestroyedLeavesNoStreamBehind) {
  const auto client = MakeClient();
  const auto stream = client->OpenStream("test.S", "Chat", Keep()).value();
  ASSERT_TRUE(stream->Send("x").ok());
  ASSERT_TRUE(RunUntil(*loop, [&] { return messages.size() == 1; }));
  server.reset();
  ASSERT_TRUE(RunToEnd());
  EXPECT_TRUE(IsClosedError(end->error()));
}

TEST_F(TtrpcStreamTest, ADroppedServerStreamFailsTheCall) {
  server->HandleStream("test.S", "DropStream", StreamKind::kBidirectional,
                       [](const CallInfo&, std::shared_ptr<ServerStream>) {});
  const auto client = MakeClient();
  const auto stream = client->OpenStream("test.S", "DropStream", Keep()).value();
  ASSERT_TRUE(RunToEnd());
  EXPECT_EQ(end->error().code(), Code::kInternal);
}

TEST_F(TtrpcStreamTest, ASendThatThePeerDoesNotTakeIsRefusedNotQueuedForEver) {
  std::shared_ptr<ServerStream> kept;
  server->HandleStream(
      "test.S", "Pour", StreamKind::kServer,
      [&](const CallInfo&, std::shared_ptr<ServerStream> stream) { kept = std::move(stream); });
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Pour"), kFlagRemoteClosed);
  ASSERT_TRUE(RunUntil(*loop, [&] { return kept != nullptr; }));
  const std::string block(512 * 1024, 'x');
  int sent = 0;
  while (sent < 100 && kept->Send(block).ok()) ++sent;
  EXPECT_LT(sent, 10);
  EXPECT_EQ(kept->Send(block).error().code(), Code::kResourceExhausted);
  for (int i = 0; i < sent; ++i) EXPECT_EQ(peer.Read().payload.size(), block.size());
  EXPECT_TRUE(kept->Send("room again").ok());
  EXPECT_EQ(peer.Read().payload, "room again");
  kept->Finish();
  EXPECT_EQ(peer.Read().header,
            (FrameHeader{0, 1, FrameType::kData, kFlagRemoteClosed | kFlagNoData}));
}

// ---- frames of a client that is not ours

TEST_F(TtrpcStreamTest, TheFramesOfAServerStreamAreThoseOfTheProtocol) {
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Thrice", "m"), kFlagRemoteClosed);
  for (int i = 0; i < 3; ++i) {
    const RawPeer::Frame frame = peer.Read();
    EXPECT_EQ(frame.header, (FrameHeader{2, 1, FrameType::kData, 0}));
    EXPECT_EQ(frame.payload, StrCat("m", i));
  }
  EXPECT_EQ(peer.Read().header,
            (FrameHeader{0, 1, FrameType::kData, kFlagRemoteClosed | kFlagNoData}));
  peer.Data(1, 0, "x");
  EXPECT_EQ(peer.ReadResponse(1).status.code, 3);  // finished
}

TEST_F(TtrpcStreamTest, AnEmptyClosingFrameAfterAClosedRequestIsHarmless) {
  std::shared_ptr<ServerStream> kept;
  server->HandleStream(
      "test.S", "Hold", StreamKind::kServer,
      [&](const CallInfo&, std::shared_ptr<ServerStream> stream) { kept = std::move(stream); });
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Hold"), kFlagRemoteOpen);
  peer.Data(1, kFlagRemoteClosed | kFlagNoData, "");
  ASSERT_TRUE(RunUntil(*loop, [&] { return kept != nullptr; }));
  EXPECT_TRUE(kept->Send("still on").ok());
  EXPECT_EQ(peer.Read().payload, "still on");
  kept->Finish();
}

TEST_F(TtrpcStreamTest, DataAfterTheClientsEndIsRefusedAndEndsTheCall) {
  std::shared_ptr<ServerStream> kept;
  server->HandleStream(
      "test.S", "Hold", StreamKind::kBidirectional,
      [&](const CallInfo&, std::shared_ptr<ServerStream> stream) {
        stream->OnCancel([&](const Error& why) { cancels.push_back(why.Clone()); });
        kept = std::move(stream);
      });
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Hold"), kFlagRemoteOpen);
  peer.Data(1, kFlagRemoteClosed | kFlagNoData, "");
  peer.Data(1, 0, "too late");
  EXPECT_EQ(peer.ReadResponse(1).status.code, 3);
  EXPECT_EQ(cancels.size(), 1u);
  EXPECT_EQ(kept->Send("x").error().code(), Code::kCanceled);
}

TEST_F(TtrpcStreamTest, DataInAClosingFrameIsDeliveredAndThenRefused) {
  std::vector<std::string> seen;
  std::shared_ptr<ServerStream> kept;
  server->HandleStream(
      "test.S", "Hold", StreamKind::kBidirectional,
      [&](const CallInfo&, std::shared_ptr<ServerStream> stream) {
        stream->OnMessage([&](std::string payload) { seen.push_back(std::move(payload)); });
        kept = std::move(stream);
      });
  RawPeer peer = MakePeer();
  peer.Request(1, Request("Hold"), kFlagRemoteOpen);
  peer.Data(1, kFlagRemoteClosed, "last");
  EXPECT_EQ(peer.ReadResponse(1).status.code, 3);
  EXPECT_EQ(seen, std::vector<std::string>{"last"});
}

TEST_F(TtrpcStreamTest, ALastMessageFromTheServerMayCloseTheStream) {
  auto [ours, theirs] = SocketPair();
  RawPeer peer(*loop, std::move(ours));
  const auto client = TtrpcClient::Create(*loop, std::move(theirs)).value();
  const auto stream = client->OpenServerStream("s", "m", "", Keep()).value();
  peer.Data(1, kFlagRemoteClosed, "with data");
  ASSERT_TRUE(RunToEnd());
  EXPECT_TRUE(end->ok());
  EXPECT_EQ(messages, std::vector<std::string>{"with data"});
}

}  // namespace
}  // namespace corten::wire
