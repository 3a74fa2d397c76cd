#include "shim/json.h"

#include <gtest/gtest.h>

#include <vector>

namespace corten::shim {
namespace {

TEST(Json, MembersAreFoundByPath) {
  const auto json = JsonView::Parse(R"( {"a":{"b":[1,{"c":"x"}],"d":true},"e":-7,"f":null} )");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->Find("e")->Integer(), -7);
  EXPECT_EQ(json->Find("a", "d")->Bool(), true);
  EXPECT_EQ(json->Find("f")->kind(), JsonView::Kind::kNull);
  EXPECT_FALSE(json->Find("a", "missing").has_value());
  EXPECT_FALSE(json->Find("e", "below a number").has_value());
  std::vector<std::string> texts;
  json->Find("a", "b")->ForEach([&](const JsonView& element) {
    texts.emplace_back(element.text());
    return true;
  });
  EXPECT_EQ(texts, (std::vector<std::string>{"1", R"({"c":"x"})"}));
}

TEST(Json, EscapesAreUndoneInNamesAndValues) {
  const auto json =
      JsonView::Parse(R"({"k\u0065y":"\"\\\/\b\f\n\r\t\u00e4\u20ac\ud83d\ude00\ud800"})");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->StringAt("key"),
            "\"\\/\b\f\n\r\t\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd");
}

TEST(Json, MembersAreVisitedInOrder) {
  std::vector<std::string> seen;
  const auto visit = [&](const std::string& name, const JsonView& value) {
    seen.push_back(name + "=" + std::string(value.text()));
    return seen.size() < 3;
  };
  JsonView::Parse(R"({"":1,"\u0061":{"b":2},"c":[3],"d":4})")->ForEachMember(visit);
  EXPECT_EQ(seen, (std::vector<std::string>{"=1", R"(a={"b":2})", "c=[3]"}));
  seen.clear();
  JsonView::Parse("{}")->ForEachMember(visit);
  JsonView::Parse("[1]")->ForEachMember(visit);
  EXPECT_TRUE(seen.empty());
}

TEST(Json, OfDuplicateNamesTheLastCounts) {
  EXPECT_EQ(JsonView::Parse(R"({"a":1,"a":2})")->Find("a")->Integer(), 2);
}

TEST(Json, WhatIsNoJsonIsRefused) {
  for (const char* bad :
       {"",        " ",           "{",      "}",   "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "[1,]",
        "[1 2]",   "01",          "1.",     "1e",  "-",       "tru",      "nul",        "\"",
        "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "1 2", "{1:2}",   "'a'"}) {
    EXPECT_FALSE(JsonView::Parse(bad).ok()) << bad;
  }
  for (const char* good : {"0", "-0.5e+3", "[]", "{}", "[[],{}]", "\"\"", " null "}) {
    EXPECT_TRUE(JsonView::Parse(good).ok()) << good;
  }
}

TEST(Json, DepthIsBounded) {
  const std::string deep = std::string(60, '[') + std::string(60, ']');
  EXPECT_TRUE(JsonView::Parse(deep).ok());
  const std::string deeper = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_FALSE(JsonView::Parse(deeper).ok());
}

TEST(Json, NumbersThatAreNotWholeAreNoIntegers) {
  EXPECT_FALSE(JsonView::Parse("1.5")->Integer().has_value());
  EXPECT_FALSE(JsonView::Parse("99999999999999999999")->Integer().has_value());
}

}  // namespace
}  // namespace corten::shim
