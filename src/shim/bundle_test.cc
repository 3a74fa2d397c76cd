#include "shim/bundle.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/dir.h"
#include "shim/oci_runtime.h"

namespace corten::shim {
namespace {

class BundleTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/corten-bundle-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    path_ = name;
  }
  void TearDown() override { EXPECT_TRUE(Dir::Open("/tmp")->RemoveTree(BaseName(path_)).ok()); }
  void Write(const std::string& name, const std::string& text) {
    const Dir dir = std::move(*Dir::Open(path_));
    ASSERT_TRUE(ReplaceFile(dir, name, text, 0600, FileReplacer::Durable::kNo).ok());
  }
  std::string Read(const std::string& name) { return *ReadFileAt(path_ + "/" + name, 1 << 20); }
  std::string path_;
};

TEST_F(BundleTest, FactsAreReadFromTheSpec) {
  Write("config.json", R"({"ociVersion":"1.2.0","process":{"terminal":true,"env":["A=B"]},
    "hooks":{"poststop":[{"path":"/bin/true"}]},
    "annotations":{"io.kubernetes.cri.sandbox-id":"pod1"},
    "linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}})");
  const auto facts = ReadSpecFacts(path_);
  ASSERT_TRUE(facts.ok()) << facts.error().text();
  EXPECT_EQ(facts->oci_version, "1.2.0");
  EXPECT_TRUE(facts->terminal);
  EXPECT_TRUE(facts->private_pid_namespace);
  EXPECT_TRUE(facts->poststop_hooks);
  EXPECT_EQ(facts->group, "pod1");
}

TEST_F(BundleTest, TheRuncGroupGoesBeforeTheSandbox) {
  EXPECT_EQ(
      ParseSpecFacts(
          R"({"annotations":{"io.kubernetes.cri.sandbox-id":"s","io.containerd.runc.v2.group":"g"}})")
          ->group,
      "g");
}

TEST_F(BundleTest, AJoinedOrMissingPidNamespaceIsNotPrivate) {
  EXPECT_FALSE(
      ParseSpecFacts(R"({"linux":{"namespaces":[{"type":"pid","path":"/proc/1/ns/pid"}]}})")
          ->private_pid_namespace);
  EXPECT_FALSE(ParseSpecFacts(R"({})")->private_pid_namespace);
  EXPECT_FALSE(ParseSpecFacts(R"({"hooks":{"poststop":[]}})")->poststop_hooks);
}

TEST_F(BundleTest, AMissingSpecIsNotFoundAndABrokenOneIsNamed) {
  EXPECT_TRUE(ReadSpecFacts(path_).error().Is(Code::kNotFound));
  Write("config.json", "{");
  const auto facts = ReadSpecFacts(path_);
  EXPECT_TRUE(facts.error().Is(Code::kInvalidArgument));
  EXPECT_NE(facts.error().text().find("config.json"), std::string::npos);
}

TEST_F(BundleTest, SettingsSurviveARoundTripAndDefaultsAreLeftOut) {
  ASSERT_TRUE(WriteSettings(path_, RuntimeSettings()).ok());
  EXPECT_EQ(Read("options.json"), "{}");
  EXPECT_EQ(Read("runtime"), "");
  EXPECT_EQ(ReadSettings(path_), RuntimeSettings());

  RuntimeSettings settings;
  settings.binary = "/opt/crun \"x\"";
  settings.root = "/run/other";
  settings.systemd_cgroup = true;
  settings.io_uid = 1000;
  ASSERT_TRUE(WriteSettings(path_, settings).ok());
  EXPECT_EQ(
      Read("options.json"),
      R"({"io_uid":1000,"binary_name":"/opt/crun \"x\"","root":"/run/other","systemd_cgroup":true})");
  EXPECT_EQ(ReadSettings(path_), settings);
}

TEST_F(BundleTest, SettingsOfTheGoShimAreUnderstood) {
  Write("options.json", R"({"binary_name":"crun"})");
  Write("runtime", "crun");
  EXPECT_EQ(ReadSettings(path_).binary, "crun");
}

TEST_F(BundleTest, PidFilesMayEndInANewline) {
  Write("init.pid", "123");
  EXPECT_EQ(*ReadPidFile(path_ + "/init.pid"), 123);
  Write("init.pid", "123\n");
  EXPECT_EQ(*ReadPidFile(path_ + "/init.pid"), 123);
  for (const char* bad : {"", "0", "-1", "x", "99999999999"}) {
    Write("init.pid", bad);
    EXPECT_FALSE(ReadPidFile(path_ + "/init.pid").ok()) << bad;
  }
}

TEST_F(BundleTest, TheLastErrorOfTheCallItselfIsTaken) {
  const std::string earlier = R"({"level":"error","msg":"an older failure","time":"t"})"
                              "\n";
  Write("log.json", earlier +
                        R"({"level":"warning","msg":"careful"})"
                        "\n" +
                        R"({"level":"error","msg":"first"})"
                        "\n" +
                        R"({"msg":"last\n","level":"error"})"
                        "\nnot json\n");
  EXPECT_EQ(*LastRuntimeError(path_ + "/log.json", earlier.size()), "last");
  EXPECT_EQ(*LastRuntimeError(path_ + "/log.json", Read("log.json").size()), "");
  Write("log.json", R"({"timestamp":"t","level":"ERROR","fields":{"message":"nested"}})");
  EXPECT_EQ(*LastRuntimeError(path_ + "/log.json", 0), "nested");
  EXPECT_FALSE(LastRuntimeError(path_ + "/missing", 0).ok());
}

TEST(RuntimeFailure, TextsAreThoseThatClientsMatch) {
  EXPECT_EQ(RuntimeFailure("OCI runtime create failed",
                           std::string("exec: \"x\": executable file not found in $PATH"),
                           "exit status 1", "", "")
                .text(),
            "OCI runtime create failed: exec: \"x\": executable file not found in $PATH");
  EXPECT_EQ(
      RuntimeFailure("OCI runtime start failed", std::string(), "exit status 1", "", "").text(),
      "OCI runtime start failed: exit status 1");
  EXPECT_EQ(RuntimeFailure("OCI runtime start failed", std::string(), "exit status 1",
                           "a\nlast line\n", "")
                .text(),
            "OCI runtime start failed: last line");
  EXPECT_EQ(RuntimeFailure("OCI runtime create failed",
                           NotFoundError("open /l: no such file or directory"), "cause", "", "")
                .text(),
            "OCI runtime create failed: unable to retrieve OCI runtime error (open /l: no such "
            "file or directory): cause");
}

TEST(RuntimeFailure, CrunsRefusalsAreExplained) {
  const Error hybrid = RuntimeFailure(
      "OCI runtime create failed",
      std::string("cgroups in hybrid mode not supported, drop all controllers from cgroupv2"),
      "exit status 1", "", "1.0.2");
  EXPECT_NE(hybrid.text().find("/sys/fs/cgroup/unified"), std::string::npos);
  EXPECT_NE(hybrid.text().find("or use runc"), std::string::npos);
  const Error version =
      RuntimeFailure("OCI runtime create failed", std::string("unknown version specified"),
                     "exit status 1", "", "1.3.0");
  EXPECT_NE(version.text().find("ociVersion \"1.3.0\""), std::string::npos);
}

TEST(RuntimeFailure, GoneIsRecognisedInEveryRuntimesWords) {
  EXPECT_TRUE(MeansNotExisting("container \"x\" does not exist"));
  EXPECT_TRUE(MeansNotExisting("cannot open directory '/run/crun/x': No such file or directory"));
  EXPECT_TRUE(
      MeansNotExisting("error opening file `/run/crun/x/status`: No such file or directory"));
  EXPECT_FALSE(MeansNotExisting("exec: no such file or directory"));
  EXPECT_TRUE(MeansNotRunning("container not running"));
  EXPECT_TRUE(MeansNotRunning("kill container: No such process"));
}

}  // namespace
}  // namespace corten::shim
