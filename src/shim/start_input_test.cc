#include <gtest/gtest.h>

#include "containerd/runc/v1/options.pb.h"
#include "containerd/runtime/bootstrap/v1/bootstrap.pb.h"
#include "shim/commands.h"
#include "wire/any_types.h"

namespace corten::shim {
namespace {

namespace pb = ::containerd::runtime::bootstrap::v1;

Arguments Flags() {
  Arguments arguments;
  arguments.ns = "ns";
  arguments.id = "c1";
  arguments.address = "/run/flag.sock";
  return arguments;
}

google::protobuf::Any Options(const std::string& cgroup) {
  containerd::runc::v1::Options options;
  options.set_shim_cgroup(cgroup);
  google::protobuf::Any any;
  EXPECT_TRUE(wire::PackAny(options, &any));
  return any;
}

TEST(StartInput, ParametersOfADaemonOfTodayCount) {
  pb::BootstrapParams params;
  params.set_instance_id("c1");
  params.set_containerd_grpc_address("/run/g.sock");
  params.set_containerd_ttrpc_address("/run/t.sock");
  params.set_socket_dir("/run/s");
  params.set_log_level(pb::LOG_LEVEL_DEBUG);
  *params.add_extensions()->mutable_value() = Options("/shims");
  const StartInput input =
      ParseStartInput(Flags(), params.SerializeAsString(), "/run/env.sock", "2");
  EXPECT_EQ(input.answer, StartInput::Answer::kProtobuf);
  EXPECT_EQ(input.grpc_address, "/run/g.sock");
  EXPECT_EQ(input.ttrpc_address, "/run/t.sock");
  EXPECT_EQ(input.socket_dir, "/run/s");
  EXPECT_EQ(input.shim_cgroup, "/shims");
  EXPECT_TRUE(input.debug);
}

TEST(StartInput, BareOptionsOfAnOlderDaemonAreNotTakenForParameters) {
  const std::string text = Options("/shims").SerializeAsString();
  pb::BootstrapParams trap;
  ASSERT_TRUE(trap.ParseFromString(text)) << "both begin with two length-delimited fields";
  const StartInput input = ParseStartInput(Flags(), text, "/run/env.sock", "2");
  EXPECT_EQ(input.answer, StartInput::Answer::kJson);
  EXPECT_EQ(input.grpc_address, "/run/flag.sock");
  EXPECT_EQ(input.ttrpc_address, "/run/env.sock");
  EXPECT_EQ(input.shim_cgroup, "/shims");
}

TEST(StartInput, TheOldestDaemonsGetAPlainAddress) {
  const StartInput input = ParseStartInput(Flags(), "", "/run/env.sock", nullptr);
  EXPECT_EQ(input.answer, StartInput::Answer::kPlain);
  EXPECT_EQ(EncodeStartAnswer(input.answer, "unix:///run/s/x"), "unix:///run/s/x");
}

TEST(StartInput, AnswersAreInTheDaemonsForm) {
  EXPECT_EQ(EncodeStartAnswer(StartInput::Answer::kJson, "unix:///s"),
            R"({"version":2,"address":"unix:///s","protocol":"ttrpc"})");
  pb::BootstrapResult result;
  ASSERT_TRUE(
      result.ParseFromString(EncodeStartAnswer(StartInput::Answer::kProtobuf, "unix:///s")));
  EXPECT_EQ(result.version(), 3);
  EXPECT_EQ(result.address(), "unix:///s");
  EXPECT_EQ(result.protocol(), "ttrpc");
}

TEST(SocketName, IsTheHashOfTheCleanedPath) {
  // sha256 of "/tmp/a/ns/grp".
  const std::string name = SocketName("/tmp/a", "ns", "grp");
  EXPECT_EQ(name.size(), 64U);
  EXPECT_EQ(name, SocketName("//tmp/./b/../a/", "ns", "grp"));
  EXPECT_NE(name, SocketName("/tmp/a", "ns", "other"));
}

}  // namespace
}  // namespace corten::shim
