#include "wire/ttrpc_codec.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/strcat.h"

namespace corten::wire {
namespace {

struct Seen {
  FrameHeader header;
  std::string payload;
  bool oversized;
  bool operator==(const Seen&) const = default;
};

std::string Frame(uint32_t stream, std::string_view payload, FrameType type = FrameType::kRequest,
                  uint8_t flags = 0) {
  const auto header =
      EncodeFrameHeader({static_cast<uint32_t>(payload.size()), stream, type, flags});
  return StrCat(std::string_view(header.data(), header.size()), payload);
}

std::vector<Seen> Parse(std::string_view bytes, size_t step) {
  std::vector<Seen> seen;
  FrameParser parser;
  for (size_t at = 0; at < bytes.size(); at += step) {
    EXPECT_TRUE(parser.Feed(bytes.substr(at, step),
                            [&](const FrameHeader& header, std::string_view payload, bool over) {
                              seen.push_back({header, std::string(payload), over});
                              return true;
                            }));
  }
  EXPECT_TRUE(parser.AtBoundary());
  return seen;
}

TEST(FrameHeader, IsTenBytesBigEndian) {
  const auto bytes = EncodeFrameHeader({0x01020304, 0x05060708, FrameType::kData, 0x05});
  EXPECT_EQ(std::string_view(bytes.data(), bytes.size()),
            std::string_view("\1\2\3\4\5\6\7\10\3\5", 10));
  EXPECT_EQ(DecodeFrameHeader({bytes.data(), bytes.size()}),
            (FrameHeader{0x01020304, 0x05060708, FrameType::kData, 0x05}));
}

TEST(FrameParser, FindsTheSameFramesHoweverTheBytesArrive) {
  const std::string bytes =
      StrCat(Frame(1, "one"), Frame(3, ""), Frame(5, std::string(5000, 'x')), Frame(7, "last"));
  const std::vector<Seen> whole = Parse(bytes, bytes.size());
  ASSERT_EQ(whole.size(), 4u);
  EXPECT_EQ(whole[0].payload, "one");
  EXPECT_EQ(whole[2].payload.size(), 5000u);
  for (const size_t step : {1u, 2u, 3u, 9u, 10u, 11u, 13u, 4096u})
    EXPECT_EQ(Parse(bytes, step), whole) << step;
}

TEST(FrameParser, APayloadOfExactlyTheLimitPasses) {
  const std::vector<Seen> seen = Parse(Frame(1, std::string(kMaxFramePayload, 'x')), 65536);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_FALSE(seen[0].oversized);
  EXPECT_EQ(seen[0].payload.size(), kMaxFramePayload);
}

TEST(FrameParser, ALargerPayloadIsSkippedAndTheNextFrameFound) {
  const std::string bytes =
      StrCat(Frame(1, std::string(kMaxFramePayload + 1, 'x')), Frame(3, "next"));
  for (const size_t step : {size_t{7}, size_t{65536}, bytes.size()}) {
    const std::vector<Seen> seen = Parse(bytes, step);
    ASSERT_EQ(seen.size(), 2u);
    EXPECT_TRUE(seen[0].oversized);
    EXPECT_EQ(seen[0].header.stream, 1u);
    EXPECT_EQ(seen[1].payload, "next");
  }
}

TEST(FrameParser, StopsWhereTheSinkSaysSo) {
  FrameParser parser;
  int calls = 0;
  EXPECT_FALSE(parser.Feed(StrCat(Frame(1, "a"), Frame(3, "b")),
                           [&](const FrameHeader&, std::string_view, bool) {
                             ++calls;
                             return false;
                           }));
  EXPECT_EQ(calls, 1);
}

TEST(FrameParser, ACutFrameIsNotAtABoundary) {
  FrameParser parser;
  const std::string frame = Frame(1, "abc");
  EXPECT_TRUE(parser.AtBoundary());
  EXPECT_TRUE(parser.Feed(frame.substr(0, 5),
                          [](const FrameHeader&, std::string_view, bool) { return true; }));
  EXPECT_FALSE(parser.AtBoundary());
  EXPECT_TRUE(parser.Feed(frame.substr(5, 6),
                          [](const FrameHeader&, std::string_view, bool) { return true; }));
  EXPECT_FALSE(parser.AtBoundary());
}

TEST(RequestEnvelope, SurvivesARoundTrip) {
  const RequestEnvelope request = {"a.B",
                                   "C",
                                   std::string("\0x\xff", 3),
                                   std::chrono::nanoseconds(-5),
                                   {{"k", "v"}, {"k", "w"}, {"empty", ""}}};
  const Result<RequestEnvelope> back = DecodeRequest(EncodeRequest(request));
  ASSERT_TRUE(back.ok()) << back.error().text();
  EXPECT_EQ(*back, request);
}

TEST(RequestEnvelope, IsTheBytesThatGoWrites) {
  // service "s", method "m", payload "p", timeout_nano 1, metadata {k: v}
  EXPECT_EQ(EncodeRequest({"s", "m", "p", std::chrono::nanoseconds(1), {{"k", "v"}}}),
            std::string("\x0a\x01s\x12\x01m\x1a\x01p\x20\x01\x2a\x06\x0a\x01k\x12\x01v"));
}

TEST(RequestEnvelope, UnknownFieldsAreSkipped) {
  std::string bytes = EncodeRequest({"s", "m", "p", {}, {}});
  bytes += std::string(
      "\x7a\x02zz\x38\x05\x31"
      "12345678"
      "\x3d"
      "1234",
      20);
  const Result<RequestEnvelope> back = DecodeRequest(bytes);
  ASSERT_TRUE(back.ok()) << back.error().text();
  EXPECT_EQ(back->payload, "p");
}

TEST(RequestEnvelope, TextThatIsNoUtf8IsRefusedAndNeverSent) {
  EXPECT_FALSE(DecodeRequest(std::string("\x0a\x01\xff", 3)).ok());
  const Result<RequestEnvelope> back = DecodeRequest(EncodeRequest({"\xff", "m", "", {}, {}}));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->service, "\xef\xbf\xbd");
}

TEST(RequestEnvelope, CutAnywhereItIsAnErrorOrShorter) {
  const std::string bytes =
      EncodeRequest({"service", "method", "payload", std::chrono::seconds(3), {{"key", "value"}}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    const Result<RequestEnvelope> part = DecodeRequest(std::string_view(bytes).substr(0, size));
    if (part.ok()) continue;  // cut between two fields
    EXPECT_EQ(part.error().code(), Code::kInvalidArgument);
  }
}

TEST(RequestEnvelope, RandomBytesNeverCrashTheDecoder) {
  std::mt19937 random(20260101);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes(random() % 64, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    (void)DecodeRequest(bytes);  // any outcome but a crash
    (void)DecodeResponse(bytes);
  }
}

TEST(ResponseEnvelope, AnEmptyResponseIsZeroBytesAndSuccess) {
  EXPECT_EQ(EncodeResponse({}), "");
  const Result<ResponseEnvelope> back = DecodeResponse("");
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->status.code, 0);
}

TEST(ResponseEnvelope, SurvivesARoundTrip) {
  const ResponseEnvelope failed = {{5, "x: not found", {}}, ""};
  EXPECT_EQ(*DecodeResponse(EncodeResponse(failed)), failed);
  const ResponseEnvelope good = {{}, "payload"};
  EXPECT_EQ(EncodeResponse(good), StrCat(EncodeResponsePrefix(7), "payload"));
  EXPECT_EQ(*DecodeResponse(EncodeResponse(good)), good);
}

TEST(ResponseEnvelope, AStatusWithCodeZeroIsSuccess) {
  const Result<ResponseEnvelope> back = DecodeResponse(std::string("\x0a\x00\x12\x01x", 5));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->status.code, 0);
  EXPECT_EQ(back->payload, "x");
}

}  // namespace
}  // namespace corten::wire
