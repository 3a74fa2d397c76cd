#include "daemon/oci_hook.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/test_dir.h"

namespace corten::daemon {
namespace {

HookFacts Facts() {
  return {"c1", "/run/b", "/run/b/rootfs", "42", "created", {{"com.example/key", "value"}}};
}

TEST(OciHook, FactsStandWhereTheyAreAskedFor) {
  EXPECT_EQ(*ExpandHookText("--id={{id}} {{ bundle }} {{rootfs}}:{{pid}}/{{status}}", Facts()),
            "--id=c1 /run/b /run/b/rootfs:42/created");
  EXPECT_EQ(*ExpandHookText("{{annotation \"com.example/key\"}}", Facts()), "value");
  EXPECT_EQ(*ExpandHookText("{{ annotation `com.example/key` }}!", Facts()), "value!");
  EXPECT_EQ(*ExpandHookText("[{{annotation \"other\"}}]", Facts()), "[]");
  EXPECT_EQ(*ExpandHookText("plain } { text }}", Facts()), "plain } { text }}");
}

TEST(OciHook, WhatIsNotUnderstoodIsAnErrorThatNamesIt) {
  for (const char* text : {"{{", "{{id", "{{name}}", "{{annotation}}", "{{annotation key}}",
                           "{{annotation \"a\" \"b\"}}", "{{if id}}x{{end}}"}) {
    const Result<std::string> expanded = ExpandHookText(text, Facts());
    ASSERT_FALSE(expanded.ok()) << text;
    EXPECT_TRUE(expanded.error().Is(Code::kInvalidArgument)) << expanded.error().text();
  }
}

TEST(OciHook, StateAndBundleAreRead) {
  const TestDir dir;
  std::ofstream(dir.Path("config.json")) << R"({"root":{"path":"rootfs"}})";
  const Result<HookFacts> facts = ReadHookFacts(
      StrCat(R"({"ociVersion":"1.0.2","id":"c1","status":"created","pid":7,"bundle":")",
             dir.dir().path(), R"(","annotations":{"a":"b"}})"));
  ASSERT_TRUE(facts.ok()) << facts.error().text();
  EXPECT_EQ(facts->id, "c1");
  EXPECT_EQ(facts->pid, "7");
  EXPECT_EQ(facts->rootfs, dir.Path("rootfs"));
  EXPECT_EQ(facts->annotations.at("a"), "b");
}

TEST(OciHook, ABrokenStateOrAMissingBundleIsTold) {
  EXPECT_TRUE(ReadHookFacts("[1]").error().Is(Code::kInvalidArgument));
  EXPECT_TRUE(ReadHookFacts("").error().Is(Code::kInvalidArgument));
  EXPECT_TRUE(ReadHookFacts(R"({"id":"c1","bundle":"/nonexistent"})").error().Is(Code::kNotFound));
}

}  // namespace
}  // namespace corten::daemon
