// Streams and bytes over them, with the test in the place of the call.
#include "services/byte_stream.h"

#include <gtest/gtest.h>

#include <thread>

#include "containerd/types/transfer/streaming.pb.h"

namespace corten::services {
namespace {

namespace types = containerd::types::transfer;

// What a gRPC call would do: at most one read and one write under way.
struct FakeCall {
  explicit FakeCall(Stream& target) : stream(target) {
    stream.Attach({[this] { ++reads; },
                   [this](const model::Any& message) { written.push_back(message); },
                   [this] { finished = true; }});
  }
  void Data(const std::string& bytes) {
    types::Data data;
    data.set_data(bytes);
    stream.OnRead(model::Any{"containerd.types.transfer.Data", data.SerializeAsString()});
  }
  void Window(int32_t bytes) {
    types::WindowUpdate update;
    update.set_update(bytes);
    stream.OnRead(model::Any{"containerd.types.transfer.WindowUpdate", update.SerializeAsString()});
  }
  Stream& stream;
  int reads = 0;
  bool finished = false;
  std::vector<model::Any> written;
};

TEST(StreamTest, MessagesLeaveOneAfterTheOtherAndTheCallEndsWhenAllHaveLeft) {
  Stream stream;
  FakeCall call(stream);
  ASSERT_TRUE(stream.TrySend({"a", ""}));
  ASSERT_TRUE(stream.TrySend({"b", ""}));
  EXPECT_EQ(call.written.size(), 1u);
  stream.Close();
  EXPECT_FALSE(call.finished);
  stream.OnWritten(true);
  EXPECT_EQ(call.written.back().type_url, "b");
  stream.OnWritten(true);
  EXPECT_TRUE(call.finished);
  EXPECT_FALSE(stream.TrySend({"c", ""}));
  EXPECT_EQ(stream.Send({"c", ""}, {}).error().code(), Code::kUnavailable);
}

TEST(StreamTest, WhatNobodyTakesIsNotReadOnForEver) {
  Stream stream;
  FakeCall call(stream);
  int given = 0;
  while (call.reads > given) {  // as long as it asks
    ++given;
    call.Data(std::string(64 << 10, 'x'));
    ASSERT_LT(given, 1000);
  }
  EXPECT_GE(given, static_cast<int>(Stream::kMaxInbox >> 16));
  EXPECT_TRUE(stream.Receive({}).value().has_value());
  EXPECT_TRUE(stream.Receive({}).value().has_value());
  EXPECT_GT(call.reads, given);
}

TEST(StreamTest, WhatNobodyReadsIsNotQueuedForEver) {
  Stream stream;
  FakeCall call(stream);
  size_t taken = 0;
  while (stream.TrySend({"p", ""})) ++taken;
  EXPECT_EQ(taken, Stream::kMaxOutbox);
  EXPECT_EQ(stream.Send({"q", ""}, [] { return true; }).error().code(), Code::kCanceled);
}

TEST(StreamTest, WaitingEndsWithTheClientTheCallerOrTheClock) {
  Stream stream;
  FakeCall call(stream);
  EXPECT_EQ(stream.Receive([] { return true; }).error().code(), Code::kCanceled);
  EXPECT_EQ(stream.Receive({}, std::chrono::milliseconds(1)).error().code(),
            Code::kDeadlineExceeded);
  std::thread gone([&] { stream.OnGone(); });
  EXPECT_EQ(stream.Receive({}).error().code(), Code::kUnavailable);
  gone.join();
}

TEST(StreamTest, TheClientsEndComesAfterItsMessages) {
  Stream stream;
  FakeCall call(stream);
  call.Data("x");
  stream.OnRead(std::nullopt);
  EXPECT_TRUE(stream.Receive({}).value().has_value());
  EXPECT_FALSE(stream.Receive({}).value().has_value());
}

TEST(StreamTableTest, AnIdIsTakenOncePerNamespaceUntilItsCallEnds) {
  StreamTable table;
  const model::Scope one{model::Namespace("one"), {}};
  const model::Scope two{model::Namespace("two"), {}};
  auto stream = std::make_shared<Stream>();
  ASSERT_TRUE(table.Add(one, "id", stream).ok());
  EXPECT_EQ(table.Add(one, "id", std::make_shared<Stream>()).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(table.Add(one, "", stream).error().code(), Code::kInvalidArgument);
  EXPECT_TRUE(table.Add(two, "id", std::make_shared<Stream>()).ok());
  EXPECT_EQ(table.Get(one.ns, "id").value(), stream);
  EXPECT_EQ(table.Get(one.ns, "other").error().code(), Code::kNotFound);
  table.Forget(two.ns, "id", stream.get());  // another stream's end
  EXPECT_TRUE(table.Get(two.ns, "id").ok());
  table.Forget(one.ns, "id", stream.get());
  EXPECT_FALSE(table.Get(one.ns, "id").ok());
}

TEST(ByteStreamTest, AReaderGrantsBeforeItWaits) {
  auto stream = std::make_shared<Stream>();
  FakeCall call(*stream);
  call.Data("hello");
  stream->OnRead(model::Any{"something.else", "x"});
  call.Data(" world");
  stream->OnRead(std::nullopt);
  StreamSource source(stream, {});
  std::string out;
  char buffer[3];
  while (true) {
    const size_t n = source.Read(buffer).value();
    if (n == 0) break;
    out.append(buffer, n);
  }
  EXPECT_EQ(out, "hello world");
  types::WindowUpdate update;
  ASSERT_TRUE(update.ParseFromString(call.written.at(0).value));
  EXPECT_GE(update.update(), 65536);
}

TEST(ByteStreamTest, AWriterStaysWithinTheWindowAndThePieceSize) {
  auto stream = std::make_shared<Stream>();
  FakeCall call(*stream);
  call.Window(40000);
  stream->OnRead(std::nullopt);
  StreamSink sink(stream, {});
  const std::string data(100000, 'x');
  EXPECT_EQ(sink.Write(data).error().code(),
            Code::kUnavailable);  // no more window, and the client has ended
  stream->OnWritten(true);
  size_t sent = 0;
  for (const model::Any& message : call.written) {
    types::Data piece;
    ASSERT_TRUE(piece.ParseFromString(message.value));
    EXPECT_LE(piece.data().size(), 32768u);
    sent += piece.data().size();
  }
  EXPECT_EQ(sent, 40000u);
}

}  // namespace
}  // namespace corten::services
