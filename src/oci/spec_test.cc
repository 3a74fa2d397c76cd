#include "oci/spec.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

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

TEST(Spec, AnExecTakesTheContainersProcess) {
  const std::string spec = MakeSpec(Request()).value();
  const Json process = Json::parse(MakeExecProcess(spec, {"ls"}, {"Z=1"}, true, "").value());
  EXPECT_EQ(process["args"], Json({"ls"}));
  EXPECT_TRUE(process["terminal"].get<bool>());
  EXPECT_EQ(process["cwd"], "/w");
  EXPECT_EQ(process["env"].back(), "Z=1");
  EXPECT_FALSE(MakeExecProcess("{}", {"ls"}, {}, false, "").ok());
}

}  // namespace
}  // namespace corten::oci
