#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>

#include "containerd/services/introspection/v1/introspection.pb.h"
#include "containerd/services/leases/v1/leases.pb.h"
#include "containerd/services/version/v1/version.grpc.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/util/json_util.h"

namespace {

namespace version = containerd::services::version::v1;

class VersionService final : public version::Version::CallbackService {
  grpc::ServerUnaryReactor* Version(grpc::CallbackServerContext* context,
                                    const google::protobuf::Empty*,
                                    version::VersionResponse* response) override {
    response->set_version("v2.3.4");
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

struct TempDir {
  TempDir() { CreateOrDie(); }
  ~TempDir() { rmdir(path); }
  void CreateOrDie() {
    if (mkdtemp(path) == nullptr) abort();
  }
  char path[32] = "/tmp/proto_grpc_XXXXXX";
};

TEST(ProtoGrpc, StaticallyLinkedServerAnswersOnAUnixSocket) {
  TempDir dir;
  const std::string address = std::string("unix://") + dir.path + "/s";
  VersionService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);

  const auto stub =
      version::Version::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  version::VersionResponse response;
  const grpc::Status status = stub->Version(&context, {}, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.version(), "v2.3.4");
  server->Shutdown();
}

TEST(ProtoGrpc, NothingOfGrpcIsLoadedAsASharedLibrary) {
  std::ifstream maps("/proc/self/maps");
  ASSERT_TRUE(maps.is_open());
  for (std::string line; std::getline(maps, line);) {
    for (const char* name : {"libgrpc", "libprotobuf", "libabsl", "libssl", "libcares", "libre2"}) {
      EXPECT_EQ(line.find(name), std::string::npos) << line;
    }
  }
}

TEST(ProtoMsgs, TheFieldNamedLikeAKeywordKeepsItsJsonName) {
  containerd::services::introspection::v1::Plugin plugin;
  plugin.add_requires_("*");
  std::string json;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(plugin, &json).ok());
  EXPECT_EQ(json, R"({"requires":["*"]})");
}

// Registered later, they would be added to protobuf's database while another thread searches it.
TEST(ProtoMsgs, DescriptorsAreRegisteredBeforeAnybodyAsks) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  EXPECT_NE(pool->FindMessageTypeByName("containerd.services.leases.v1.ListRequest"), nullptr);
  containerd::services::leases::v1::ListRequest request;  // links the file
  request.add_filters("id==a");
  EXPECT_EQ(request.ShortDebugString(), R"(filters: "id==a")");
}

}  // namespace
