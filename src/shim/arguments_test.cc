#include "shim/arguments.h"

#include <gtest/gtest.h>

namespace corten::shim {
namespace {

Result<Arguments> Parse(std::vector<std::string_view> words) { return ParseArguments(words); }

TEST(Arguments, FlagsComeInEveryGoForm) {
  const auto arguments = Parse({"-namespace", "ns", "--id=c1", "-address", "/run/c.sock",
                                "-publish-binary=/bin/d", "-bundle", "/b", "-debug", "start"});
  ASSERT_TRUE(arguments.ok()) << arguments.error().text();
  EXPECT_EQ(arguments->action, Action::kStart);
  EXPECT_EQ(arguments->ns, "ns");
  EXPECT_EQ(arguments->id, "c1");
  EXPECT_EQ(arguments->address, "/run/c.sock");
  EXPECT_EQ(arguments->publish_binary, "/bin/d");
  EXPECT_EQ(arguments->bundle, "/b");
  EXPECT_TRUE(arguments->debug);
}

TEST(Arguments, WithoutAnActionItServes) {
  const auto arguments = Parse({"-namespace", "ns", "-id", "c1", "-debug=false"});
  ASSERT_TRUE(arguments.ok());
  EXPECT_EQ(arguments->action, Action::kServe);
  EXPECT_FALSE(arguments->debug);
}

TEST(Arguments, AnEmptyNamespaceIsRefusedExceptForInformation) {
  for (const char* action : {"start", "delete"}) {
    const auto arguments = Parse({"-id", "c1", action});
    ASSERT_FALSE(arguments.ok());
    EXPECT_EQ(arguments.error().text(), "shim namespace cannot be empty");
  }
  EXPECT_FALSE(Parse({}).ok());
  EXPECT_EQ(Parse({"-info"})->action, Action::kInfo);
  EXPECT_EQ(Parse({"-v"})->action, Action::kVersion);
  EXPECT_EQ(Parse({"--version"})->action, Action::kVersion);
}

TEST(Arguments, WhatIsNotUnderstoodIsNamed) {
  EXPECT_NE(Parse({"-nonsense"}).error().text().find("-nonsense"), std::string::npos);
  EXPECT_NE(Parse({"-namespace"}).error().text().find("-namespace"), std::string::npos);
  EXPECT_NE(Parse({"-namespace", "n", "stop"}).error().text().find("\"stop\""), std::string::npos);
  EXPECT_FALSE(Parse({"-namespace", "n", "-debug=perhaps"}).ok());
}

TEST(Arguments, OwnActionsTakeAPath) {
  EXPECT_EQ(Parse({"unmount", "/x"})->operand, "/x");
  EXPECT_EQ(Parse({"mount", "/y"})->action, Action::kMount);
  EXPECT_FALSE(Parse({"unmount"}).ok());
}

}  // namespace
}  // namespace corten::shim
