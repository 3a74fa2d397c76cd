#include "shim/runc_state.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strcat.h"
#include "base/test_dir.h"

namespace corten::shim {
namespace {

// A record as runc 1.1 writes it, with a real directory for each cgroup.
class RuncStateTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"/runc/c1", "/cg/memory/ns/c1", "/cg/pids/ns/c1"})
      ASSERT_TRUE(MakeDirs(dir_.dir().path() + name, 0755).ok());
    ASSERT_EQ(mkfifo((dir_.dir().path() + "/runc/c1/exec.fifo").c_str(), 0622), 0);
    Write("{}");
  }
  void Write(const std::string& hooks, const std::string& more = "",
             const std::string& pid_path = "") {
    const std::string cg = dir_.dir().path() + "/cg/";
    const std::string text =
        StrCat(R"({"id":"c1","init_process_pid":77,"rootless":false,"intel_rdt_path":"",)", more,
               R"("cgroup_paths":{"memory":")", cg, R"(memory/ns/c1","pids":")", cg,
               R"(pids/ns/c1","net_cls":"","cpu":")", cg, R"(cpu/not/there"},"config":{"Hooks":)",
               hooks, R"(,"cgroups":{"Systemd":false},"namespaces":[{"type":"NEWNS","path":""},)",
               R"({"type":"NEWPID","path":")", pid_path, R"("}]}})");
    const auto dir = Dir::Open(dir_.dir().path() + "/runc/c1");
    ASSERT_TRUE(ReplaceFile(*dir, "state.json", text, 0600, FileReplacer::Durable::kNo).ok());
  }
  Result<RuncState> Read(pid_t init = 77) const {
    return RuncState::Read(dir_.dir().path() + "/runc", "c1", init, dir_.dir().path() + "/cg");
  }
  bool Exists(const std::string& name) const {
    return access((dir_.dir().path() + name).c_str(), F_OK) == 0;
  }
  TestDir dir_;
};

TEST_F(RuncStateTest, WhatHasEndedIsRemovedWithItsCgroups) {
  const auto state = Read();
  ASSERT_TRUE(state.ok()) << state.error().text();
  const Status removed = state->Remove();
  ASSERT_TRUE(removed.ok()) << removed.error().text();
  EXPECT_FALSE(Exists("/runc/c1"));
  EXPECT_FALSE(Exists("/cg/memory/ns/c1"));
  EXPECT_FALSE(Exists("/cg/pids/ns/c1"));
  EXPECT_TRUE(Exists("/cg/memory/ns"));
}

TEST_F(RuncStateTest, ACgroupThatIsInUseKeepsTheRecordForRunc) {
  ASSERT_EQ(mkdir((dir_.dir().path() + "/cg/memory/ns/c1/below").c_str(), 0755), 0);
  EXPECT_FALSE(Read()->Remove().ok());
  EXPECT_TRUE(Exists("/runc/c1/state.json"));
}

TEST_F(RuncStateTest, OnlyTheRecordOfThisInitIsTaken) {
  EXPECT_TRUE(Read(78).error().Is(Code::kFailedPrecondition));
  EXPECT_TRUE(
      RuncState::Read(dir_.dir().path() + "/runc", "c2", 77, "/cg").error().Is(Code::kNotFound));
}

TEST_F(RuncStateTest, HooksAreLeftToRunc) {
  Write(R"({"poststart":null,"poststop":[],"createRuntime":[{"path":"/bin/true"}]})");
  EXPECT_TRUE(Read()->OpenFifo().ok());
  Write(R"({"poststart":[{"path":"/bin/true"}],"poststop":[{"path":"/bin/true"}]})");
  EXPECT_TRUE(Read()->OpenFifo().error().Is(Code::kFailedPrecondition));
  EXPECT_TRUE(Read()->Remove().error().Is(Code::kFailedPrecondition));
  EXPECT_TRUE(Exists("/cg/memory/ns/c1"));
}

TEST_F(RuncStateTest, ASharedPidNamespaceIsLeftToRunc) {
  Write("{}", "", "/proc/1/ns/pid");
  EXPECT_TRUE(Read()->OpenFifo().ok());
  EXPECT_TRUE(Read()->Remove().error().Is(Code::kFailedPrecondition));
}

TEST_F(RuncStateTest, WhatIsNotUnderstoodIsRefused) {
  // The later of two equal names counts.
  Write("{}", R"("rootless":true,"x":{)");
  EXPECT_FALSE(Read().ok());
  const std::string cg = dir_.dir().path() + "/cg";
  for (const char* path : {"/etc", "/memory/../../x", "/memory/"}) {
    const std::string full = path[1] == 'e' ? path : cg + path;
    const auto dir = Dir::Open(dir_.dir().path() + "/runc/c1");
    const std::string text =
        StrCat(R"({"id":"c1","init_process_pid":77,"rootless":false,"cgroup_paths":{"memory":")",
               full, R"("},"config":{"cgroups":{"Systemd":false}}})");
    ASSERT_TRUE(ReplaceFile(*dir, "state.json", text, 0600, FileReplacer::Durable::kNo).ok());
    EXPECT_TRUE(Read().error().Is(Code::kFailedPrecondition)) << full;
  }
}

TEST_F(RuncStateTest, AFifoThatIsNoneIsRefused) {
  ASSERT_EQ(unlink((dir_.dir().path() + "/runc/c1/exec.fifo").c_str()), 0);
  EXPECT_TRUE(Read()->OpenFifo().error().Is(Code::kNotFound));
  ASSERT_EQ(mkdir((dir_.dir().path() + "/runc/c1/exec.fifo").c_str(), 0755), 0);
  EXPECT_TRUE(Read()->OpenFifo().error().Is(Code::kFailedPrecondition));
}

TEST(RuncStateName, OnlyRuncItselfKeepsThem) {
  EXPECT_TRUE(RuncState::IsKeptBy("runc"));
  EXPECT_TRUE(RuncState::IsKeptBy("/usr/local/sbin/runc"));
  EXPECT_FALSE(RuncState::IsKeptBy("crun"));
  EXPECT_FALSE(RuncState::IsKeptBy("/opt/runc/nvidia-container-runtime"));
}

}  // namespace
}  // namespace corten::shim
