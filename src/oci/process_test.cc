// Environment, capabilities, limits, images: what happens to `process`.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/test_dir.h"
#include "oci/capabilities.h"
#include "oci/environment.h"
#include "oci/image_process.h"
#include "oci/limits.h"

namespace corten::oci {
namespace {

TEST(Environment, ANewValueReplacesAndABareNameRemoves) {
  std::vector<std::string> env = {"PATH=/bin", "A=1", "AB=2"};
  MergeEnv(env, {"A=9", "AB", "N=1", "N=2", "MISSING"});
  EXPECT_EQ(env, (std::vector<std::string>{"PATH=/bin", "A=9", "N=1", "N=2"}));
}

TEST(Environment, AFileIsItsLines) {
  TestDir tmp;
  std::ofstream(tmp.dir().path() + "/env") << "A=1\n# B\n\nC=2=3";
  EXPECT_EQ(ReadEnvFile(tmp.dir().path() + "/env").value(),
            (std::vector<std::string>{"A=1", "# B", "", "C=2=3"}));
  EXPECT_FALSE(ReadEnvFile(tmp.dir().path() + "/none").ok());
}

TEST(Capabilities, BitsHaveTheKernelsNames) {
  EXPECT_EQ(CapabilityNames(1), std::vector<std::string>{"CAP_CHOWN"});
  EXPECT_EQ(CapabilityNames(uint64_t{1} << 21), std::vector<std::string>{"CAP_SYS_ADMIN"});
  EXPECT_EQ(CapabilityNames(uint64_t{1} << 40), std::vector<std::string>{"CAP_CHECKPOINT_RESTORE"});
  EXPECT_TRUE(CapabilityNames(uint64_t{1} << 41).empty());
  EXPECT_TRUE(CurrentCapabilities().ok());
}

TEST(Capabilities, AllThreeSetsChangeAlike) {
  Json process;
  SetCapabilities(process, {"CAP_A", "CAP_B"});
  AddCapabilities(process, {"CAP_B", "CAP_C"});
  DropCapabilities(process, {"CAP_A", "CAP_NONE"});
  for (const char* set : {"bounding", "effective", "permitted"})
    EXPECT_EQ(process["capabilities"][set], Json({"CAP_B", "CAP_C"})) << set;
}

TEST(Capabilities, WordsStandForKnownNames) {
  for (const char* word : {"NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_Net_Admin"})
    EXPECT_EQ(CapabilityOfWord(word).value(), "CAP_NET_ADMIN") << word;
  for (const char* word : {"ALL", "all", "CAP_ALL"})
    EXPECT_EQ(CapabilityOfWord(word).value(), "ALL") << word;
  const auto refusal = [](std::string_view word) {
    const Result<std::string> name = CapabilityOfWord(word);
    return !name.ok() && name.error().Is(Code::kInvalidArgument) ? name.error().text() : "";
  };
  EXPECT_EQ(refusal("net_admn"), R"(unknown capability "net_admn"; did you mean NET_ADMIN?)");
  EXPECT_EQ(refusal("CAP_SYSADMIN"),
            R"(unknown capability "CAP_SYSADMIN"; did you mean SYS_ADMIN?)");
  EXPECT_EQ(refusal("everything"),
            R"(unknown capability "everything": want a name such as NET_ADMIN, or ALL)");
  for (const char* word : {"", "CAP_", "CAP_CAP_KILL", "kill "})
    EXPECT_NE(refusal(word), "") << word;
}

TEST(Capabilities, WhatIsAddedOutlivesWhatIsDropped) {
  using Names = std::vector<std::string>;
  const Names given = {"CAP_CHOWN", "CAP_KILL"};
  EXPECT_EQ(ChangedCapabilities(given, {}, {}).value(), given);
  EXPECT_EQ(ChangedCapabilities(given, {"bpf", "BPF", "kill"}, {"chown", "kill"}).value(),
            (Names{"CAP_BPF", "CAP_KILL"}));
  EXPECT_EQ(ChangedCapabilities(given, {"bpf"}, {"all"}).value(), Names{"CAP_BPF"});
  EXPECT_EQ(ChangedCapabilities(given, {}, {"all"}).value(), Names{});
  const Names all = CurrentCapabilities().value();
  EXPECT_EQ(ChangedCapabilities(given, {"all"}, {}).value(), all);
  EXPECT_EQ(ChangedCapabilities(given, {"all"}, {"all"}).value(), all);
  Names less = all;
  std::erase(less, "CAP_CHOWN");
  EXPECT_EQ(ChangedCapabilities(given, {"all"}, {"chown"}).value(), less);
  EXPECT_TRUE(ChangedCapabilities(given, {"x"}, {}).error().Is(Code::kInvalidArgument));
  EXPECT_TRUE(ChangedCapabilities(given, {}, {"x"}).error().Is(Code::kInvalidArgument));
}

TEST(Limits, OpenFilesAreReplaced) {
  Json process;
  process["rlimits"] = Json::array({{{"type", "RLIMIT_NOFILE"}, {"hard", 1}, {"soft", 1}}});
  ASSERT_TRUE(SetOpenFileLimit(process, "10:20").ok());
  EXPECT_EQ(process["rlimits"],
            Json::array({{{"type", "RLIMIT_NOFILE"}, {"hard", 20}, {"soft", 10}}}));
  ASSERT_TRUE(SetOpenFileLimit(process, "5").ok());
  EXPECT_EQ(process["rlimits"][0]["hard"], 5);
  EXPECT_FALSE(SetOpenFileLimit(process, "x").ok());
  EXPECT_FALSE(SetOpenFileLimit(process, "1:").ok());
}

TEST(Image, ItsUserAndCommandAreTaken) {
  TestDir tmp;
  const Dir root = Dir::Open(tmp.dir().path()).value();
  const WithRoot here = [&](const auto& body) { return body(root); };
  Json process;
  process["env"] = {"K=2", "L=3"};
  ASSERT_TRUE(
      ApplyImage(
          process,
          R"({"config":{"Entrypoint":["/e"],"Cmd":["a"],"Env":["K=1"],"WorkingDir":"/w","User":"5:6"}})",
          {}, here)
          .ok());
  EXPECT_EQ(process["args"], Json({"/e", "a"}));
  EXPECT_EQ(process["env"], Json({"K=2", "L=3"}));
  EXPECT_EQ(process["cwd"], "/w");
  EXPECT_EQ(process["user"], (Json{{"uid", 5}, {"gid", 6}, {"additionalGids", {6}}}));
  EXPECT_FALSE(
      ApplyImage(process, R"({"config":{"User":"nobody-here","Cmd":["a"]}})", {}, here).ok());
  EXPECT_FALSE(ApplyImage(process, "{}", {}, here).ok());
  EXPECT_FALSE(ApplyImage(process, "{", {"a"}, here).ok());
}

}  // namespace
}  // namespace corten::oci
