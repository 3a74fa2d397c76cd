#include "cli/indent.h"

#include <gtest/gtest.h>

namespace corten::cli {
namespace {

TEST(IndentJson, SetsMembersOnLinesOfTheirOwn) {
  EXPECT_EQ(IndentJson(R"({"a":[1,{"b":"c"}],"d":{}})", "|", "  "),
            "{\n"
            "|  \"a\": [\n"
            "|    1,\n"
            "|    {\n"
            "|      \"b\": \"c\"\n"
            "|    }\n"
            "|  ],\n"
            "|  \"d\": {}\n"
            "|}");
}

TEST(IndentJson, LeavesTextsAsTheyAre) {
  EXPECT_EQ(IndentJson(R"({ "a, b" : "{\"x\": \\" })", "", " "),
            "{\n \"a, b\": \"{\\\"x\\\": \\\\\"\n}");
}

TEST(IndentJson, SurvivesWhatIsNoJson) {
  EXPECT_EQ(IndentJson("]]}", "", " "), "\n]\n]\n}");
  EXPECT_EQ(IndentJson("", "", " "), "");
}

}  // namespace
}  // namespace corten::cli
