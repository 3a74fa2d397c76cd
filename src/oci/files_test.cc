// What comes from files of the administrator: YAML, CDI devices, classes of block I/O; and the
// AppArmor profile that goes to its parser.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/dir.h"
#include "base/spawn.h"
#include "base/test_dir.h"
#include "oci/apparmor_profile.h"
#include "oci/block_io.h"
#include "oci/cdi.h"
#include "oci/yaml_document.h"

namespace corten::oci {
namespace {

void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

TEST(Yaml, ScalarsAreWhatTheyLookLike) {
  const Json json =
      ParseYaml("a: 0644\nb: '0644'\nc: [yes, ~, 1.5, -3, 0x1F, text]\nd: {e: \"7\"}\n").value();
  EXPECT_EQ(Text(json), R"({"a":420,"b":"0644","c":[true,null,1.5,-3,31,"text"],"d":{"e":"7"}})");
  EXPECT_TRUE(ParseYaml("").value().is_null());
  EXPECT_EQ(ParseYaml(R"({"x": [1, {"y": "z"}]})").value()["x"][1]["y"], "z");
}

TEST(Yaml, WhatIsWrongIsNamedWithItsLine) {
  EXPECT_EQ(ParseYaml("a: 1\na: 2\n").error().text(), "yaml: line 2: key \"a\" twice");
  EXPECT_TRUE(ParseYaml("a: [1\nb: 2\n").error().text().starts_with("yaml: line "));
  EXPECT_TRUE(ParseYaml("? [a]\n: b\n").error().Is(Code::kInvalidArgument));
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += StrCat("a", i, ": &a", i, " [");
    for (int j = 0; j < 10; ++j) bomb += StrCat(j == 0 ? "*a" : ", *a", i - 1);
    bomb += "]\n";
  }
  EXPECT_NE(ParseYaml(bomb).error().text().find("too large"), std::string::npos);
  EXPECT_FALSE(ParseYaml(std::string(10000, '[')).ok());
}

TEST(Cdi, NamesHaveVendorClassAndDevice) {
  for (const char* good : {"v.com/c=d", "a/b=1", "vendor.com/a-b_c.d=x:y.z"})
    EXPECT_TRUE(IsCdiName(good)) << good;
  for (const char* bad :
       {"", "/dev/null", "v/c", "v/c=", "v=c", "1v/c=d", "v/c=a/b", "v/c=-a", "v/c=a=b", "v /c=d"})
    EXPECT_FALSE(IsCdiName(bad)) << bad;
}

constexpr const char* kSpec = R"({"cdiVersion": "0.7.0", "kind": "v.com/c",
  "containerEdits": {"env": ["ALL=1"]},
  "devices": [
    {"name": "a", "containerEdits": {
      "env": ["A=1", "PATH=/cdi"],
      "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null"}, {"path": "/dev/y", "type": "b", "major": 7, "minor": 3, "permissions": "r", "uid": 9}],
      "mounts": [{"hostPath": "/etc", "containerPath": "/m/deep", "options": ["ro"]}, {"hostPath": "/usr", "containerPath": "/proc", "type": "bind"}],
      "hooks": [{"hookName": "poststop", "path": "/bin/h", "args": ["h"], "timeout": 3}],
      "additionalGids": [0, 5, 5]}},
    {"name": "b", "containerEdits": {"env": ["B=2"]}}]})";

Json Container() {
  return Json::parse(
      R"({"process":{"user":{"uid":1000,"gid":0},"env":["PATH=/bin"]},)"
      R"("mounts":[{"destination":"/proc","type":"proc"},{"destination":"/dev/pts"},{"destination":"/sys"}],"linux":{"devices":[{"path":"/dev/y"}]}})");
}

TEST(Cdi, EveryEditReachesTheSpecificationOnce) {
  TestDir tmp;
  Write(tmp.dir().path() + "/v.json", kSpec);
  const CdiRegistry registry = CdiRegistry::Load({tmp.dir().path(), "/none"});
  EXPECT_TRUE(registry.problems().empty());
  Json spec = Container();
  ASSERT_TRUE(registry.Inject({"v.com/c=a", "v.com/c=b"}, spec).ok());
  EXPECT_EQ(spec["process"]["env"], (Json{"PATH=/bin", "ALL=1", "A=1", "PATH=/cdi", "B=2"}));
  EXPECT_EQ(spec["process"]["user"]["additionalGids"], Json({5}));
  ASSERT_EQ(spec["linux"]["devices"].size(), 2u);  // /dev/y was replaced
  const Json& x = spec["linux"]["devices"][0];
  EXPECT_EQ(Text(x["path"]), "\"/dev/x\"");
  EXPECT_EQ(x["major"], 1);
  EXPECT_EQ(x["minor"], 3);
  EXPECT_EQ(x["uid"], 1000);
  EXPECT_FALSE(x.contains("gid") || x.contains("hostPath"));
  EXPECT_EQ(spec["linux"]["devices"][1]["uid"], 9);
  EXPECT_EQ(Text(spec["linux"]["resources"]["devices"][1]),
            R"({"allow":true,"type":"b","major":7,"minor":3,"access":"r"})");
  std::string order;
  for (const Json& mount : spec["mounts"]) order += mount["destination"].get<std::string>() + " ";
  EXPECT_EQ(order, "/sys /proc /dev/pts /m/deep ");
  EXPECT_EQ(Text(spec["hooks"]), R"({"poststop":[{"path":"/bin/h","args":["h"],"timeout":3}]})");
}

TEST(Cdi, ADeviceThatIsNotThereChangesNothing) {
  TestDir tmp;
  Write(tmp.dir().path() + "/v.json", kSpec);
  Write(tmp.dir().path() + "/n.yaml",
        "cdiVersion: 0.5.0\nkind: n.com/c\ndevices:\n- name: gone\n  containerEdits:\n    "
        "deviceNodes: [{path: /dev/no/where}]\n");
  const CdiRegistry registry = CdiRegistry::Load({tmp.dir().path()});
  Json spec = Container();
  EXPECT_EQ(registry.Inject({"v.com/c=a", "v.com/c=z", "x/y=z"}, spec).error().text(),
            "unresolvable CDI devices v.com/c=z, x/y=z");
  EXPECT_EQ(registry.Inject({"v.com/c=a", "n.com/c=gone"}, spec).error().text(),
            "failed to inject devices: failed to stat CDI host device \"/dev/no/where\": no such "
            "file or directory");
  EXPECT_EQ(spec, Container());
}

TEST(Cdi, TheLaterDirectoryCountsAndOneFileDoesNotFightAnother) {
  TestDir tmp;
  const std::string low = tmp.dir().path() + "/low";
  const std::string high = tmp.dir().path() + "/high";
  ASSERT_EQ(mkdir(low.c_str(), 0755) + mkdir(high.c_str(), 0755), 0);
  const auto text = [](const std::string& name, const std::string& value) {
    return StrCat("cdiVersion: 0.3.0\nkind: v.com/c\ndevices:\n- name: ", name,
                  "\n  containerEdits: {env: [WHO=", value, "]}\n");
  };
  Write(low + "/a.yaml", text("one", "low"));
  Write(high + "/a.yaml", text("one", "high"));
  Write(high + "/b.yaml", text("two", "first"));
  Write(high + "/c.yaml", text("two", "second"));
  Write(high + "/d.txt", "no CDI file");
  Write(high + "/e.yaml", "garbage");
  const CdiRegistry registry = CdiRegistry::Load({low, high});
  Json spec = Json::object();
  ASSERT_TRUE(registry.Inject({"v.com/c=one"}, spec).ok());
  EXPECT_EQ(spec["process"]["env"], Json({"WHO=high"}));
  EXPECT_FALSE(registry.Inject({"v.com/c=two"}, spec).ok());
  ASSERT_EQ(registry.problems().size(), 2u);
  EXPECT_NE(registry.problems()[0].find("conflicting device \"v.com/c=two\""), std::string::npos);
  EXPECT_NE(registry.problems()[1].find("e.yaml"), std::string::npos);
}

TEST(Cdi, WhatTheVersionDoesNotKnowIsRefused) {
  const auto parse = [](const std::string& version, const std::string& edits) {
    return ParseCdiSpec(StrCat(R"({"cdiVersion":")", version,
                               R"(","kind":"v.com/c","devices":[{"name":"d","containerEdits":)",
                               edits, "}]}"));
  };
  EXPECT_TRUE(parse("0.3.0", R"({"env":["A=1"]})").ok());
  for (const auto& [version, edits, text] : std::vector<std::array<std::string, 3>>{
           {"9.0.0", "{}", "invalid version \"9.0.0\""},
           {"0.6.0", R"({"additionalGids":[1]})", "must be at least v0.7.0"},
           {"1.0.0", R"({"netDevices":[{"hostInterfaceName":"a","name":"b"}]})", "at least v1.1.0"},
           {"0.3.0", R"({"mounts":[{"hostPath":"a","containerPath":"b","type":"t"}]})",
            "at least v0.4.0"},
           {"0.3.0", "{}", "empty device edits"},
           {"0.3.0", R"({"env":["A"]})", "invalid environment variable \"A\""},
           {"0.3.0", R"({"env":{}})", "field \"env\": of another type"},
           {"0.3.0", R"({"hooks":[{"hookName":"no","path":"/x"}]})", "invalid hook name \"no\""},
           {"0.3.0", R"({"deviceNodes":[{"path":"/x","permissions":"z"}]})",
            "invalid permissions \"z\""},
           {"0.3.0", R"({"mounts":[{"hostPath":"","containerPath":"b"}]})", "empty host path"},
           {"0.3.0", R"({"surprise":1})", "unknown field \"surprise\""}}) {
    const Result<CdiSpec> spec = parse(version, edits);
    ASSERT_FALSE(spec.ok()) << edits;
    EXPECT_NE(spec.error().text().find(text), std::string::npos) << spec.error().text();
  }
}

TEST(BlockIo, ClassesHaveWeightsAndRatesOfDevices) {
  const BlockIoClasses classes =
      BlockIoClasses::Parse("classes:\n  fast:\n  - weight: '80'\n  none: []\n").value();
  EXPECT_EQ(Text(classes.Find("fast").value()), R"({"weight":80})");
  EXPECT_EQ(Text(classes.Find("none").value()), "{}");
  EXPECT_EQ(classes.Find("slow").error().text(), "no OCI BlockIO parameters for class \"slow\"");
  const BlockIoClasses odd =
      BlockIoClasses::Parse(
          "Classes: {c: [{Devices: [/dev/null, /dev/no*where], ThrottleReadBps: 1.5Ki}]}")
          .value();
  EXPECT_EQ(Text(odd.Find("c").value()), "{}");
  EXPECT_EQ(odd.warnings().size(), 2u);
}

// Some block device of this machine; "" if it shows none.
std::string AnyBlockDevice() {
  for (const auto& entry : std::filesystem::directory_iterator("/dev")) {
    std::error_code failed;
    if (entry.is_block_file(failed)) return entry.path();
  }
  return {};
}

TEST(BlockIo, AWeightThatTheSchedulerIgnoresIsTold) {
  const std::string device = AnyBlockDevice();
  if (device.empty()) GTEST_SKIP() << "no block device in /dev";
  struct stat st = {};
  ASSERT_EQ(stat(device.c_str(), &st), 0);
  TestDir tmp;
  const std::string disk =
      StrCat(tmp.dir().path(), "/", major(st.st_rdev), ":", minor(st.st_rdev), "/queue");
  const auto warnings = [&](const char* what) {
    return BlockIoClasses::Parse(StrCat("Classes: {c: [{Devices: [", device, "], ", what, "}]}"),
                                 tmp.dir().path())
        .value()
        .warnings();
  };
  EXPECT_TRUE(warnings("Weight: 50").empty()) << "a disk that is not known";
  std::filesystem::create_directories(disk);
  for (const auto& [list, told] : std::vector<std::pair<std::string, std::string>>{
           {"none [mq-deadline] kyber bfq\n", "mq-deadline"},
           {"none mq-deadline kyber [bfq]\n", ""},
           {"noop deadline [cfq]\n", ""},
           {"none\n", "none"},
           {"[none]\n", "none"},
           {"none mq-deadline\n", ""},
           {"", ""}}) {
    std::ofstream(disk + "/scheduler") << list;
    std::vector<std::string> expected;
    if (!told.empty())
      expected = {StrCat("weight has no effect on \"", device, "\", whose I/O scheduler is ", told,
                         ": bfq or cfq is required")};
    EXPECT_EQ(warnings("Weight: 50"), expected) << list;
    EXPECT_TRUE(warnings("ThrottleReadBps: 50").empty()) << list;
  }
}

TEST(BlockIo, WhatIsWrongIsNamed) {
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"{Classes: {c: [{Weight: 8}]}}", "value of \"Weight\" (8) smaller than minimum (10)"},
           {"{Classes: {c: [{Weight: 8k}]}}",
            "value of \"Weight\" (8000) bigger than maximum (1000)"},
           {"{Classes: {c: [{Weight: abc}]}}", "syntax error in \"Weight\" (\"abc\")"},
           {"{Classes: {c: [{Weight: 1Kk}]}}", "syntax error in \"Weight\" (\"1Kk\")"},
           {"{Classes: {c: [{ThrottleReadIOPS: -1}]}}",
            "value of \"ThrottleReadIOPS\" (-1) smaller than minimum (0)"},
           {"{Classes: {c: [{ThrottleReadBps: 1M}]}}", "Devices not listed"},
           {"{Classes: {c: [{Nonsense: 1}]}}", "unknown field \"Nonsense\""},
           {"{nonsense: 1}", "unknown field \"nonsense\""},
           {"{Classes: 7}", "Classes: not a map"},
           {"{", "error converting YAML to JSON"}}) {
    const Result<BlockIoClasses> classes = BlockIoClasses::Parse(text);
    ASSERT_FALSE(classes.ok()) << text;
    EXPECT_NE(classes.error().text().find(words), std::string::npos) << classes.error().text();
  }
}

TEST(AppArmor, TheDistributionsParserAcceptsTheProfile) {
  TestDir tmp;  // without the distribution's includes, too
  for (const std::string& policy : {std::string("/etc/apparmor.d"), tmp.dir().path()}) {
    AppArmorPlaces places;
    places.policy = policy;
    SpawnOptions spawn;
    spawn.args = {"apparmor_parser", "--skip-kernel-load", "--skip-cache", "--base", policy};
    const Result<RunOutput> ran =
        RunProgram(spawn, AppArmorProfile("corten-test", places), std::chrono::seconds(60));
    ASSERT_TRUE(ran.ok()) << ran.error().text();
    EXPECT_TRUE(ran->status.ok()) << ran->err;
  }
}

TEST(AppArmor, AProfileIsLoadedOnceAndUnderItsName) {
  TestDir tmp;
  AppArmorPlaces places;
  places.loaded = tmp.dir().path() + "/profiles";
  places.policy = tmp.dir().path();
  places.parser = tmp.dir().path() + "/parser";
  EXPECT_TRUE(EnsureAppArmorProfile("mine", places).error().Is(Code::kNotFound));  // no AppArmor
  Write(places.loaded, "minerva (enforce)\nother (complain)\n");
  EXPECT_NE(EnsureAppArmorProfile("mine", places).error().text().find("is not installed"),
            std::string::npos);
  Write(places.parser, StrCat("#!/bin/sh\ncat >", tmp.dir().path(), "/seen\n"));
  ASSERT_EQ(chmod(places.parser.c_str(), 0755), 0);
  ASSERT_TRUE(EnsureAppArmorProfile("other", places).ok());  // is loaded
  EXPECT_NE(access((tmp.dir().path() + "/seen").c_str(), F_OK), 0);
  ASSERT_TRUE(EnsureAppArmorProfile("mine", places).ok());
  EXPECT_EQ(ReadFileAt(tmp.dir().path() + "/seen", 1 << 20).value(),
            AppArmorProfile("mine", places));
  Write(places.parser, "#!/bin/sh\necho syntax >&2; exit 1\n");
  EXPECT_NE(EnsureAppArmorProfile("mine", places).error().text().find("syntax"), std::string::npos);
  EXPECT_TRUE(EnsureAppArmorProfile("a b", places).error().Is(Code::kInvalidArgument));
}

}  // namespace
}  // namespace corten::oci
