#include <gtest/gtest.h>

#include "model/descriptor.h"
#include "model/ids.h"
#include "model/labels.h"

namespace corten::model {
namespace {

TEST(Identifier, FollowsContainerdsRule) {
  for (const char* good : {"a", "A1", "a-b", "a.b_c-d", "0"})
    EXPECT_TRUE(ValidateIdentifier(good, "identifier").ok()) << good;
  EXPECT_TRUE(ValidateIdentifier(std::string(76, 'x'), "identifier").ok());
  for (const char* bad : {"", "-a", "a-", "a..b", "a/b", "a b", "\xc3\xa4"})
    EXPECT_FALSE(ValidateIdentifier(bad, "identifier").ok()) << bad;
  EXPECT_FALSE(ValidateIdentifier(std::string(77, 'x'), "identifier").ok());
}

TEST(Labels, HaveALimitOfKeyPlusValue) {
  EXPECT_TRUE(ValidateLabels({{"k", std::string(4095, 'v')}}).ok());
  EXPECT_EQ(ValidateLabels({{"k", std::string(4096, 'v')}}).error().code(), Code::kInvalidArgument);
}

TEST(Digest, ParsesOnlyKnownForms) {
  const std::string hex(64, 'a');
  EXPECT_EQ(Digest::Parse("sha256:" + hex).value().hex(), hex);
  EXPECT_TRUE(Digest::Parse("sha512:" + std::string(128, '0')).ok());
  for (const std::string& bad : std::vector<std::string>{
           std::string("sha256:"), "sha256:" + hex + "a", "sha256:" + std::string(64, 'A'),
           std::string("md5:abc"), hex, std::string(":x")}) {
    EXPECT_FALSE(Digest::Parse(bad).ok()) << bad;
  }
}

TEST(Platform, ParsesAndFormats) {
  EXPECT_EQ(FormatPlatform(ParsePlatform("linux/aarch64").value()), "linux/arm64");
  EXPECT_EQ(FormatPlatform(ParsePlatform("armhf").value()), "linux/arm/v7");
  EXPECT_EQ(FormatPlatform(ParsePlatform("linux(+erofs)/amd64").value()), "linux(+erofs)/amd64");
  EXPECT_FALSE(ParsePlatform("linux/amd64/v2/x").ok());
  EXPECT_FALSE(ParsePlatform("nonsense").ok());
}

TEST(Platform, MatchesCompatibleMachinesInOrder) {
  const Platform amd64 = ParsePlatform("linux/amd64").value();
  EXPECT_EQ(PlatformMatch(amd64, amd64), 0);
  EXPECT_GT(PlatformMatch(amd64, ParsePlatform("linux/386").value()), 0);
  EXPECT_EQ(PlatformMatch(amd64, ParsePlatform("linux/arm64").value()), -1);
  const Platform v7 = ParsePlatform("linux/arm/v7").value();
  EXPECT_LT(PlatformMatch(v7, v7), PlatformMatch(v7, ParsePlatform("linux/arm/v6").value()));
}

TEST(Labels, UpdateTouchesWhatThePathsName) {
  Labels labels = {{"a", "1"}, {"b.c/d", "2"}};
  ASSERT_TRUE(
      UpdateLabels(labels, {{"b.c/d", "3"}, {"x", "y"}}, {"labels.b.c/d", "labels.a"}).ok());
  EXPECT_EQ(labels, (Labels{{"b.c/d", "3"}}));
  ASSERT_TRUE(UpdateLabels(labels, {{"n", "1"}, {"empty", ""}}, {}).ok());
  EXPECT_EQ(labels, (Labels{{"n", "1"}}));
  ASSERT_TRUE(UpdateLabels(labels, {{"m", "1"}}, {"labels"}).ok());
  EXPECT_EQ(labels, (Labels{{"m", "1"}}));
  EXPECT_TRUE(UpdateLabels(labels, {}, {"size"}).error().Is(Code::kInvalidArgument));
  EXPECT_TRUE(
      UpdateLabels(labels, {{"k", std::string(4096, 'v')}}, {}).error().Is(Code::kInvalidArgument));
  EXPECT_EQ(labels, (Labels{{"m", "1"}}));
}

}  // namespace
}  // namespace corten::model
