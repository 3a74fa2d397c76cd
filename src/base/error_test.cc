#include "base/error.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>

namespace corten {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return InvalidArgumentError("number ", n, ": odd");
  return n / 2;
}

Result<std::unique_ptr<int>> Quarter(int n) {
  const int half = TRY(Half(n));
  const int quarter = TRY(Half(half).Context("second half"));
  return std::make_unique<int>(quarter);
}

TEST(Result, TryReturnsTheErrorWithItsContext) {
  ASSERT_TRUE(Quarter(8).ok());
  EXPECT_EQ(**Quarter(8), 2);
  const auto failed = Quarter(6);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), Code::kInvalidArgument);
  EXPECT_EQ(failed.error().text(), "second half: number 3: odd");
  EXPECT_EQ(failed.error().WireText(), "second half: number 3: odd: invalid argument");
}

TEST(Error, FromErrnoKeepsErrnoAndMapsTheCode) {
  const Error error = Error::FromErrno(ENOENT, "open x");
  EXPECT_EQ(error.code(), Code::kNotFound);
  EXPECT_EQ(error.sys_errno(), ENOENT);
  EXPECT_EQ(error.text(), "open x: no such file or directory");
}

TEST(Error, WireTextDoesNotRepeatTheMarker) {
  EXPECT_EQ(NotFoundError("container \"x\": not found").WireText(), "container \"x\": not found");
  EXPECT_EQ(FailedPreconditionError("snapshot: conflict").WireText(), "snapshot: conflict");
}

TEST(Quoted, EscapesLikeGo) { EXPECT_EQ(Quoted("a\"b\n\x01"), "\"a\\\"b\\n\\x01\""); }

}  // namespace
Status RunTwice(const std::function<Status()>& fn) {
  TRY(fn());
  return fn();
}

TEST(Error, TryMayStandInALambdaInsideATry) {
  int sum = 0;
  const auto nested = [&]() -> Status {
    TRY(RunTwice([&]() -> Status {
      sum += TRY(Half(8));
      return Ok();
    }));
    return Ok();
  };
  EXPECT_TRUE(nested().ok());
  EXPECT_EQ(sum, 8);
}

}  // namespace corten
