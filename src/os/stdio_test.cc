#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "os/fifo.h"
#include "os/pty.h"

namespace corten::os {
namespace {

class StdioTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/corten-stdio-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override {
    (void)unlink((root_ + "/f").c_str());
    EXPECT_EQ(rmdir(root_.c_str()), 0);
  }
  std::string root_;
};

TEST_F(StdioTest, AnOutputFifoOpensWithoutAReaderAndKeepsWhatIsWritten) {
  ASSERT_TRUE(MakeFifo(root_ + "/f", 0700).ok());
  ASSERT_TRUE(MakeFifo(root_ + "/f", 0700).ok()) << "a second time is fine";
  auto end = OpenOutput(root_ + "/f");
  ASSERT_TRUE(end.ok()) << end.error().text();
  EXPECT_EQ(end->kind, EndKind::kFifo);
  ASSERT_EQ(write(end->write.get(), "hello", 5), 5);
  const Fd client(open((root_ + "/f").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  char buffer[16];
  ASSERT_EQ(read(client.get(), buffer, sizeof(buffer)), 5);
}

TEST_F(StdioTest, AnInputFifoDoesNotEndWhenAWriterLeavesUntilTheKeptSideCloses) {
  ASSERT_TRUE(MakeFifo(root_ + "/f", 0700).ok());
  auto end = OpenInput(root_ + "/f");
  ASSERT_TRUE(end.ok());
  {
    const Fd client(open((root_ + "/f").c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(write(client.get(), "x", 1), 1);
  }
  char buffer[16];
  ASSERT_EQ(read(end->read.get(), buffer, sizeof(buffer)), 1);
  ASSERT_EQ(read(end->read.get(), buffer, sizeof(buffer)), -1);
  EXPECT_EQ(errno, EAGAIN);
  end->keep.Reset();
  EXPECT_EQ(read(end->read.get(), buffer, sizeof(buffer)), 0);
}

TEST_F(StdioTest, AMissingOutputIsNotFoundAndAFileIsNotAFifo) {
  EXPECT_TRUE(OpenOutput(root_ + "/f").error().Is(Code::kNotFound));
  {
    const Fd file(open((root_ + "/f").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  }
  EXPECT_EQ(OpenOutput(root_ + "/f")->kind, EndKind::kRegular);
  EXPECT_TRUE(MakeFifo(root_ + "/f", 0700).error().Is(Code::kAlreadyExists));
}

TEST_F(StdioTest, ATerminalTravelsOverTheConsoleSocket) {
  auto console = ConsoleSocket::Create(root_);
  ASSERT_TRUE(console.ok()) << console.error().text();
  EXPECT_TRUE(console->Accept().error().Is(Code::kUnavailable));

  const Fd runtime(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, console->path().c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(connect(runtime.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)),
            0);
  auto connection = console->Accept();
  ASSERT_TRUE(connection.ok());
  EXPECT_TRUE(ReceiveTerminal(*connection).error().Is(Code::kUnavailable));

  const Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(SendTerminal(runtime, master, "/dev/pts/0").ok());
  auto terminal = ReceiveTerminal(*connection);
  ASSERT_TRUE(terminal.ok()) << terminal.error().text();
  ASSERT_TRUE(SetWindowSize(*terminal, {120, 40}).ok());
  EXPECT_EQ(*GetWindowSize(master), (WindowSize{120, 40}));
}

TEST_F(StdioTest, ADescriptorThatIsNoTerminalIsRefused) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const Fd left(pair[0]);
  const Fd right(pair[1]);
  ASSERT_TRUE(SendTerminal(left, right, "x").ok());
  EXPECT_TRUE(ReceiveTerminal(right).error().Is(Code::kInvalidArgument));
  ASSERT_EQ(write(left.get(), "x", 1), 1);
  EXPECT_TRUE(ReceiveTerminal(right).error().Is(Code::kInvalidArgument))
      << "a message without a descriptor";
}

}  // namespace
}  // namespace corten::os
