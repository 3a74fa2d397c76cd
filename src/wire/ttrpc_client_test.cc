#include "wire/ttrpc_client.h"

#include <atomic>
#include <thread>

#include "containerd/task/v3/task.pb.h"
#include "wire/ttrpc_fixture.h"
#include "wire/ttrpc_messages.h"

namespace corten::wire {
namespace {

using std::literals::chrono_literals::operator""ms;
using std::literals::chrono_literals::operator""ns;
using std::literals::chrono_literals::operator""s;

using TtrpcClientTest = TtrpcTest;

TEST_F(TtrpcClientTest, ACallBringsItsAnswer) {
  const auto client = MakeClient();
  const Result<std::string> answer = Call(*client, "Echo", "hello");
  ASSERT_TRUE(answer.ok()) << answer.error().text();
  EXPECT_EQ(*answer, "hello");
  EXPECT_EQ(client->in_flight(), 0u);
}

TEST_F(TtrpcClientTest, ErrorsKeepCodeAndText) {
  const auto client = MakeClient();
  const Result<std::string> answer = Call(*client, "Fail", "x");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), Code::kNotFound);
  EXPECT_EQ(answer.error().text(), "thing \"x\"");
  EXPECT_EQ(answer.error().WireText(), "thing \"x\": not found");
}

TEST_F(TtrpcClientTest, ADroppedReplyIsAnInternalError) {
  const auto client = MakeClient();
  EXPECT_EQ(Call(*client, "Drop", "").error().code(), Code::kInternal);
}

TEST_F(TtrpcClientTest, MetadataAndTimeoutReachTheHandler) {
  Metadata seen;
  std::optional<Loop::Clock::time_point> deadline;
  server->HandleUnary("test.S", "Meta", [&](const CallInfo& info, std::string_view, Reply reply) {
    seen = info.metadata;
    deadline = info.deadline;
    reply.Send("");
  });
  const auto client = MakeClient();
  const Metadata sent = {{std::string(kNamespaceKeyTtrpc), "ns1"}, {"k", "a"}, {"k", "b"}};
  const auto before = Loop::Clock::now();
  ASSERT_TRUE(Call(*client, "Meta", "", {5s, sent}).ok());
  EXPECT_EQ(seen, sent);
  EXPECT_EQ(FindMetadata(seen, "k"), "a");
  ASSERT_TRUE(deadline.has_value());
  EXPECT_GE(*deadline, before + 5s);
  EXPECT_LT(*deadline, before + 60s);
}

TEST_F(TtrpcClientTest, AThousandCallsAtOnceAreAllAnsweredInAnyOrder) {
  const auto client = MakeClient();
  std::vector<std::string> answers(1000);
  size_t answered = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    client->Call("test.S", "Park", "", {}, [&, i](Result<std::string> result) {
      answers[i] = result.ok() ? *result : result.error().text();
      ++answered;
    });
  }
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 1000; }));
  EXPECT_EQ(client->in_flight(), 1000u);
  for (size_t i = parked.size(); i-- > 0;) parked[i].Send(StrCat("answer ", i));  // last first
  ASSERT_TRUE(RunUntil(*loop, [&] { return answered == 1000; }));
  for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i], StrCat("answer ", i));
}

TEST_F(TtrpcClientTest, TheEndOfTheConnectionFailsEveryCallAndIsReportedOnce) {
  const auto client = MakeClient();
  std::vector<Error> errors;
  int closed = 0;
  client->OnClosed([&](const Error&) {
    EXPECT_EQ(errors.size(), 2u);  // after the calls
    ++closed;
  });
  for (int i = 0; i < 2; ++i) {
    client->Call("test.S", "Park", "", {},
                 [&](Result<std::string> result) { errors.push_back(result.error().Clone()); });
  }
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 2; }));
  server->Close();
  ASSERT_TRUE(RunUntil(*loop, [&] { return closed == 1; }));
  for (const Error& error : errors) {
    EXPECT_TRUE(IsClosedError(error));
    EXPECT_EQ(error.code(), Code::kUnknown);
    EXPECT_EQ(error.WireText(), "ttrpc: closed");
  }
  EXPECT_TRUE(client->closed());
  EXPECT_TRUE(IsClosedError(Call(*client, "Echo", "").error()));
  client->Close();
  EXPECT_EQ(closed, 1);
}

TEST_F(TtrpcClientTest, AnswersThatCameBeforeTheEndAreStillDelivered) {
  const auto client = MakeClient();
  std::optional<Result<std::string>> answer;
  bool closed = false;
  client->OnClosed([&](const Error&) { closed = true; });
  server->HandleUnary("test.S", "AnswerAndClose",
                      [&](const CallInfo&, std::string_view, Reply reply) {
                        reply.Send("last words");
                        server->Close();
                      });
  client->Call("test.S", "AnswerAndClose", "", {},
               [&](Result<std::string> result) { answer.emplace(std::move(result)); });
  ASSERT_TRUE(RunUntil(*loop, [&] { return closed; }));
  ASSERT_TRUE(answer.has_value());
  ASSERT_TRUE(answer->ok());
  EXPECT_EQ(**answer, "last words");
}

TEST_F(TtrpcClientTest, ADeadlineEndsTheWaitingAndALateAnswerIsDropped) {
  auto [ours, theirs] = SocketPair();
  RawPeer silent(*loop, std::move(ours));
  const auto client = TtrpcClient::Create(*loop, std::move(theirs)).value();
  int runs = 0;
  std::optional<Result<std::string>> answer;
  client->Call("test.S", "Park", "", {20ms, {}}, [&](Result<std::string> result) {
    ++runs;
    answer.emplace(std::move(result));
  });
  ASSERT_TRUE(RunUntil(*loop, [&] { return runs == 1; }));
  EXPECT_EQ(answer->error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(answer->error().WireText(), "context deadline exceeded");
  silent.Write(RawFrame(1, FrameType::kResponse, 0, EncodeResponse({{}, "late"})));
  // The next call shows that the late frame was read.
  answer.reset();
  client->Call("test.S", "Echo", "", {},
               [&](Result<std::string> result) { answer.emplace(std::move(result)); });
  silent.Write(RawFrame(3, FrameType::kResponse, 0, EncodeResponse({{}, "good"})));
  ASSERT_TRUE(RunUntil(*loop, [&] { return answer.has_value(); }));
  EXPECT_EQ(**answer, "good");
  EXPECT_EQ(runs, 1);
}

TEST_F(TtrpcClientTest, ATimeoutThatIsOverAlreadySendsNothing) {
  const auto client = MakeClient();
  EXPECT_EQ(Call(*client, "Echo", "", {-1ns, {}}).error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(server->counters().calls, 0u);
}

TEST_F(TtrpcClientTest, ACancelledCallNeverCallsBack) {
  const auto client = MakeClient();
  bool called = false;
  const auto call =
      client->Call("test.S", "Park", "", {}, [&](Result<std::string>) { called = true; });
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 1; }));
  EXPECT_TRUE(client->Cancel(call));
  EXPECT_FALSE(client->Cancel(call));
  parked[0].Send("too late");
  EXPECT_EQ(*Call(*client, "Echo", "next"), "next");
  EXPECT_FALSE(called);
}

TEST_F(TtrpcClientTest, TooLargeARequestIsRefusedHere) {
  const auto client = MakeClient();
  EXPECT_EQ(Call(*client, "Echo", std::string(kMaxFramePayload, 'x')).error().code(),
            Code::kResourceExhausted);
  EXPECT_EQ(*Call(*client, "Echo", "small"), "small");
  EXPECT_EQ(server->counters().calls, 1u);
}

TEST_F(TtrpcClientTest, AnOversizedAnswerFailsItsCallOnly) {
  auto [ours, theirs] = SocketPair();
  RawPeer peer(*loop, std::move(ours));
  const auto client = TtrpcClient::Create(*loop, std::move(theirs)).value();
  std::optional<Result<std::string>> first;
  std::optional<Result<std::string>> second;
  client->Call("s", "m", "", {},
               [&](Result<std::string> result) { first.emplace(std::move(result)); });
  client->Call("s", "m", "", {},
               [&](Result<std::string> result) { second.emplace(std::move(result)); });
  peer.Write(RawFrame(1, FrameType::kResponse, 0, std::string(kMaxFramePayload + 1, 'x')));
  peer.Write(RawFrame(3, FrameType::kResponse, 0, EncodeResponse({{}, "fine"})));
  ASSERT_TRUE(RunUntil(*loop, [&] { return second.has_value(); }));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->error().code(), Code::kResourceExhausted);
  EXPECT_EQ(**second, "fine");
}

TEST_F(TtrpcClientTest, WhatAServerShouldNotSendHurtsNoOtherCall) {
  auto [ours, theirs] = SocketPair();
  RawPeer peer(*loop, std::move(ours));
  const auto client = TtrpcClient::Create(*loop, std::move(theirs)).value();
  std::vector<std::optional<Result<std::string>>> answers(3);
  for (auto& answer : answers) {
    client->Call("s", "m", "", {},
                 [&answer](Result<std::string> result) { answer.emplace(std::move(result)); });
  }
  peer.Write(RawFrame(99, FrameType::kResponse, 0, "x"));        // nobody's
  peer.Write(RawFrame(1, static_cast<FrameType>(42), 0, "x"));   // no such type
  peer.Write(RawFrame(1, FrameType::kData, 0, "x"));             // data for a unary call
  peer.Write(RawFrame(3, FrameType::kResponse, 0, "\xff\xff"));  // not a response
  peer.Write(RawFrame(5, FrameType::kResponse, 0, ""));          // an empty message
  ASSERT_TRUE(RunUntil(*loop, [&] { return answers[2].has_value(); }));
  EXPECT_EQ(answers[0]->error().code(), Code::kInternal);
  EXPECT_EQ(answers[1]->error().code(), Code::kInternal);
  EXPECT_EQ(**answers[2], "");
}

TEST_F(TtrpcClientTest, CallsInFlightAndQueuedBytesAreBounded) {
  TtrpcClient::Options options;
  options.max_in_flight = 3;
  options.max_queue = 3 << 20;
  auto [ours, theirs] = SocketPair();  // nobody reads: calls wait in the client
  std::vector<Error> errors;
  const auto note = [&](Result<std::string> result) { errors.push_back(result.error().Clone()); };
  const auto client = TtrpcClient::Create(*loop, std::move(theirs), options).value();
  EXPECT_NE(client->Call("s", "m", std::string(2 << 20, 'x'), {}, note), 0u);
  EXPECT_EQ(client->Call("s", "m", std::string(2 << 20, 'x'), {}, note), 0u);  // over the queue
  EXPECT_NE(client->Call("s", "m", "", {}, note), 0u);
  EXPECT_NE(client->Call("s", "m", "", {}, note), 0u);
  EXPECT_EQ(client->Call("s", "m", "", {}, note), 0u);  // over the number
  EXPECT_TRUE(errors.empty());                          // never inside the call
  ASSERT_TRUE(RunUntil(*loop, [&] { return errors.size() == 2; }));
  for (const Error& error : errors) EXPECT_EQ(error.code(), Code::kResourceExhausted);
  client->Close();
  EXPECT_EQ(errors.size(), 5u);
}

TEST_F(TtrpcClientTest, AClientWhoseIdsAreUsedUpSaysSo) {
  TtrpcClient::Options options;
  options.first_stream = 0xffffffff;
  const auto client = MakeClient(options);
  EXPECT_EQ(*Call(*client, "Echo", "last"), "last");
  EXPECT_EQ(Call(*client, "Echo", "none left").error().code(), Code::kUnavailable);
}

TEST_F(TtrpcClientTest, ACallbackMayDestroyTheClient) {
  auto client = MakeClient();
  bool answered = false;
  int failed = 0;
  client->Call("test.S", "Echo", "", {}, [&](Result<std::string>) {
    answered = true;
    client.reset();
  });
  client->Call("test.S", "Park", "", {},
               [&](Result<std::string> result) { failed += result.ok() ? 0 : 1; });
  ASSERT_TRUE(RunUntil(*loop, [&] { return answered && server->connections() == 0; }));
  EXPECT_EQ(failed, 1);
}

TEST_F(TtrpcClientTest, OtherThreadsMayCallAndWait) {
  auto client = MakeClient();
  const TtrpcCaller caller = client->caller();
  std::atomic<int> good{0};
  std::atomic<int> running{4};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 250; ++i) {
        const std::string text = StrCat(t, "/", i);
        const Result<std::string> answer = caller.Call("test.S", "Echo", text, {10s, {}});
        if (answer.ok() && *answer == text) ++good;
      }
      --running;
    });
  }
  EXPECT_TRUE(RunUntil(*loop, [&] { return running == 0; }));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 1000);
}

TEST_F(TtrpcClientTest, AWaitingThreadIsReleasedByTheEndAndByItsDeadline) {
  auto client = MakeClient();
  const TtrpcCaller caller = client->caller();
  std::atomic<int> done{0};
  Error released = UnknownError("");
  Error late = UnknownError("");
  std::thread one([&] {
    released = caller.Call("test.S", "Park", "").error().Clone();
    ++done;
  });
  ASSERT_TRUE(RunUntil(*loop, [&] { return parked.size() == 1; }));
  std::thread two([&] {
    late = caller.Call("test.S", "Park", "", {20ms, {}}).error().Clone();
    ++done;
  });
  ASSERT_TRUE(RunUntil(*loop, [&] { return done == 1; }));
  client.reset();
  ASSERT_TRUE(RunUntil(*loop, [&] { return done == 2; }));
  one.join();
  two.join();
  EXPECT_TRUE(IsClosedError(released));
  EXPECT_EQ(late.code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(
      IsClosedError(caller.Call("test.S", "Echo", "").error()));  // the loop does not even run
}

TEST_F(TtrpcClientTest, AStuckLoopDoesNotHoldACallerBeyondItsDeadline) {
  const auto client = MakeClient();
  const TtrpcCaller caller = client->caller();
  // Nobody runs the loop.
  EXPECT_EQ(caller.Call("test.S", "Echo", "", {10ms, {}}).error().code(), Code::kDeadlineExceeded);
}

TEST_F(TtrpcClientTest, GeneratedMessagesTravelBothWays) {
  using containerd::task::v3::StateRequest;
  using containerd::task::v3::StateResponse;
  HandleMessage<StateRequest, StateResponse>(
      *server, "containerd.task.v3.Task", "State",
      [](const CallInfo&, const StateRequest& request, ReplyTo<StateResponse> reply) {
        if (request.id() != "c1") return reply.Fail(NotFoundError("container not created"));
        StateResponse response;
        response.set_pid(17);
        reply.Send(response);
      });
  const auto client = MakeClient();
  std::optional<Result<StateResponse>> answer;
  const auto keep = [&](Result<StateResponse> result) { answer.emplace(std::move(result)); };
  StateRequest request;
  request.set_id("c1");
  CallMessage<StateResponse>(*client, "containerd.task.v3.Task", "State", request, {}, keep);
  ASSERT_TRUE(RunUntil(*loop, [&] { return answer.has_value(); }));
  ASSERT_TRUE(answer->ok());
  EXPECT_EQ((*answer)->pid(), 17u);

  answer.reset();
  request.set_id("c2");
  CallMessage<StateResponse>(*client, "containerd.task.v3.Task", "State", request, {}, keep);
  ASSERT_TRUE(RunUntil(*loop, [&] { return answer.has_value(); }));
  EXPECT_EQ(answer->error().WireText(), "container not created: not found");

  std::optional<Result<std::string>> raw;
  client->Call("containerd.task.v3.Task", "State", "\xff", {},
               [&](Result<std::string> r) { raw.emplace(std::move(r)); });
  ASSERT_TRUE(RunUntil(*loop, [&] { return raw.has_value(); }));
  EXPECT_EQ(raw->error().code(), Code::kInternal);
}

}  // namespace
}  // namespace corten::wire
