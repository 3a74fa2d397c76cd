#include "client/connection.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/test_dir.h"
#include "containerd/services/version/v1/version.grpc.pb.h"

namespace corten::client {
namespace {

namespace service = containerd::services::version::v1;
using Clock = std::chrono::steady_clock;

Result<std::string> AskVersion(Connection& connection) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  connection.Prepare(&context, {});
  service::VersionResponse response;
  TRY(FromGrpc(service::Version::NewStub(connection.channel())
                   ->Version(&context, google::protobuf::Empty(), &response)));
  return response.version();
}

class VersionServer final : public service::Version::Service {
  grpc::Status Version(grpc::ServerContext* /*context*/, const google::protobuf::Empty* /*request*/,
                       service::VersionResponse* response) override {
    response->set_version("here");
    return grpc::Status::OK;
  }
};

// Takes connections and drops them, as a process that is not what it should be; counts them.
class Dropper {
 public:
  explicit Dropper(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(socket_.get(), 16), 0);
    thread_ = std::thread([this] {
      while (!stop_) {
        pollfd waiting = {socket_.get(), POLLIN, 0};
        if (poll(&waiting, 1, 20) != 1) continue;
        const Fd taken(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        ++count_;
      }
    });
  }
  ~Dropper() {
    stop_ = true;
    thread_.join();
  }
  int count() const { return count_; }

 private:
  Fd socket_;
  std::atomic<bool> stop_{false};
  std::atomic<int> count_{0};
  std::thread thread_;
};

// Connections that a server at `path` has taken: state 03. proc_net_unix(5)
int TakenAt(const std::string& path) {
  std::ifstream table("/proc/net/unix");
  int taken = 0;
  for (std::string line; std::getline(table, line);)
    taken += line.ends_with(path) && line.find(" 03 ") != std::string::npos ? 1 : 0;
  return taken;
}

std::unique_ptr<grpc::Server> Serve(VersionServer& version, const std::string& path) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(StrCat("unix:", path), grpc::InsecureServerCredentials());
  builder.RegisterService(&version);
  return builder.BuildAndStart();
}

TEST(Connection, EachHasASocketOfItsOwn) {
  TestDir tmp;
  ConnectOptions options;
  options.address = tmp.dir().path() + "/peer.sock";
  VersionServer version;
  const std::unique_ptr<grpc::Server> server = Serve(version, options.address);
  ASSERT_NE(server, nullptr);
  std::vector<std::shared_ptr<Connection>> connections;
  for (int i = 1; i <= 3; ++i) {
    Result<std::shared_ptr<Connection>> opened = Connection::Open(options);
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    connections.push_back(*opened);
    ASSERT_TRUE(AskVersion(*connections.back()).ok());
    EXPECT_EQ(TakenAt(options.address), i);
  }
}

TEST(Connection, ALazyOneKnocksRarelyAndIsThereSoonAfterThePeer) {
  TestDir tmp;
  ConnectOptions options;
  options.address = tmp.dir().path() + "/peer.sock";
  const std::shared_ptr<Connection> connection = Connection::Lazy(options);
  EXPECT_TRUE(AskVersion(*connection).error().Is(Code::kUnavailable));  // nobody is there
  {
    const Dropper dropper(options.address);
    int calls = 0;
    const auto end = Clock::now() + std::chrono::seconds(30);
    for (; dropper.count() < 3 && Clock::now() < end; ++calls) {
      EXPECT_TRUE(AskVersion(*connection).error().Is(Code::kUnavailable));
      (void)usleep(5'000);  // calls without a pause would keep the library from its own work
    }
    EXPECT_GE(dropper.count(), 3) << "it gave up";
    EXPECT_GT(calls, 3 * dropper.count()) << "it knocked at each call";
  }
  ASSERT_EQ(unlink(options.address.c_str()), 0);
  VersionServer version;
  const std::unique_ptr<grpc::Server> server = Serve(version, options.address);
  ASSERT_NE(server, nullptr);
  const auto up = Clock::now();
  Result<std::string> answer = AskVersion(*connection);
  while (!answer.ok() && Clock::now() < up + std::chrono::seconds(30)) {
    (void)usleep(20'000);  // polls what nothing announces
    answer = AskVersion(*connection);
  }
  ASSERT_TRUE(answer.ok()) << answer.error().text();
  EXPECT_EQ(*answer, "here");
  // The pause is at most 3 s, give or take a fifth; after a peer that dropped what it had accepted
  // the library was seen to wait 5 s. The rest is room for a busy machine.
  EXPECT_LT(Clock::now() - up, std::chrono::seconds(25));
}

}  // namespace
}  // namespace corten::client
