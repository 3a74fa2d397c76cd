#include "oci/spec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/dir.h"
#include "base/test_dir.h"
#include "oci/json.h"

namespace corten::oci {
namespace {

using Json = nlohmann::json;

SpecRequest Request() {
  SpecRequest request;
  request.ns = "n";
  request.id = "c";
  request.image_config =
      R"({"config":{"Entrypoint":["/e"],"Cmd":["a"],"Env":["PATH=/x","K=1"],"WorkingDir":"/w","User":"5:6"}})";
  return request;
}

TEST(Spec, TheImageSaysWhatRunsUnlessTheCallDoes) {
  const Json spec = Json::parse(MakeSpec(Request()).value());
  EXPECT_EQ(spec["process"]["args"], Json({"/e", "a"}));
  EXPECT_EQ(spec["process"]["env"], Json({"PATH=/x", "K=1"}));
  EXPECT_EQ(spec["process"]["cwd"], "/w");
  EXPECT_EQ(spec["process"]["user"]["gid"], 6);
  EXPECT_EQ(spec["linux"]["cgroupsPath"], "/n/c");
  SpecRequest over = Request();
  over.args = {"b", "c"};
  over.env = {"K=2", "L=3"};
  over.user = "7";
  const Json other = Json::parse(MakeSpec(over).value());
  EXPECT_EQ(other["process"]["args"], Json({"/e", "b", "c"}));
  EXPECT_EQ(other["process"]["env"], Json({"PATH=/x", "K=2", "L=3"}));
  EXPECT_EQ(other["process"]["user"]["uid"], 7);
}

TEST(Spec, NamesOfUsersAreLookedUpInTheRoot) {
  const TestDir temp;
  const std::string path = temp.dir().path();
  ASSERT_TRUE(MakeDirs(path + "/etc", 0755).ok());
  std::ofstream(path + "/etc/passwd") << "web:x:33:34::/:/bin/sh\n";
  std::ofstream(path + "/etc/group") << "data:x:35:web\n";
  SpecRequest request = Request();
  request.with_root = [&](const std::function<Status(const Dir& root)>& body) -> Status {
    const Dir root = TRY(Dir::Open(path));
    return body(root);
  };
  request.user = "web";
  const Json user = Json::parse(MakeSpec(request).value())["process"]["user"];
  EXPECT_EQ(user["uid"], 33);
  EXPECT_EQ(user["gid"], 34);
  EXPECT_EQ(user["additionalGids"], Json({34, 35}));
  request.user = "nobody-knows";
  EXPECT_EQ(MakeSpec(request).error().code(), Code::kNotFound);
}

TEST(Spec, AnEntrypointReplacesTheImagesAndItsCommand) {
  SpecRequest request = Request();
  request.entrypoint = "/own";
  EXPECT_EQ(Json::parse(MakeSpec(request).value())["process"]["args"], Json::array({"/own"}));
  request.args = {"x"};
  EXPECT_EQ(Json::parse(MakeSpec(request).value())["process"]["args"], Json({"/own", "x"}));
  request.entrypoint = "";
  EXPECT_EQ(Json::parse(MakeSpec(request).value())["process"]["args"], Json::array({"x"}));
}

TEST(Spec, RightsAreAddedAndTakenAndFilteredByAProfile) {
  SpecRequest request = Request();
  request.cap_add = {"sys_time"};
  request.cap_drop = {"CAP_CHOWN"};
  request.seccomp = true;
  Json spec = Json::parse(MakeSpec(request).value());
  const std::vector<std::string> held = spec["process"]["capabilities"]["bounding"];
  EXPECT_EQ(std::count(held.begin(), held.end(), "CAP_SYS_TIME"), 1);
  EXPECT_EQ(std::count(held.begin(), held.end(), "CAP_CHOWN"), 0);
  EXPECT_NE(spec["linux"]["seccomp"].dump().find("clock_settime"), std::string::npos);
  request.privileged = true;
  EXPECT_FALSE(Json::parse(MakeSpec(request).value())["linux"].contains("seccomp"));
  request.cap_add = {"sys_tyme"};
  EXPECT_EQ(MakeSpec(request).error().code(), Code::kInvalidArgument);
}

TEST(Spec, NonsenseIsRefusedWithAReason) {
  SpecRequest request = Request();
  request.user = "root";
  EXPECT_EQ(MakeSpec(request).error().code(), Code::kInvalidArgument);
  request = Request();
  request.image_config = "{";
  EXPECT_FALSE(MakeSpec(request).ok());
  request.image_config = "{}";
  EXPECT_NE(MakeSpec(request).error().text().find("no command"), std::string::npos);
}

TEST(Spec, DocumentsThatNeedTooMuchStackAreRefused) {
  const auto nested = [](size_t depth) {
    return StrCat(R"({"process":{"args":[],"x":)", std::string(depth, '['), std::string(depth, ']'),
                  "}}");
  };
  EXPECT_TRUE(MakeExecProcess(nested(62), {"ls"}, {}, false, "").ok());
  const Result<std::string> deep = MakeExecProcess(nested(1 << 20), {"ls"}, {}, false, "");
  ASSERT_FALSE(deep.ok());
  EXPECT_EQ(deep.error().text(), "container spec: nested too deeply");
  EXPECT_TRUE(ParseObject(R"({"text":"[[[\"{"})", "x").ok()) << "brackets in a string";
}

TEST(Spec, AnExecTakesTheContainersProcess) {
  const std::string spec = MakeSpec(Request()).value();
  const Json process = Json::parse(MakeExecProcess(spec, {"ls"}, {"Z=1"}, true, "").value());
  EXPECT_EQ(process["args"], Json({"ls"}));
  EXPECT_TRUE(process["terminal"].get<bool>());
  EXPECT_EQ(process["cwd"], "/w");
  EXPECT_EQ(process["env"].back(), "Z=1");
  EXPECT_FALSE(MakeExecProcess("{}", {"ls"}, {}, false, "").ok());
}

TEST(Spec, ATerminalHasItsOwnSizeAndNotTheContainers) {
  SpecRequest request = Request();
  EXPECT_FALSE(Json::parse(MakeSpec(request).value())["process"].contains("consoleSize"));
  request.terminal = true;
  request.console_size = ConsoleSize{24, 80};
  const std::string spec = MakeSpec(request).value();
  EXPECT_EQ(Json::parse(spec)["process"]["consoleSize"], (Json{{"height", 24}, {"width", 80}}));
  const auto exec = [&](std::optional<ConsoleSize> size) {
    return Json::parse(MakeExecProcess(spec, {"ls"}, {}, true, "", size).value());
  };
  EXPECT_FALSE(exec(std::nullopt).contains("consoleSize"));
  EXPECT_EQ(exec(ConsoleSize{1, 2})["consoleSize"]["width"], 2);
}

}  // namespace
}  // namespace corten::oci
