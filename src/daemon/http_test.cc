#include "daemon/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace corten::daemon {
namespace {

class Http : public testing::Test {
 protected:
  void SetUp() override {
    loop_ = Loop::Create().value();
    server_ = std::make_unique<HttpServer>("web", [](const HttpRequest& request) -> HttpResponse {
      if (request.path != "/there") return {404, "text/plain", "nothing\n"};
      return {200, "text/plain", StrCat("query=", request.query, "\n")};
    });
    Fd listener = ListenTcp("127.0.0.1:0").value();
    address_ = TcpAddressOf(listener);
    ASSERT_TRUE(server_->Serve(loop_.get(), std::move(listener)).ok());
    thread_ = std::thread([this] { EXPECT_TRUE(loop_->Run().ok()); });
  }
  void TearDown() override {
    loop_->Stop();
    thread_.join();
    server_->Stop();
  }
  Fd Connect() {
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address_.substr(address_.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    return fd;
  }
  static void Send(const Fd& fd, std::string_view text) {
    EXPECT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  static std::string ReadToEnd(const Fd& fd) {
    std::string out;
    char buffer[4096];
    ssize_t got = 0;
    while ((got = read(fd.get(), buffer, sizeof(buffer))) > 0)
      out.append(buffer, static_cast<size_t>(got));
    EXPECT_EQ(got, 0) << "the answer was cut off";
    return out;
  }
  std::string Ask(std::string_view text) {
    const Fd fd = Connect();
    Send(fd, text);
    return ReadToEnd(fd);
  }

  std::unique_ptr<Loop> loop_;
  std::unique_ptr<HttpServer> server_;
  std::string address_;
  std::thread thread_;
};

TEST_F(Http, AnswersGetWithLengthAndBody) {
  EXPECT_EQ(Ask("GET /there?a=b HTTP/1.1\r\nHost: x\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n"
            "Connection: close\r\n\r\nquery=a=b\n");
}

TEST_F(Http, HeadHasNoBody) {
  const std::string answer = Ask("HEAD /there HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_NE(answer.find("Content-Length: 7\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
}

TEST_F(Http, ARequestMayComeInPieces) {
  const Fd fd = Connect();
  for (const char* piece : {"GET /the", "re HTTP/1.1\r", "\nHost: x\r\n\r", "\n"}) Send(fd, piece);
  EXPECT_TRUE(ReadToEnd(fd).starts_with("HTTP/1.1 200 "));
}

TEST_F(Http, RefusesWhatItDoesNotServe) {
  const std::pair<std::string, int> wrong[] = {
      {"GET /other HTTP/1.1\r\n\r\n", 404},
      {"POST /there HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", 405},
      {"GET there HTTP/1.1\r\n\r\n", 400},
      {"GET /there\r\n\r\n", 400},
      {"GET /there HTTP/2.0\r\n\r\n", 400},
      {"\r\n\r\n", 400},
      {StrCat("GET /", std::string(3000, 'a'), " HTTP/1.1\r\n\r\n"), 414},
      {StrCat("GET /there HTTP/1.1\r\nX: ", std::string(9000, 'a'), "\r\n\r\n"), 431}};
  for (const auto& [request, status] : wrong) {
    const std::string answer = Ask(request);
    EXPECT_TRUE(answer.starts_with(StrCat("HTTP/1.1 ", status, " ")))
        << request.substr(0, 40) << " -> " << answer.substr(0, 80);
  }
}

TEST_F(Http, AClientThatHangsUpHarmsNobody) {
  for (int i = 0; i < 50; ++i) (void)Connect();
  EXPECT_TRUE(Ask("GET /there HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

TEST_F(Http, SlowClientsLeaveRoomForOthers) {
  const Fd slow = Connect();
  Send(slow, "GET /th");
  EXPECT_TRUE(Ask("GET /there HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
  Send(slow, "ere HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(ReadToEnd(slow).starts_with("HTTP/1.1 200 "));
}

TEST(ListenTcp, SaysWhatIsWrongWithAnAddress) {
  EXPECT_TRUE(ListenTcp("nowhere").error().Is(Code::kInvalidArgument));
  EXPECT_TRUE(ListenTcp("127.0.0.1:").error().Is(Code::kInvalidArgument));
  const Fd first = ListenTcp("127.0.0.1:0").value();
  const Result<Fd> second = ListenTcp(TcpAddressOf(first));
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(second.error().Is(Code::kAlreadyExists)) << second.error().text();
}

}  // namespace
}  // namespace corten::daemon
