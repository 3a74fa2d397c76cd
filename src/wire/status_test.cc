#include "wire/status.h"

#include <gtest/gtest.h>

#include "google/rpc/status.pb.h"
#include "wire/proto_fields.h"

namespace corten::wire {
namespace {

TEST(WireStatus, TextEndsInTheMarkerOfItsCode) {
  const RpcStatus status = StatusFromError(NotFoundError("container ", Quoted("x")));
  EXPECT_EQ(status.code, 5);
  EXPECT_EQ(status.message, "container \"x\": not found");
}

TEST(WireStatus, MarkersDoNotPileUpOnTheWayThrough) {
  Error error = NotFoundError("container \"x\"");
  for (int hop = 0; hop < 3; ++hop) {
    const RpcStatus status = StatusFromError(error);
    error = ErrorFromStatus(status).Context("hop");
  }
  EXPECT_EQ(error.WireText(), "hop: hop: hop: container \"x\": not found");
  EXPECT_EQ(error.code(), Code::kNotFound);
}

TEST(WireStatus, TextThatIsOnlyTheMarkerStays) {
  EXPECT_EQ(ErrorFromStatus(5, "not found").WireText(), "not found");
  EXPECT_EQ(ErrorFromStatus(5, "").WireText(), "not found");
  EXPECT_EQ(ErrorFromStatus(4, "context deadline exceeded").WireText(),
            "context deadline exceeded");
}

TEST(WireStatus, ConflictAndNotModifiedAreToldByTheirText) {
  const Error conflict = ErrorFromStatus(9, "update: conflict");
  EXPECT_EQ(conflict.code(), Code::kFailedPrecondition);
  EXPECT_EQ(conflict.WireText(), "update: conflict");
  EXPECT_EQ(ErrorFromStatus(9, "image: not modified").WireText(), "image: not modified");
  EXPECT_EQ(ErrorFromStatus(9, "x: failed precondition").text(), "x");
}

TEST(WireStatus, UnknownErrorsKeepTheirText) {
  EXPECT_EQ(StatusFromError(UnknownError("cannot delete a running process")).message,
            "cannot delete a running process");
  EXPECT_EQ(ErrorFromStatus(2, "a: unknown").WireText(), "a: unknown");
}

TEST(WireStatus, CodesOutsideTheTableBecomeUnknown) {
  EXPECT_EQ(ErrorFromStatus(17, "x").code(), Code::kUnknown);
  EXPECT_EQ(ErrorFromStatus(-1, "x").code(), Code::kUnknown);
}

TEST(WireStatus, EveryCodeSurvivesARoundTrip) {
  for (int code = 1; code <= 16; ++code) {
    const Error error(static_cast<Code>(code), "subject");
    const RpcStatus status = StatusFromError(error);
    EXPECT_EQ(status.code, code);
    const Error back = ErrorFromStatus(status);
    EXPECT_EQ(back.code(), error.code());
    EXPECT_EQ(back.text(), "subject");
  }
}

TEST(WireStatus, LongTextsKeepTheirBeginningAndTheirMarker) {
  const RpcStatus status = StatusFromError(NotFoundError("container ", std::string(100000, 'x')));
  EXPECT_LE(status.message.size(), kMaxStatusText);
  EXPECT_TRUE(status.message.starts_with("container xxx"));
  EXPECT_TRUE(status.message.ends_with("xxx: not found"));
}

TEST(WireStatus, BytesThatAreNoTextAreMended) {
  const RpcStatus status = StatusFromError(NotFoundError("file \xff\xfe"));
  EXPECT_TRUE(IsValidUtf8(status.message));
  EXPECT_EQ(status.message, "file \xef\xbf\xbd\xef\xbf\xbd: not found");
}

TEST(WireStatus, BytesEqualWhatProtobufWrites) {
  RpcStatus status{9, "x: conflict", {}};
  google::protobuf::Any any;
  any.set_type_url("a.B");
  any.set_value("v");
  status.details.push_back(any.SerializeAsString());
  google::rpc::Status message;
  ASSERT_TRUE(message.ParseFromString(EncodeStatus(status)));
  EXPECT_EQ(message.code(), 9);
  EXPECT_EQ(message.message(), "x: conflict");
  ASSERT_EQ(message.details_size(), 1);
  EXPECT_EQ(message.details(0).type_url(), "a.B");
  const Result<RpcStatus> back = DecodeStatus(message.SerializeAsString());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, status);
}

TEST(WireStatus, NegativeCodesTravelAsProtobufWritesThem) {
  google::rpc::Status message;
  message.set_code(-3);
  const Result<RpcStatus> back = DecodeStatus(message.SerializeAsString());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->code, -3);
  EXPECT_EQ(EncodeStatus(*back), message.SerializeAsString());
}

TEST(WireStatus, GarbageIsAnError) {
  EXPECT_FALSE(DecodeStatus("\x0a").ok());
  EXPECT_FALSE(DecodeStatus("\xff\xff\xff\xff").ok());
  EXPECT_FALSE(DecodeStatus(std::string("\x12\x05"
                                        "ab",
                                        4))
                   .ok());
}

}  // namespace
}  // namespace corten::wire
