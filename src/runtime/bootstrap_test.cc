#include "runtime/bootstrap.h"

#include <gtest/gtest.h>

#include "containerd/runtime/bootstrap/v1/bootstrap.pb.h"
#include "google/protobuf/any.pb.h"

namespace corten::runtime {
namespace {

namespace pb = ::containerd::runtime::bootstrap::v1;

std::string Protobuf(int version, const std::string& address, const std::string& protocol) {
  pb::BootstrapResult result;
  result.set_version(version);
  result.set_address(address);
  result.set_protocol(protocol);
  return result.SerializeAsString();
}

TEST(ParseEndpoint, ReadsTheProtobufAnswerOfTwoThree) {
  const auto endpoint = ParseEndpoint(Protobuf(3, "unix:///run/containerd/s/ab", "ttrpc"));
  ASSERT_TRUE(endpoint.ok()) << endpoint.error().text();
  EXPECT_EQ(*endpoint, (Endpoint{3, "unix:///run/containerd/s/ab", "ttrpc"}));
}

TEST(ParseEndpoint, ReadsTheJsonAnswerOfTwoZeroWithSpaceAround) {
  const auto endpoint =
      ParseEndpoint("  {\"version\":3,\"address\":\"unix:///a\",\"protocol\":\"grpc\"}\n");
  ASSERT_TRUE(endpoint.ok()) << endpoint.error().text();
  EXPECT_EQ(*endpoint, (Endpoint{3, "unix:///a", "grpc"}));
}

TEST(ParseEndpoint, TakesAnyOtherTextAsAnAddressOfVersionTwo) {
  for (const std::string address :
       {"unix:///run/containerd/s/ab", "/containerd-shim/default/x/shim.sock", "vsock://3:1024"}) {
    const auto endpoint = ParseEndpoint(address + "\n");
    ASSERT_TRUE(endpoint.ok()) << endpoint.error().text();
    EXPECT_EQ(*endpoint, (Endpoint{2, address, "ttrpc"}));
  }
}

TEST(ParseEndpoint, TakesJsonWithAVersionBelowTwoAsText) {
  const auto endpoint = ParseEndpoint("{\"version\":1,\"address\":\"unix:///a\"}");
  ASSERT_TRUE(endpoint.ok());
  EXPECT_EQ(endpoint->version, 2);
  EXPECT_EQ(endpoint->address, "{\"version\":1,\"address\":\"unix:///a\"}");
}

TEST(ParseEndpoint, RefusesVersionsItDoesNotSpeak) {
  const auto binary = ParseEndpoint(Protobuf(4, "unix:///a", "ttrpc"));
  ASSERT_FALSE(binary.ok());
  EXPECT_EQ(binary.error().code(), Code::kUnimplemented);
  const auto json =
      ParseEndpoint("{\"version\":4,\"address\":\"unix:///a\",\"protocol\":\"ttrpc\"}");
  ASSERT_FALSE(json.ok());
  EXPECT_EQ(json.error().code(), Code::kUnimplemented);
}

TEST(ParseEndpoint, RefusesAnEmptyAnswerAndOneWithoutProtocol) {
  EXPECT_FALSE(ParseEndpoint("").ok());
  EXPECT_FALSE(ParseEndpoint(" \n").ok());
  EXPECT_FALSE(ParseEndpoint(Protobuf(3, "unix:///a", "")).ok());
  EXPECT_FALSE(ParseEndpoint("{\"version\":3,\"address\":\"unix:///a\"}").ok());
}

TEST(EncodeEndpoint, WritesContainerdsFileByteForByte) {
  EXPECT_EQ(EncodeEndpoint({3, "unix:///run/containerd/s/ab", "ttrpc"}),
            R"({"version":3,"address":"unix:///run/containerd/s/ab","protocol":"ttrpc"})");
}

TEST(EncodeEndpoint, IsReadBackAsItWas) {
  const Endpoint endpoint{2, "a \"quoted\" name\n", "ttrpc"};
  const auto again = ParseEndpoint(EncodeEndpoint(endpoint));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, endpoint);
}

TEST(EncodeBootstrapInput, CarriesTheOptionsUnopened) {
  BootstrapInput input;
  input.id = "c1";
  input.ns = "default";
  input.debug = true;
  input.socket_dir = "/run/s";
  input.options = model::Any{"some.Type", std::string("\0\xff", 2)};
  pb::BootstrapParams params;
  ASSERT_TRUE(
      params.ParseFromString(EncodeBootstrapInput(input, "/usr/bin/containerd-shim-runc-v2")));
  EXPECT_EQ(params.instance_id(), "c1");
  EXPECT_EQ(params.namespace_(), "default");
  EXPECT_EQ(params.log_level(), pb::LOG_LEVEL_DEBUG);
  EXPECT_EQ(params.socket_dir(), "/run/s");
  ASSERT_EQ(params.extensions_size(), 1);
  EXPECT_EQ(params.extensions(0).value().type_url(), "some.Type");
  EXPECT_EQ(params.extensions(0).value().value(), std::string("\0\xff", 2));
}

TEST(EncodeBootstrapInput, GivesOldShimsTheBareOptions) {
  BootstrapInput input;
  input.id = "c1";
  EXPECT_EQ(EncodeBootstrapInput(input, "/usr/bin/containerd-shim-runc-v1"), "");
  input.options = model::Any{"some.Type", "x"};
  google::protobuf::Any any;
  ASSERT_TRUE(
      any.ParseFromString(EncodeBootstrapInput(input, "/opt/containerd-shim-runhcs-v1.exe")));
  EXPECT_EQ(any.type_url(), "some.Type");
  EXPECT_EQ(any.value(), "x");
}

}  // namespace
}  // namespace corten::runtime
